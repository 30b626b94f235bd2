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
    run = context.run
    try:
        yielded = run(coroutine.send, None)
    except StopIteration as stop:
        return stop.value
    while True:
        try:
            sent = yield yielded
        except GeneratorExit:
            run(coroutine.close)
            raise
        except BaseException as error:
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


async def call_in(
    context: Context, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call the async *func* and await what it gives, all inside *context*."""
    awaitable = context.run(func, *args, **kwargs)
    coroutine = awaitable if inspect.iscoroutine(awaitable) else _awaited(awaitable)
    return await drive(context, coroutine)
