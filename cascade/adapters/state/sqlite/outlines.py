"""What the flows of runs are made of, in an SQLite state file; in a table that is made when it is first needed."""

from __future__ import annotations

import sqlite3
from typing import Final

from cascade.adapters.state.sqlite.details import has_table

# Not a column of runs: each batch writes that row anew. Nor a reference to it: older versions know nothing of this
# table, and leave its rows when they delete runs.
_MAKE: Final = "CREATE TABLE IF NOT EXISTS outlines (run INTEGER PRIMARY KEY, outline TEXT NOT NULL)"

_LEFT: Final = "FROM outlines WHERE run NOT IN (SELECT id FROM runs)"


def write(connection: sqlite3.Connection, number: int, outline: str | None) -> None:
    """Let the run *number* have this *outline*, in a transaction of the caller.

    One that is there may be of another flow, or of a run that had this number before.

    Args:
        connection: The file.
        number: The run.
        outline: As text; ``None``: nothing is written.
    """
    if outline is not None:
        connection.execute(_MAKE)
        connection.execute("INSERT OR REPLACE INTO outlines (run, outline) VALUES (?, ?)", (number, outline))


def forget(connection: sqlite3.Connection, number: int) -> None:
    """Delete that of the run *number*."""
    if has_table(connection, "outlines"):
        connection.execute("DELETE FROM outlines WHERE run = ?", (number,))


def forget_left(connection: sqlite3.Connection) -> None:
    """Delete those of runs that are not there any more: an older version has deleted these runs."""
    # To delete nothing would wait for others that write, too.
    if has_table(connection, "outlines") and connection.execute(f"SELECT 1 {_LEFT}").fetchone():
        connection.execute(f"DELETE {_LEFT}")


def read(connection: sqlite3.Connection, number: int) -> str | None:
    """That of the run *number*; ``None`` if there is none."""
    if not has_table(connection, "outlines"):
        return None
    row = connection.execute("SELECT outline FROM outlines WHERE run = ?", (number,)).fetchone()
    return None if row is None else row[0]
