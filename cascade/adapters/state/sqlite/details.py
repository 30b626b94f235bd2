"""The details of the nodes of one run in an SQLite state file, in a table that is made when it is first needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Final

import attrs

from cascade.adapters.state.detail_text import HANDLED_MARK
from cascade.runtime.durability.records import UNDO_MARK
from cascade.runtime.foundation.fairness import considerate

_MAKE: Final = """CREATE TABLE IF NOT EXISTS details (
    run INTEGER NOT NULL REFERENCES runs(id), node_id TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (run, node_id)
) WITHOUT ROWID"""

# The nodes of a run whose failure was handled.
HANDLED: Final = f"""SELECT nodes.node_id FROM nodes JOIN details ON details.run = nodes.run
    AND details.node_id = nodes.node_id WHERE nodes.run = ? AND nodes.status = 'failed'
    AND nodes.node_id NOT GLOB '{UNDO_MARK}*' AND instr(details.detail, '{HANDLED_MARK}')
"""


@attrs.define(eq=False)
class DetailRows:
    """The details of one run. What is written is part of the transaction of whoever calls.

    Attributes:
        known: Nodes of which there may be details. A node that is not among them has none, so that a batch of
            nodes without details costs nothing.
    """

    known: set[str] = attrs.field(factory=set)

    def look(self, connection: sqlite3.Connection, number: int) -> None:
        """Learn which nodes of the run have details."""
        self.known = set()
        if has_table(connection, "details"):
            rows = connection.execute("SELECT node_id FROM details WHERE run = ?", (number,))
            self.known = {node_id for (node_id,) in considerate(rows)}

    def write(
        self, connection: sqlite3.Connection, number: int, written: Collection[str], details: Mapping[str, str]
    ) -> None:
        """Let the nodes *written* have these *details*, and no others."""
        if self.known and not self.known.isdisjoint(written):
            self._delete(connection, number, self.known.intersection(written))
        if details:
            connection.execute(_MAKE)
            self.known.update(details)
            connection.executemany(
                "INSERT OR REPLACE INTO details (run, node_id, detail) VALUES (?, ?, ?)",
                ((number, node_id, text) for node_id, text in details.items()),
            )

    def forget(self, connection: sqlite3.Connection, number: int, node_ids: Collection[str] | None = None) -> None:
        """Delete the details of *node_ids*; of all nodes by default."""
        gone = self.known if node_ids is None else self.known.intersection(node_ids)
        if gone:
            self._delete(connection, number, gone)

    def _delete(self, connection: sqlite3.Connection, number: int, gone: Collection[str]) -> None:
        if has_table(connection, "details"):  # a transaction that made it may have been rolled back
            connection.executemany(
                "DELETE FROM details WHERE run = ? AND node_id = ?", ((number, node_id) for node_id in gone)
            )


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the file has the table *name*, which is made when it is first needed."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
    return found.fetchone() is not None
