"""A cache store in Redis."""

from __future__ import annotations

import math
from typing import Any

import attrs
from anyio import CancelScope

from cascade.adapters.pickles import dumps, loads
from cascade.adapters.redis_client import PATIENCE, RedisLine, Session, check_client, redis_library
from cascade.model.policies import MISS, Hit, Miss


@attrs.define(eq=False)
class RedisCacheStore:
    """Keeps values in Redis, each under a key that expires by itself.

    Values are pickled, and a pickle is code: the server must be trusted.

    Args:
        client: A ``redis.Redis``, made without ``decode_responses``.
        prefix: What stands before every key; ``"cascade:cache:"`` by default.

    Raises:
        ImportError: If the redis library is not installed.
        TypeError: If *client* is no client of the synchronous kind.
        ValueError: If the client decodes responses.
    """

    client: Any
    prefix: str = "cascade:cache:"
    _line: RedisLine = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        redis_library("RedisCacheStore")
        check_client(self.client, "RedisCacheStore")
        self._line = RedisLine(self.client, "the cache", threads=4)

    async def get(self, key: str) -> Hit[Any] | Miss:
        """Look up a value. Returns ``Hit(value)``, or ``MISS`` if there is none or it has expired.

        If cancelled, a request that was sent is waited for, one second at most. Nothing changes.

        Args:
            key: The key.

        Raises:
            StateError: If there is no connection, or no answer within 20 s.
        """
        return await self._line.call(lambda session: self._get(session, key), 0, PATIENCE)

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep a value. If cancelled, a request that was sent is waited for, one second at most; the value is kept
        whole or not at all.

        Args:
            key: The key.
            value: The value; it is pickled.
            ttl: Seconds for which it counts, at least 0.001 (less is taken as that). ``None``: for good.

        Raises:
            StateError: If there is no connection, or no answer within 20 s.
        """
        expires = None if ttl is None or math.isinf(ttl) else max(1, round(ttl * 1000))
        await self._line.call(lambda session: self._set(session, key, value, expires), 0, PATIENCE)

    async def close(self) -> None:
        """Close the connections that were made for the cache, apart from those of requests that are under way. The
        client stays open, and the next use opens new ones. If cancelled, the connections are closed all the same.
        """
        with CancelScope(shield=True):
            await self._line.call(lambda _: self._line.close())

    def _get(self, session: Session, key: str) -> Hit[Any] | Miss:
        found = session.ask("get", self.prefix + key)
        return MISS if found is None else Hit(loads(found))

    def _set(self, session: Session, key: str, value: Any, expires: int | None) -> None:
        data = dumps(value)
        session.ask("set", self.prefix + key, data, px=expires)
