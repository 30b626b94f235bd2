"""What the flows of runs are made of, in an SQLite state file; in a table that is made when it is first needed."""

from __future__ import annotations

import sqlite3
from typing import Final

from cascade.adapters.state.sqlite.details import has_table

# Not a column of runs: each batch writes that row anew.
_MAKE: Final = (
    "CREATE TABLE IF NOT EXISTS outlines (run INTEGER PRIMARY KEY REFERENCES runs(id), outline TEXT NOT NULL)"
)


def write(connection: sqlite3.Connection, number: int, outline: str | None, *, replaces: bool) -> None:
    """Let the run *number* have this *outline*, in a transaction of the caller.

    Args:
        connection: The file.
        number: The run.
        outline: As text; ``None``: nothing is written.
        replaces: Whether one that is there is of another flow.
    """
    if outline is not None:
        connection.execute(_MAKE)
        what = "REPLACE" if replaces else "IGNORE"
        connection.execute(f"INSERT OR {what} INTO outlines (run, outline) VALUES (?, ?)", (number, outline))


def forget(connection: sqlite3.Connection, number: int) -> None:
    """Delete that of the run *number*."""
    if has_table(connection, "outlines"):
        connection.execute("DELETE FROM outlines WHERE run = ?", (number,))


def read(connection: sqlite3.Connection, number: int) -> str | None:
    """That of the run *number*; ``None`` if there is none."""
    if not has_table(connection, "outlines"):
        return None
    row = connection.execute("SELECT outline FROM outlines WHERE run = ?", (number,)).fetchone()
    return None if row is None else row[0]
