"""Async context managers made of generators, which leave the exceptions that pass through them alone.

``contextlib.asynccontextmanager`` sets the traceback of an exception that leaves the block. An exception of a
frozen class refuses that, and another one would take its place.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

from cascade.model.shown.tracebacks import trimmed

P = ParamSpec("P")
T = TypeVar("T")


class _Block(AbstractAsyncContextManager[T], Generic[T]):
    """One use of such a context manager."""

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator

    async def __aenter__(self) -> T:
        with trimmed:
            return await anext(self._generator)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            with trimmed:
                if error is None:
                    await anext(self._generator)
                else:
                    await self._generator.athrow(error)
        except StopAsyncIteration:
            return error is not None
        except BaseException as raised:
            if raised is not error:
                raise
            return False  # it leaves the block as it is
        raise RuntimeError("the generator of an async context manager yields once")


def async_context(func: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Like ``contextlib.asynccontextmanager``, but sets nothing on exceptions."""

    @functools.wraps(func)
    def enter(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _Block(func(*args, **kwargs))

    return enter
