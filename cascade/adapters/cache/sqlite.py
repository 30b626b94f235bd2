"""A cache store in an SQLite file: one file for many processes."""

from __future__ import annotations

import math
import pickle
import sqlite3
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs

from cascade.adapters.sqlite_file import connect, transaction
from cascade.model.policies import MISS, Hit, Miss
from cascade.runtime.threads import OneAtATime

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cache (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cache_expires ON cache (expires) WHERE expires IS NOT NULL;
"""


@attrs.define(eq=False)
class SQLiteCacheStore:
    """Values in the table ``cache`` of an SQLite file: ``key``, ``value`` (pickle), ``expires`` (epoch or null).

    Values are pickled: the file must be trusted as code is. What has expired is deleted when something is set.

    Args:
        path: The file; made if it is not there. Its directory must exist.
        clock: Seconds since the epoch, for expiry.
    """

    path: str = attrs.field(converter=str)
    clock: Callable[[], float] = time.time
    _thread: OneAtATime = attrs.field(factory=OneAtATime, init=False, repr=False)
    _connection: sqlite3.Connection | None = attrs.field(default=None, init=False, repr=False)

    async def get(self, key: str) -> Hit[Any] | Miss:
        """The value under *key*, unless there is none or it has expired."""
        found = await self._thread.write(lambda: self._get(key))
        return MISS if found is None else Hit(pickle.loads(found))

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep *value* under *key*, for *ttl* seconds or for good. A set that has begun is not cancelled."""
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        expires = None if ttl is None or math.isinf(ttl) else self.clock() + ttl
        await self._thread.write(lambda: self._set(key, data, expires))

    async def close(self) -> None:
        """Close the file; the next use opens it again."""
        await self._thread.write(self._close)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = connect(self.path)
            connection.execute("PRAGMA synchronous = NORMAL")  # losing the last values costs time only
            connection.executescript(_SCHEMA)
            self._connection = connection
            weakref.finalize(self, connection.close)
        return self._connection

    def _get(self, key: str) -> bytes | None:
        row = self._opened().execute("SELECT value, expires FROM cache WHERE key = ?", (key,)).fetchone()
        if row is None or (row[1] is not None and self.clock() >= row[1]):
            return None
        return bytes(row[0])

    def _set(self, key: str, data: bytes, expires: float | None) -> None:
        with transaction(self._opened()) as connection:
            connection.execute("DELETE FROM cache WHERE expires <= ?", (self.clock(),))
            connection.execute("INSERT OR REPLACE INTO cache VALUES (?, ?, ?)", (key, data, expires))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
