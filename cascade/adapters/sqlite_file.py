"""SQLite files that several processes use; whatever keeps one comes here first."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cascade.adapters.trusted_paths import UntrustedPath, shared_file, trusted_file
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe

# Seconds to wait for other processes that write to the same file.
PATIENCE: Final = 20.0
# To SQLite: databases that are gone with their connection.
WITHOUT_FILE: Final = "", ":memory:"

# What SQLite says when another connection is in the way: waiting helps.
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def is_busy(error: BaseException) -> bool:
    """Whether *error* says that another connection is in the way."""
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def connect(path: str, *, shared: bool = False) -> sqlite3.Connection:
    """Open the file *path*, made if it is not there, for one writer at a time that survives losing power.

    The connection waits for nobody: what is done with it raises while another connection is in the way, and is to
    be tried again, as ``SQLiteFile`` does.

    Raises:
        StateError: If it cannot be opened, is something else, or could be changed by other users.
        sqlite3.OperationalError: If another connection is in the way; see :func:`is_busy`.
    """
    found = trusted(path, shared=shared)
    try:
        connection = sqlite3.connect(found, timeout=0, isolation_level=None, check_same_thread=False)
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


def trusted(path: str, *, makes: bool = True, shared: bool = False) -> str:
    """Where *path* leads to, if no other user can change what is read there: values are pickled, so they are code.

    Args:
        path: The file.
        makes: Whether it is made if it is not there, with mode 0600.
        shared: Whether all who can write there are trusted. Then nothing is looked at, and the file is made with
            the mode that the umask says.

    Raises:
        StateError: If other users can change or replace it, or if it cannot be reached.
    """
    if path in WITHOUT_FILE:
        return path
    try:
        return shared_file(path, makes=makes) if shared else trusted_file(path, makes=makes)
    except UntrustedPath as error:
        raise StateError(
            f"the SQLite file {path!r} is refused, as other users could put code into it: {error}, or say "
            "?shared=on in its URL (shared=True in Python) if all who can write there are trusted"
        ) from error
    except OSError as error:
        raise StateError(f"cannot open the SQLite file {path!r}: {_why_not_opened(path, error)}") from error


def _why_not_opened(path: str, error: Exception) -> str:
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
