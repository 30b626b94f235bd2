"""Stepping a coroutine by hand, each step in a context of its own."""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextvars import Context
from typing import Any

import attrs


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


# A function and its arguments.
Called = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]
Awaiting = Generator[Any, Called, None]


def awaiting_calls() -> tuple[list[Any], Awaiting]:
    """A box, and what awaits the async calls that are sent to it, one after another, each in a context.

    It yields what a call waits with, and then it is up to :func:`rest_of`; or *box*, with the value inside, once
    the call has ended. So no exception has to be made for the value, as the end of a coroutine by itself is one.
    What a call raises ends it.
    """
    box: list[Any] = [None]
    awaiting = _awaiting(box)
    next(awaiting)
    return box, awaiting


@attrs.define(eq=False)
class AsyncCalls:
    """Calls async functions one after another. After one that waits or raises, a new generator awaits the next."""

    _ready: tuple[list[Any], Awaiting] | None = None

    def begin(
        self, context: Context, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, Awaitable[Any] | None]:
        """Call *func* inside *context*: what it gives, or what is left of it if it waits."""
        ready, self._ready = self._ready or awaiting_calls(), None
        box, awaiting = ready
        yielded = context.run(awaiting.send, (func, args, kwargs))
        if yielded is not box:
            return None, rest_of(context, awaiting, yielded, box)
        self._ready = ready
        value, box[0] = box[0], None
        return value, None


@types.coroutine
def _awaiting(box: list[Any]) -> Awaiting:
    while True:
        func, args, kwargs = yield box
        coroutine = func(*args, **kwargs) if kwargs else func(*args)  # to copy none takes as long as the call
        del func, args, kwargs  # the next call may take long
        if type(coroutine) is not types.CoroutineType:
            coroutine = as_coroutine(coroutine)
        box[0] = yield from coroutine


@types.coroutine
def rest_of(context: Context, awaiting: Awaiting, yielded: Any, box: list[Any]) -> Generator[Any, Any, Any]:
    """What the call gives that *awaiting* awaits, and that has *yielded* from its first step in *context*."""
    run = context.run
    while yielded is not box:
        step: Callable[[Any], Any] = awaiting.send
        sent: Any = None
        try:
            sent = yield yielded
        except BaseException as error:  # a cancellation, say: for the coroutine to see
            step, sent = awaiting.throw, error
        try:
            yielded = run(step, sent)
        finally:
            del step, sent
    value, box[0] = box[0], None
    return value
