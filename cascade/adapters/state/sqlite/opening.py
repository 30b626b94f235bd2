"""Opens an SQLite state file that is there, to read in it or to keep it in order."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade.adapters.sqlite_file import trusted
from cascade.adapters.state.sqlite.backend import is_shared, path_of
from cascade.adapters.state.sqlite.lease import VERSION, of_another_version
from cascade.model.errors import StateError


@contextmanager
def opened(
    url: str, connect: Callable[[str], sqlite3.Connection], tell: Callable[[sqlite3.Error], str]
) -> Iterator[sqlite3.Connection]:
    """A connection to the file at *url*, closed afterwards.

    Args:
        url: The URL of the store.
        connect: Opens a file.
        tell: Says in words what an error of SQLite, there or inside the block, means.

    Raises:
        StateError: If the file is not there, is not trusted or has another format, or for an error of SQLite.
    """
    path = path_of(url)
    if not Path(path).is_file():
        raise StateError(f"there is no state file {path!r}")
    try:
        connection = connect(trusted(path, makes=False, shared=is_shared(url)))
        # Text that is not UTF-8 was not written by us; it must not hide the other runs.
        connection.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                raise StateError(of_another_version(path, version))
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StateError(f"the SQLite file {path!r} cannot be {tell(error)}{_remedy(path, error)}") from error


def _remedy(path: str, error: sqlite3.Error) -> str:
    """What to do if SQLite, which keeps files beside *path*, cannot make these, as in a read-only file system."""
    cannot_open = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN
    if cannot_open and os.access(path, os.R_OK):
        return "; SQLite keeps files beside it: copy it to a folder that can be written"
    return ""
