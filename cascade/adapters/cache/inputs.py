"""A cache keyed by what is called and with what."""

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
from cascade.runtime.binding import Inputs


class CacheStore(Protocol):
    """Keeps values by key. What it raises is reported and otherwise a miss."""

    async def get(self, key: str) -> Hit[Any] | Miss:
        """The value under *key*, ``None`` included, unless there is none or it has expired."""
        ...

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep *value* under *key*, for *ttl* seconds or for good."""
        ...


def _check_ttl(_: object, __: object, ttl: Any) -> None:
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not ttl > 0):
        raise ValueError(f"ttl is a positive number of seconds, or None for no limit, not {ttl!r}")


@attrs.frozen
class InputCache:
    """Remembers results by the code of the task and the values of all its arguments.

    Keys are canonical: equal arguments give equal keys in every process. An argument of a class without canonical
    hash fails the node, naming the argument: register what stands for it (:func:`cascade.cache.register_digest`),
    or give a *key* of your own. If what a task holds has none, such as the object that a method is bound to, its
    results count for that very object, and so for this process only.

    A task in a lone file, and not in a package, counts with the folder of that file; one in an interactive session
    counts for that session only, and one in a notebook with the path of that. ``@task(version=)`` lifts this.

    While a call is being computed for the cache, equal calls on the same event loop wait for its value.

    Args:
        store: Where results are kept.
        ttl: Seconds for which a result counts; ``None``: for good.
        key: Makes the key from the bound arguments (name to value) instead.
    """

    store: CacheStore
    ttl: float | None = attrs.field(default=None, converter=plain_number, validator=_check_ttl)
    key: Callable[[Mapping[str, Any]], str] | None = None

    async def check(self, task_id: str, inputs: Mapping[str, Any]) -> Hit[Any] | Miss:
        """Look the call up.

        Raises:
            NotDigestibleError: If an argument has no canonical hash.
        """
        return await self.store.get(self.key_of(task_id, inputs))

    def place_of(self, task_id: str, inputs: Mapping[str, Any]) -> Hashable:
        """What calls that share an entry have in common; of them, one at a time is computed.

        Raises:
            NotDigestibleError: If an argument has no canonical hash.
        """
        return id(self.store), self.key_of(task_id, inputs)

    async def save(self, task_id: str, inputs: Mapping[str, Any], result: Any) -> None:
        """Keep the result.

        Raises:
            TypeError: If it is an iterator, which only one reader can have.
        """
        if isinstance(result, (Iterator, AsyncIterator)):
            raise TypeError(
                f"a {type(result).__name__} is used up by the first that reads it, so it cannot be kept; return a "
                "list"
            )
        await self.store.set(self.key_of(task_id, inputs), result, self.ttl)

    def key_of(self, task_id: str, inputs: Mapping[str, Any]) -> str:
        """The key of a call: what it was when a run asked for it first, whatever the call does to its arguments.

        Raises:
            NotDigestibleError: If an argument has no canonical hash.
        """
        if not isinstance(inputs, Inputs):
            return self._key_of(task_id, inputs)
        known = inputs.known_keys.get(id(self))
        if known is not None:
            _, asked, key = known
            if len(asked) == len(inputs) and all(inputs.get(name, asked) is asked[name] for name in asked):
                return key
        key = self._key_of(task_id, inputs)
        inputs.known_keys[id(self)] = (self, dict(inputs), key)  # with the policy: no other can have its id
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
    """Values in this process, the least recently used dropped first.

    What is kept is a copy (``copy.deepcopy``), and each hit gets a copy of that: whoever changes a value changes
    it for nobody else. A value that cannot be copied is not kept, which an ``EngineWarning`` tells.

    Args:
        most: Entries kept at the most; ``None``: any number.
        clock: Seconds, for expiry.
    """

    most: int | None = None
    clock: Callable[[], float] = time.monotonic
    _entries: OrderedDict[str, tuple[Any, float]] = attrs.field(factory=OrderedDict, init=False)

    async def get(self, key: str) -> Hit[Any] | Miss:
        """The value under *key*, unless there is none or it has expired."""
        await checkpoint()
        value, expiry = self._entries.get(key, (None, -math.inf))
        if self.clock() >= expiry:
            self._entries.pop(key, None)
            return MISS
        self._entries.move_to_end(key)
        return Hit(_copied(value))

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep a copy of *value* under *key*, for *ttl* seconds or for good.

        Raises:
            TypeError: If it cannot be copied.
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
    except Exception as error:
        raise TypeError(f"a {type(value).__name__} cannot be copied, so it is not kept: {error}") from error
