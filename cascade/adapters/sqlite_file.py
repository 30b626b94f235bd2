"""SQLite files that several processes use; whatever keeps one comes here first."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cascade.model.errors import StateError, describe

# Seconds to wait for other processes that write to the same file.
PATIENCE: Final = 20.0

# What SQLite says when another connection is in the way: waiting helps.
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def is_busy(error: BaseException) -> bool:
    """Whether *error* says that another connection is in the way."""
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def connect(path: str) -> sqlite3.Connection:
    """Open the file *path*, made if it is not there, for one writer at a time that survives losing power.

    The connection waits for nobody: what is done with it raises while another connection is in the way, and is to
    be tried again, as ``SQLiteFile`` does.

    Raises:
        StateError: If it cannot be opened, or is something else.
        sqlite3.OperationalError: If another connection is in the way; see :func:`is_busy`.
    """
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        if is_busy(error):
            raise
        raise StateError(f"cannot open the SQLite file {path!r}: {_why_not_opened(path, error)}") from error
    return connection


def _why_not_opened(path: str, error: sqlite3.Error) -> str:
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        return "it is a folder"
    if not os.path.isdir(folder):
        return f"there is no folder {folder!r}; make it first"
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):  # pragma: no cover  # root may write
        return f"{path if os.path.exists(path) else folder!r} may not be written ({describe(error)})"
    return describe(error)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All that is written inside, or nothing."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")  # may fail, as on a full disk, and leave the transaction open
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
