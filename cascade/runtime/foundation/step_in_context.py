"""Stepping a coroutine by hand, each step in a context of its own."""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import Any


@types.coroutine
def drive(context: Context, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await *coroutine* inside *context*.

    The task that awaits this stays the task that the coroutine runs in; only what it sees and sets of context
    variables is its own. Cancellation is thrown into it as into any awaited coroutine.
    """
    try:
        yielded = context.run(coroutine.send, None)
    except StopIteration as stop:
        return stop.value
    return (yield from resume(context, coroutine, yielded))


def step(context: Context, coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, Awaitable[Any] | None]:
    """Make the first step of *coroutine* inside *context*: what it gives, or what is left of it if it waits."""
    try:
        yielded = context.run(coroutine.send, None)
    except StopIteration as stop:
        return stop.value, None
    return None, resume(context, coroutine, yielded)


@types.coroutine
def resume(context: Context, coroutine: Coroutine[Any, Any, Any], yielded: Any) -> Generator[Any, Any, Any]:
    """Go on with *coroutine*, which has *yielded* from its first step, as :func:`drive` would."""
    run = context.run
    while True:
        try:
            sent = yield yielded
        except BaseException as error:  # a cancellation, say: for the coroutine to see
            try:
                yielded = run(coroutine.throw, error)
            except StopIteration as stop:
                return stop.value
            finally:
                del error
        else:
            try:
                yielded = run(coroutine.send, sent)
            except StopIteration as stop:
                return stop.value


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def as_coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    """*awaitable* as something that can be stepped."""
    if type(awaitable) is types.CoroutineType or inspect.iscoroutine(awaitable):
        return awaitable
    return _awaited(awaitable)


async def call_in(
    context: Context, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, is_async: bool
) -> Any:
    """Call *func* and await what it gives, if *is_async* or if that is a coroutine, all inside *context*.

    A sync function gives a coroutine if it is a decorator's wrapper around an async one.
    """
    value = context.run(func, *args, **kwargs)
    if is_async or type(value) is types.CoroutineType:
        value = await drive(context, as_coroutine(value))
    return value
