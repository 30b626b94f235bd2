"""A cache by task and arguments."""

from __future__ import annotations

import copy
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from typing import Any, Protocol

import attrs
from anyio.lowlevel import checkpoint

from cascade.graph.canonical import PLAIN, combine
from cascade.graph.code import code_digest_here, code_home
from cascade.graph.identity import value_digest
from cascade.model.policies import MISS, Hit, Miss
from cascade.model.typed.numbers import plain_number
from cascade.runtime.execution.binding import Inputs


class CacheStore(Protocol):
    """Keeps values by key. If a method raises, the engine reports it and goes on as after a miss."""

    async def get(self, key: str) -> Hit[Any] | Miss:
        """Look up a value. Returns ``Hit(value)``, or ``MISS`` if there is none or it has expired.

        May be cancelled; it should change nothing.

        Args:
            key: The key.
        """
        ...

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep a value.

        If cancelled, it should have kept the whole value or nothing.

        Args:
            key: The key.
            value: The value, which may be ``None``.
            ttl: Seconds for which it counts, more than 0. ``None``: for good.
        """
        ...


def _check_ttl(_: object, __: object, ttl: Any) -> None:
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not ttl > 0):
        raise ValueError(f"ttl is a positive number of seconds, or None for no limit, not {ttl!r}")


@attrs.frozen
class InputCache:
    """Keeps results by the code of the task and the values of all its arguments.

    Equal arguments give equal keys in every process. An argument of a class that has no digest fails the node, and
    the error names it: register a digest for the class (:func:`cascade.cache.register_digest`), or give a *key* of
    your own. If an object that the task itself holds has none, such as the object that a method is bound to,
    results count for that object only, and so only in this process.

    For a task in a single file, outside of a package, the folder of the file counts too. For a task in a notebook
    its path counts, and for one in an interactive session the session. ``@task(version=...)`` lifts this.

    While a call is computed for the cache, equal calls on the same event loop wait for its value (single flight).

    Args:
        store: Where results are kept.
        ttl: Seconds for which a result counts, more than 0. ``None`` (default): for good.
        key: A function from the bound arguments (by name) to the key, a string. ``None`` (default): the key is
            made as described above.

    Raises:
        ValueError: If *ttl* is no positive number.
    """

    store: CacheStore
    ttl: float | None = attrs.field(default=None, converter=plain_number, validator=_check_ttl)
    key: Callable[[Mapping[str, Any]], str] | None = None

    async def check(self, task_id: str, inputs: Mapping[str, Any]) -> Hit[Any] | Miss:
        """Look up a call. If cancelled, it ends as the store's ``get`` does, and nothing has changed.

        Args:
            task_id: The node's id. It is part of the key only if the engine is not the caller.
            inputs: The bound arguments by name.

        Raises:
            NotDigestibleError: If an argument has no digest.
            TypeError: If *key* does not return a string.
        """
        return await self.store.get(self.key_of(task_id, inputs))

    def place_of(self, task_id: str, inputs: Mapping[str, Any]) -> Hashable:
        """What calls with the same entry have in common. Only one of them is computed at a time.

        Args:
            task_id: As in :meth:`check`.
            inputs: The bound arguments by name.

        Raises:
            NotDigestibleError: If an argument has no digest.
            TypeError: If *key* does not return a string.
        """
        return id(self.store), self.key_of(task_id, inputs)

    async def save(self, task_id: str, inputs: Mapping[str, Any], result: Any) -> None:
        """Keep a result. If cancelled, it ends as the store's ``set`` does.

        Args:
            task_id: As in :meth:`check`.
            inputs: The bound arguments by name.
            result: The result.

        Raises:
            NotDigestibleError: If an argument has no digest.
            TypeError: If the result is an iterator, which only one reader can use, or *key* does not return a
                string.
        """
        if isinstance(result, (Iterator, AsyncIterator)):
            raise TypeError(
                f"a {type(result).__name__} is used up by the first that reads it, so it cannot be kept; return a "
                "list"
            )
        await self.store.set(self.key_of(task_id, inputs), result, self.ttl)

    def key_of(self, task_id: str, inputs: Mapping[str, Any]) -> str:
        """The key of a call. It is made when a run first asks for it; what the call does to its arguments does not
        change it.

        Args:
            task_id: As in :meth:`check`.
            inputs: The bound arguments by name.

        Raises:
            NotDigestibleError: If an argument has no digest.
            TypeError: If *key* does not return a string.
        """
        if not isinstance(inputs, Inputs):
            return self._key_of(task_id, inputs)
        known = inputs.known_keys.get(id(self))
        if known is not None:
            _, asked, key = known
            if len(asked) == len(inputs) and all(inputs.get(name, asked) is asked[name] for name in asked):
                return key
        key = self._key_of(task_id, inputs)
        inputs.known_keys[id(self)] = (self, dict(inputs), key)  # holds the policy, so that no other gets its id
        return key

    def _key_of(self, task_id: str, inputs: Mapping[str, Any]) -> str:
        if self.key is not None:
            own = self.key(inputs)
            if not isinstance(own, str):
                raise TypeError(f"key= of an InputCache must return a string, not {own!r:.100}")
            return own
        what = [task_id.encode()]
        if isinstance(inputs, Inputs):
            what = [code_digest_here(inputs.task), code_home(inputs.task)]
        arguments = [part for name in sorted(inputs) for part in (name.encode(), value_digest(inputs[name], name))]
        return combine("input cache", [*what, *arguments]).hex()


@attrs.define(eq=False)
class MemoryCacheStore:
    """Keeps values in this process. If there are too many, the least recently used is dropped.

    It keeps a copy (``copy.deepcopy``), and each hit gets a copy of that, so nobody can change a value for others.
    A value that cannot be copied is not kept, and an ``EngineWarning`` says so.

    Args:
        most: Number of entries kept at most. ``None`` (default): any number. With 0, nothing is kept.
        clock: Function that gives the seconds by which entries expire. ``time.monotonic`` by default.
    """

    most: int | None = None
    clock: Callable[[], float] = time.monotonic
    _entries: OrderedDict[str, tuple[Any, float]] = attrs.field(factory=OrderedDict, init=False)

    async def get(self, key: str) -> Hit[Any] | Miss:
        """Look up a value. Returns ``Hit`` with a copy, or ``MISS``. If cancelled, nothing has changed.

        Args:
            key: The key.

        Raises:
            TypeError: If the value cannot be copied.
        """
        await checkpoint()
        value, expiry = self._entries.get(key, (None, -math.inf))
        if self.clock() >= expiry:
            self._entries.pop(key, None)
            return MISS
        self._entries.move_to_end(key)
        return Hit(_copied(value))

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep a copy of a value. If cancelled, nothing is kept.

        Args:
            key: The key.
            value: The value.
            ttl: Seconds for which it counts. ``None``: for good. With 0 or less it has expired at once.

        Raises:
            TypeError: If the value cannot be copied.
        """
        await checkpoint()
        self._entries[key] = (_copied(value), math.inf if ttl is None else self.clock() + ttl)
        self._entries.move_to_end(key)
        while self.most is not None and len(self._entries) > self.most:
            self._entries.popitem(last=False)


def _copied(value: Any) -> Any:
    if type(value) in PLAIN:
        return value
    try:
        return copy.deepcopy(value)
    except Exception as error:  # copying runs the code of the value's class, which may raise anything
        raise TypeError(f"a {type(value).__name__} cannot be copied, so it is not kept: {error}") from error
