"""The records of one run in an SQLite state file; ``lease.py`` has the schema. Called in worker threads."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import attrs

from cascade.adapters.state.ownership import Vigil
from cascade.adapters.state.pickling import Row, Sealing, loaded_all, shortened, with_values
from cascade.adapters.state.sqlite.details import HANDLED, DetailRows, has_table
from cascade.adapters.state.sqlite.durations import write as write_durations
from cascade.adapters.state.sqlite.lease import RunLease
from cascade.adapters.state.sqlite.outlines import forget as forget_outline
from cascade.adapters.state.sqlite.outlines import write as write_outline
from cascade.model.shown.raised import describe
from cascade.runtime.durability.records import (
    UNDO_MARK,
    UNDO_TIMES,
    Closing,
    Continuation,
    NotDurable,
    Opening,
    Past,
    Record,
)
from cascade.runtime.foundation.fairness import considerate, portions

# Bytes of a row that are kept free for everything that is not a value.
_MARGIN: Final = 1_000_000
# Rows that are read with one statement: SQLite bounds the number of its parameters.
_AT_ONCE: Final = 500

_COLUMNS: Final = ("run", "recorded", *Row._fields)
# Rows that are written with one statement. SQLite works without the GIL, but takes it back after each
# statement: row by row, a thread that computes would make it wait a thousand times a batch.
_TOGETHER: Final = 64
# Bytes of values that are given to one statement: it copies them.
_MOST_COPIED: Final = 1_000_000


@cache
def _put(count: int) -> str:
    """The statement that writes *count* rows; its parameters are, row after row, the run, the time and the row."""
    row = f"({', '.join('?' * len(_COLUMNS))})"
    return f"INSERT OR REPLACE INTO nodes ({', '.join(_COLUMNS)}) VALUES {', '.join([row] * count)}"


_Texts = tuple[str | None, str | None, str | None]


@attrs.define(eq=False)
class RunRows:
    """The records of one run in a state file.

    Attributes:
        lease: The lease of the run, without which nothing is written.
        largest: Bytes that a value may have; by default what SQLite allows, less a margin.
        details: The details of its nodes.
        texts: The columns ``flow``, ``params`` and ``origin`` of the flow that is run now.
        outline: What that is made of, as text.
    """

    lease: RunLease
    largest: int = 1_000_000_000 - _MARGIN
    details: DetailRows = attrs.field(factory=DetailRows)
    texts: _Texts = (None, None, None)
    outline: str | None = None

    def begin(self, opening: Opening, vigil: Vigil) -> Past:
        """Take the lease of the run; returns what is known of the run.

        Raises:
            RunInProgressError: If another process or task executes the run.
            UncertainHolderError: If that cannot be told yet.
        """
        self.texts, self.outline = _texts(opening), opening.outline
        self.lease.disown()  # of a try before this
        with self.lease.transaction() as connection:
            epoch = self.lease.take(connection, vigil)
            number = self.lease.enrol(connection)
            row = connection.execute(
                "SELECT status, flow_digest, turn, continuation, result, finished FROM runs WHERE id = ?",
                (number,),
            ).fetchone()
            # Else the records, and how the run stands, are of another flow, until this one is adopted.
            if row[1] in (None, opening.flow_digest):
                _describe(connection, number, self.texts, opening.flow_digest)
                write_outline(connection, number, self.outline)
        status, flow_digest, turn, continuation, result, finished = row
        limit = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        self.largest = max(limit - _MARGIN, limit // 2)
        nodes, retrying = _listed(connection, number)
        self.details.look(connection, number)
        past = Past(
            epoch > 1, status, flow_digest, nodes, epoch=epoch, retrying=retrying, finished=finished,
            failed=_failed(connection, number),
        )  # fmt: skip
        return with_values(past, self.lease.run_id, result, turn, continuation)

    def write(self, sealing: Sealing) -> None:
        """Record a batch."""
        # Pickled before the transaction, so that other writers need not wait for it.
        rows, continuation = sealing.rows(), sealing.continuation()
        with self.lease.transaction() as connection:
            number = self.lease.enrol(connection)
            now = time.time()
            going_on = sealing.batch.continuation
            if going_on is not None:
                _go_on(connection, number, going_on, continuation)
                self.details.forget(connection, number)
            _write(connection, (number, now), rows)
            if sealing.details or self.details.known:
                self.details.write(connection, number, [row.node_id for row in rows], sealing.details)
            for node_id, error in sealing.missing:
                self.lease.note(connection, "not durable", f"the result of {node_id!r}: {describe(error)}")
            self.lease.renew(connection, now)

    def clear(self) -> None:
        """Forget everything except that the run has begun, its signals, and how often its nodes were undone."""
        with self.lease.transaction() as connection:
            number = self.lease.enrol(connection)
            connection.execute("DELETE FROM nodes WHERE run = ? AND node_id <> ?", (number, UNDO_TIMES))
            self.details.forget(connection, number)
            forget_outline(connection, number)
            connection.execute(
                "UPDATE runs SET turn = NULL, continuation = NULL, result = NULL, flow_digest = NULL WHERE id = ?",
                (number,),
            )

    def adopt(self, flow_digest: bytes) -> None:
        """Forget the result of the run; from now on its records belong to the flow with this digest."""
        with self.lease.transaction() as connection:
            number = self.lease.enrol(connection)
            connection.execute(
                "UPDATE runs SET status = 'running', result = NULL, finished = NULL WHERE id = ?", (number,)
            )
            _describe(connection, number, self.texts, flow_digest)
            write_outline(connection, number, self.outline)

    def forget(self, node_ids: Sequence[str]) -> None:
        """Forget the records of *node_ids*."""
        with self.lease.transaction() as connection:
            number = self.lease.enrol(connection)
            connection.executemany(
                "DELETE FROM nodes WHERE run = ? AND node_id = ?",
                ((number, node_id) for node_id in considerate(node_ids)),
            )
            self.details.forget(connection, number, node_ids)

    def finish(self, closing: Closing, result: bytes | None) -> NotDurable:
        """Record how the run ended, with its pickled result, and give up the lease; returns what was left out."""
        missing: NotDurable = ()
        with self.lease.transaction() as connection:
            number = self.lease.enrol(connection)
            row = connection.execute("SELECT length(continuation) FROM runs WHERE id = ?", (number,)).fetchone()
            if result is not None and len(result) + (row[0] or 0) > self.largest:  # one row has both
                missing = [("the result", ValueError(f"its pickle has {len(result)} bytes"))]
                result = None
            now = time.time()
            connection.execute(
                "UPDATE runs SET status = ?, error = ?, result = ?, updated = ?, finished = ?, owner = NULL, "
                "lease_until = 0 WHERE id = ?",
                (closing.status, shortened(closing.error), result, now, now, number),
            )
            write_durations(connection, closing.durations, now)
            self.lease.note(connection, closing.status, closing.error or "")
        return missing

    def select(self, columns: str, node_ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of those of *node_ids* that succeeded or were skipped."""
        connection = self.lease.file.connection()
        number = self.lease.find(connection)
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            yield from connection.execute(
                f"SELECT {columns} FROM nodes WHERE run = ? AND status IN ('succeeded', 'skipped') "
                f"AND node_id IN ({marks})", (number, *some)
            ).fetchall()  # fmt: skip
        self.lease.file.check()

    def records(self, node_ids: Sequence[str]) -> dict[str, Record]:
        """The records of *node_ids*, without values."""
        rows = considerate(self.select("node_id, digest, reason, is_durable", node_ids))
        return {node_id: Record(digest, reason, bool(is_durable)) for node_id, digest, reason, is_durable in rows}

    def results(self, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        """The results among *node_ids*. If *is_lenient*, leaves out those that cannot be read."""
        rows = self.select("node_id, value, status, is_durable", node_ids)
        found = {name: value for name, value, status, durable in rows if status == "succeeded" and durable}
        return loaded_all(found, self.lease.run_id, is_lenient=is_lenient)


def _describe(connection: sqlite3.Connection, number: int, texts: _Texts, flow_digest: bytes) -> None:
    """Say of a run that has not succeeded that it is executed, and with which flow."""
    connection.execute(
        "UPDATE runs SET status = CASE status WHEN 'succeeded' THEN status ELSE 'running' END, "
        "flow = coalesce(?, flow), params = coalesce(?, params), origin = coalesce(?, origin), flow_digest = ?, "
        "error = NULL WHERE id = ?",
        (*texts, flow_digest, number),
    )


def _texts(opening: Opening) -> _Texts:
    """The columns ``flow``, ``params`` and ``origin`` of a run."""
    flow = ", ".join(json.dumps(name) for name in considerate(opening.flow))
    return f"[{flow}]", json.dumps(dict(opening.params)), opening.origin


def _listed(connection: sqlite3.Connection, number: int) -> tuple[list[str], dict[str, tuple[bytes | None, int]]]:
    """The nodes that have a record, and those that waited for another attempt."""
    rows = connection.execute(
        "SELECT node_id FROM nodes WHERE run = ? AND status IN ('succeeded', 'skipped')", (number,)
    )
    waiting = connection.execute(
        "SELECT node_id, digest, attempts FROM nodes WHERE run = ? AND status = 'retrying'", (number,)
    )
    nodes = [node_id for (node_id,) in considerate(rows)]
    return nodes, {node_id: (digest, made) for node_id, digest, made in considerate(waiting)}


def _failed(connection: sqlite3.Connection, number: int) -> dict[str, bool]:
    """The nodes that failed or were cancelled, each with whether that was handled."""
    rows = connection.execute(
        "SELECT node_id FROM nodes WHERE run = ? AND status IN ('failed', 'cancelled')", (number,)
    )
    failed = {node_id: False for (node_id,) in considerate(rows)}
    if failed and has_table(connection, "details"):
        failed.update((node_id, True) for (node_id,) in considerate(connection.execute(HANDLED, (number,))))
    return failed


def _go_on(connection: sqlite3.Connection, number: int, going_on: Continuation, value: bytes | None) -> None:
    connection.execute(f"DELETE FROM nodes WHERE run = ? AND node_id NOT GLOB '{UNDO_MARK}*'", (number,))
    connection.execute("UPDATE runs SET turn = ?, continuation = ? WHERE id = ?", (going_on.turn, value, number))


def _write(connection: sqlite3.Connection, head: tuple[int, float], rows: Sequence[Row]) -> None:
    """Write *rows* in order, each with the run and the time in *head*."""
    for portion in portions(rows, _TOGETHER):
        size = sum(len(row.value or b"") for row in portion)
        for some in [portion] if size <= _MOST_COPIED else portions(portion, 1):
            connection.execute(_put(len(some)), tuple(chain.from_iterable((*head, *row) for row in some)))
