"""Values that can be read only once, for several consumers: each reads all of it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import Any

import anyio
import attrs

# Where iterators come from that are nothing but iterators; open files are iterators as well, and more.
_MODULES = ("builtins", "itertools")


def for_several(value: Any) -> Any:
    """*value*, in a form that several consumers can read if it is a generator or another plain iterator."""
    kind = type(value)
    if kind is GeneratorType or (kind.__module__ in _MODULES and hasattr(kind, "__next__")):
        return Replay(value)
    return AsyncReplay(value) if kind is AsyncGeneratorType else value


@attrs.define(eq=False)
class Replay:
    """An iterable over what an iterator gives, which is read once, as far as somebody wants it.

    May be iterated by several threads at once. What the iterator raises is raised to each of them.
    """

    _source: Iterator[Any]
    _values: list[Any] = attrs.field(factory=list)
    _error: Exception | None = None
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __iter__(self) -> Iterator[Any]:
        place = 0
        while True:
            if place == len(self._values) and not self._read(place):
                return
            yield self._values[place]
            place += 1

    def _read(self, place: int) -> bool:
        """Read the value at *place*, unless somebody else has; whether there is one."""
        with self._lock:
            if place < len(self._values):
                return True
            if self._error is not None:
                raise self._error
            try:
                self._values.append(next(self._source))
            except StopIteration:
                return False
            except Exception as error:
                self._error = error
                raise
            return True


@attrs.define(eq=False)
class AsyncReplay:
    """An async iterable over what an async generator gives, which is read once, as far as somebody wants it.

    What the generator raises is raised to each consumer. If a consumer is cancelled while it waits for a value,
    that ends the generator, and the others get a ``RuntimeError``.
    """

    _source: AsyncIterator[Any]
    _values: list[Any] = attrs.field(factory=list)
    _error: Exception | None = None
    _lock: anyio.Lock = attrs.field(factory=anyio.Lock)

    async def __aiter__(self) -> AsyncIterator[Any]:
        place = 0
        while True:
            if place == len(self._values) and not await self._read(place):
                return
            yield self._values[place]
            place += 1

    async def _read(self, place: int) -> bool:
        """Read the value at *place*, unless somebody else has; whether there is one."""
        async with self._lock:
            if place < len(self._values):
                return True
            if self._error is not None:
                raise self._error
            try:
                self._values.append(await anext(self._source))
            except StopAsyncIteration:
                return False
            except BaseException as error:
                cut_short = RuntimeError("the async generator was cancelled while another consumer read it")
                self._error = error if isinstance(error, Exception) else cut_short
                raise
            return True
