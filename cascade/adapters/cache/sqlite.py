"""A cache store in an SQLite file: one file for many processes."""

from __future__ import annotations

import math
import os
import sqlite3
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs

from cascade.adapters.pickles import dumps, loads
from cascade.adapters.sqlite_file import transaction
from cascade.adapters.sqlite_store import FileReplacedError, SQLiteFile
from cascade.adapters.state.pickling import once
from cascade.model.policies import MISS, Hit, Miss

T = TypeVar("T")

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL, created REAL) "
    "WITHOUT ROWID"
)
_INDEX: Final = "CREATE INDEX IF NOT EXISTS cache_expires ON cache (expires) WHERE expires IS NOT NULL"


def _now() -> float:
    return time.time()  # looked up at each call, so that a test can replace it


@attrs.define(eq=False)
class SQLiteCacheStore:
    """Keeps values in the table ``cache`` of an SQLite file, for many processes.

    The columns are ``key``, ``value`` (pickle), ``expires`` and ``created`` (seconds since the epoch; ``expires``
    is null for what is kept for good). A pickle is code: a file that other users can change or replace is refused.

    Expired entries are deleted when something is set. A value that expires counts only while the clock is between
    its two times, so it does not live longer if the clock is set back. A file that another process keeps locked is
    waited for, up to 20 s. A file that was deleted, moved or replaced is made anew.

    Args:
        path: The file. It is made with mode 0600 if it does not exist; its folder must exist.
        clock: Function that gives the seconds since the epoch by which entries expire. ``time.time`` by default.
        shared: Whether everybody who can write to the file or its folders is trusted. Then the file is not
            refused, and a new one gets the mode that the umask says.
    """

    path: str = attrs.field(converter=os.fsdecode)
    clock: Callable[[], float] = _now
    shared: bool = attrs.field(default=False, kw_only=True)
    _file: SQLiteFile = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._file = SQLiteFile(self.path, _prepare, self.shared)
        weakref.finalize(self, self._file.close)

    async def get(self, key: str) -> Hit[Any] | Miss:
        """Look up a value. Returns ``Hit(value)``, or ``MISS`` if there is none or it has expired.

        Reads in a worker thread. If cancelled while it waits for its turn, it does nothing; reading that has begun
        is waited for.

        Args:
            key: The key.

        Raises:
            StateError: If the file cannot be used.
        """
        return await self._file.call(lambda: self._current(lambda: self._get(key)))

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep a value. If cancelled while it waits for its turn, nothing is kept; a write that has begun is not
        cancelled.

        Args:
            key: The key.
            value: The value; it is pickled.
            ttl: Seconds for which it counts. ``None``: for good. With 0 or less it has expired at once.

        Raises:
            StateError: If the file cannot be used.
        """
        data = once(lambda: dumps(value))
        await self._file.call(lambda: self._current(lambda: self._set(key, data(), ttl)))

    async def close(self) -> None:
        """Close the file; the next use opens it again. If cancelled while it waits for its turn, the file stays
        open.
        """
        await self._file.call(self._file.close)

    def _current(self, func: Callable[[], T]) -> T:
        """What *func* returns, called with the file that is at the path now."""
        try:
            self._file.connection()
            self._file.check()
        except FileReplacedError:
            self._file.close()
        return func()

    def _get(self, key: str) -> Hit[Any] | Miss:
        row = self._file.connection().execute(
            "SELECT value, expires, created FROM cache WHERE key = ?", (key,)
        ).fetchone()  # fmt: skip
        if row is None:
            return MISS
        value, expires, created = row
        now = self.clock()
        is_over = expires is not None and not (created or -math.inf) <= now < expires
        return MISS if is_over else Hit(loads(value))

    def _set(self, key: str, data: bytes, ttl: float | None) -> None:
        now = self.clock()
        expires = None if ttl is None or math.isinf(ttl) else now + ttl
        with transaction(self._file.connection()) as connection:
            connection.execute("DELETE FROM cache WHERE expires <= ?", (now,))
            connection.execute("INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?)", (key, data, expires, now))


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")  # a crash may lose the last values, which costs only time
    if "created" not in _columns(connection):
        with transaction(connection):
            if _columns(connection) == ["key", "value", "expires"]:  # made by an earlier version
                connection.execute("ALTER TABLE cache ADD COLUMN created REAL")
            connection.execute(_TABLE)
            connection.execute(_INDEX)


def _columns(connection: sqlite3.Connection) -> list[str]:
    return [name for _, name, *_ in connection.execute("PRAGMA table_info(cache)")]
