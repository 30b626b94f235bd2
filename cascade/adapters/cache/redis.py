"""A cache store in Redis."""

from __future__ import annotations

import math
from typing import Any

import attrs

from cascade.adapters.pickles import dumps, loads
from cascade.adapters.redis_client import PATIENCE, RedisLine, Session, check_client, redis_library
from cascade.model.policies import MISS, Hit, Miss


@attrs.define(eq=False)
class RedisCacheStore:
    """Values in Redis, each under a key of its own, which the server lets expire.

    Values are pickled, and reading a pickle can run any code, so the server must be trusted.

    Args:
        client: A ``redis.Redis``, made without ``decode_responses``.
        prefix: The beginning of every key.

    Raises:
        ImportError: If the redis library is not installed.
        TypeError: If *client* is not a synchronous client.
        ValueError: If *client* decodes responses.
    """

    client: Any
    prefix: str = "cascade:cache:"
    _line: RedisLine = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        redis_library("RedisCacheStore")
        check_client(self.client, "RedisCacheStore")
        self._line = RedisLine(self.client, "the cache", threads=4)

    async def get(self, key: str) -> Hit[Any] | Miss:
        """A hit with the value under *key*; a miss if there is none, or it has expired.

        Raises:
            StateError: If there is no connection, or no answer within 20 s.
        """
        return await self._line.call(lambda session: self._get(session, key), 0, PATIENCE)

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep *value* under *key* for *ttl* seconds; ``None``: for good. Not cancelled once it has begun.

        Raises:
            StateError: If there is no connection, or no answer within 20 s.
        """
        expires = None if ttl is None or math.isinf(ttl) else max(1, round(ttl * 1000))
        await self._line.call(lambda session: self._set(session, key, value, expires), 0, PATIENCE)

    def _get(self, session: Session, key: str) -> Hit[Any] | Miss:
        found = session.ask("get", self.prefix + key)
        return MISS if found is None else Hit(loads(found))

    def _set(self, session: Session, key: str, value: Any, expires: int | None) -> None:
        data = dumps(value)
        session.ask("set", self.prefix + key, data, px=expires)
