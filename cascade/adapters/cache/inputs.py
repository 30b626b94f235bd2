"""A cache whose key is the code of a task and its arguments."""

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
    """Keeps values by key. If it raises, that is reported as a warning and counts as a miss."""

    async def get(self, key: str) -> Hit[Any] | Miss:
        """A hit with the value under *key*, which may be ``None``; a miss if there is none, or it has expired."""
        ...

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep *value* under *key* for *ttl* seconds; ``None``: for good."""
        ...


def _check_ttl(_: object, __: object, ttl: Any) -> None:
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not ttl > 0):
        raise ValueError(f"ttl is a positive number of seconds, or None for no limit, not {ttl!r}")


@attrs.frozen
class InputCache:
    """Keeps results by the code of the task and the values of all its arguments.

    Keys are canonical: equal arguments give equal keys in every process. An argument of a class without a
    canonical hash fails the node with an error that names the argument. Either register a digest for the class
    (:func:`cascade.cache.register_digest`), or give a *key* of your own. If the task itself holds an object
    without a canonical hash, such as the object of a bound method, its results are for that very object, and so
    for this process only.

    The key also has the place of the task, if this is not a package: the folder of a single file, the session of a
    console, the path of a notebook. ``@task(version=)`` leaves that out.

    While a call is computed for the cache, equal calls on the same event loop wait for its value (single flight).

    Args:
        store: Where results are kept.
        ttl: Seconds for which a result counts; ``None``, the default: for good.
        key: A function from the bound arguments (name to value) to the key, to use instead; ``None``, the default:
            the canonical key.
    """

    store: CacheStore
    ttl: float | None = attrs.field(default=None, converter=plain_number, validator=_check_ttl)
    key: Callable[[Mapping[str, Any]], str] | None = None

    async def check(self, task_id: str, inputs: Mapping[str, Any]) -> Hit[Any] | Miss:
        """Look up the result of a call.

        Raises:
            NotDigestibleError: If an argument has no canonical hash.
        """
        return await self.store.get(self.key_of(task_id, inputs))

    def place_of(self, task_id: str, inputs: Mapping[str, Any]) -> Hashable:
        """The same for all calls that share an entry, of which one at a time is computed.

        Raises:
            NotDigestibleError: If an argument has no canonical hash.
        """
        return id(self.store), self.key_of(task_id, inputs)

    async def save(self, task_id: str, inputs: Mapping[str, Any], result: Any) -> None:
        """Keep the result of a call.

        Raises:
            TypeError: If the result is an iterator, which can be read only once.
        """
        if isinstance(result, (Iterator, AsyncIterator)):
            raise TypeError(
                f"a {type(result).__name__} is used up by the first that reads it, so it cannot be kept; return a "
                "list"
            )
        await self.store.set(self.key_of(task_id, inputs), result, self.ttl)

    def key_of(self, task_id: str, inputs: Mapping[str, Any]) -> str:
        """The key of a call, as it was before the call ran, even if the call has changed its arguments.

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
    """Values in the memory of this process; drops the least recently used first.

    It keeps a copy (``copy.deepcopy``) of each value, and each hit gets a copy of that, so nobody sees changes
    that another makes to a value. A value that cannot be copied is not kept, with an ``EngineWarning``.

    Args:
        most: Entries to keep at most; ``None``, the default: any number.
        clock: Function that returns seconds, for expiry.
    """

    most: int | None = None
    clock: Callable[[], float] = time.monotonic
    _entries: OrderedDict[str, tuple[Any, float]] = attrs.field(factory=OrderedDict, init=False)

    async def get(self, key: str) -> Hit[Any] | Miss:
        """A hit with a copy of the value under *key*; a miss if there is none, or it has expired."""
        await checkpoint()
        value, expiry = self._entries.get(key, (None, -math.inf))
        if self.clock() >= expiry:
            self._entries.pop(key, None)
            return MISS
        self._entries.move_to_end(key)
        return Hit(_copied(value))

    async def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Keep a copy of *value* under *key* for *ttl* seconds; ``None``: for good.

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
