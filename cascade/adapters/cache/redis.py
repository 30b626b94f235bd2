"""A cache store in Redis."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from anyio import CancelScope

from cascade.adapters.redis_client import check_client, redis_library
from cascade.model.policies import MISS, Hit, Miss
from cascade.runtime.threads import LoopLimiter, in_thread

T = TypeVar("T")


@attrs.define(eq=False)
class RedisCacheStore:
    """Values in Redis, each under a key of its own that expires by itself.

    Values are pickled: the server must be trusted as code is.

    Args:
        client: A ``redis.Redis``, made without ``decode_responses``.
        prefix: What stands before every key.

    Raises:
        ImportError: If the redis library is not installed.
        TypeError: If *client* is no client of the synchronous kind.
        ValueError: If it decodes responses.
    """

    client: Any
    prefix: str = "cascade:cache:"
    _limiter: LoopLimiter = attrs.field(factory=lambda: LoopLimiter(4), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        redis_library("RedisCacheStore")
        check_client(self.client, "RedisCacheStore")

    async def get(self, key: str) -> Hit[Any] | Miss:
        """The value under *key*, unless there is none or it has expired."""
        found = await self._do(lambda: self.client.get(self.prefix + key))
        return MISS if found is None else Hit(pickle.loads(found))

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep *value* under *key*, for *ttl* seconds or for good. A set that has begun is not cancelled."""
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        expires = None if ttl is None or math.isinf(ttl) else max(1, round(ttl * 1000))
        await self._do(lambda: self.client.set(self.prefix + key, data, px=expires))

    async def _do(self, func: Callable[[], T]) -> T:
        with CancelScope(shield=True):
            done = await in_thread(func, self._limiter.get())
        return done  # noqa: RET504  # to mypy, a scope may swallow what is raised inside
