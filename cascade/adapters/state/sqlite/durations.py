"""The table ``durations`` of an SQLite state file, which all its runs share. Called in worker threads.

``lease.py`` says what is in it. It is made when the first run ends that has something for it, so files in which
there is none yet are good as they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from cascade.adapters.state.kept_durations import surplus
from cascade.adapters.state.sqlite.details import has_table

_MAKE: Final = """CREATE TABLE IF NOT EXISTS durations (
    flow BLOB PRIMARY KEY, updated REAL NOT NULL, seconds BLOB NOT NULL
) WITHOUT ROWID"""
_NEWEST_FIRST: Final = "SELECT flow, length(seconds) FROM durations ORDER BY updated DESC, flow"


def read(connection: sqlite3.Connection) -> dict[bytes, bytes]:
    """All that is in the table; nothing without a table."""
    if not has_table(connection, "durations"):
        return {}
    return {
        bytes(flow): bytes(seconds) for flow, seconds in connection.execute("SELECT flow, seconds FROM durations")
    }


def write(connection: sqlite3.Connection, durations: Mapping[bytes, bytes], now: float) -> None:
    """Put *durations* into the table, in a transaction, and delete what has become too much."""
    if not durations:
        return
    connection.execute(_MAKE)
    connection.executemany(
        "INSERT OR REPLACE INTO durations (flow, updated, seconds) VALUES (?, ?, ?)",
        [(flow, now, seconds) for flow, seconds in durations.items()],
    )
    gone = [(flow,) for flow in surplus(connection.execute(_NEWEST_FIRST).fetchall())]
    connection.executemany("DELETE FROM durations WHERE flow = ?", gone)
