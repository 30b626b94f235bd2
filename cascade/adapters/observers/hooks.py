"""Observers that tell somebody how a run has ended."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, ClassVar

import anyio
import attrs

from cascade.model.events import RunFinished
from cascade.model.typed.numbers import plain_number
from cascade.runtime.context.settings import Observer
from cascade.runtime.foundation.threads import in_thread, run_in_daemon_thread
from cascade.runtime.observation.bus import EventStream

Tell = Callable[[RunFinished], object] | Callable[[RunFinished], Awaitable[object]]


def on_failure(tell: Tell, *, timeout: float = 5.0) -> Observer:
    """An observer that calls *tell* when a run has failed, and not when it was cancelled, drained or suspended.

    See :func:`on_finish`, which calls it whenever a run has ended.

    Args:
        tell: As for :func:`on_finish`.
        timeout: Seconds that *tell* may take, more than 0; 5 by default. ``cleanup_timeout`` is a limit too.

    Raises:
        TypeError: If *tell* cannot be called.
        ValueError: If *timeout* is not a number of seconds above 0.
    """
    return _Hook(tell, timeout, "on_failure")


def on_finish(tell: Tell, *, timeout: float = 5.0) -> Observer:
    """An observer that calls *tell* when a run has ended, however that was.

    *tell* gets the last event, with the run's id, status, error, failures and counts, and no secrets. The run's
    caller gets its result or error after that. What *tell* raises does not fail the run: it is noted on the error
    of a run that has failed, stands among the failures of ``run.status()``, and is published on the bus of the
    engine as an ``EngineWarning``. The same is true if it takes too long.

    Args:
        tell: A function of one argument, the :class:`~cascade.RunFinished`. An async function is awaited, and
            cancelled when its time is over. A sync one is called in a thread, which is left behind then.
        timeout: Seconds that *tell* may take, more than 0; 5 by default. ``cleanup_timeout`` is a limit too.

    Raises:
        TypeError: If *tell* cannot be called.
        ValueError: If *timeout* is not a number of seconds above 0.
    """
    return _Hook(tell, timeout, "on_finish")


def _check_call(_: object, __: object, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"on_failure and on_finish take a function of the last event, not {value!r:.100}")


def _check_seconds(_: object, __: object, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"timeout is a number of seconds above 0, not {value!r}")


@attrs.frozen(eq=False)
class _Hook:
    """The observer. Listens to the last event only, so nodes run as without it."""

    tell: Tell = attrs.field(validator=_check_call)
    timeout: float = attrs.field(converter=plain_number, validator=_check_seconds)
    kind: str
    kinds: ClassVar = (RunFinished,)

    @property
    def __name__(self) -> str:
        # How warnings name it.
        return f"{self.kind}({getattr(self.tell, '__name__', None) or type(self.tell).__name__})"

    async def __call__(self, events: EventStream) -> None:
        async for event in events:
            if isinstance(event, RunFinished) and (self.kind == "on_finish" or event.status == "Failed"):
                await self._tell(event)

    async def _tell(self, event: RunFinished) -> None:
        with anyio.move_on_after(self.timeout) as scope:
            if inspect.iscoroutinefunction(self.tell) or inspect.iscoroutinefunction(type(self.tell).__call__):
                told: Any = self.tell(event)
                await told
            else:
                await _call(self.tell, event)
        if scope.cancelled_caught:
            raise TimeoutError(f"it took longer than its timeout of {self.timeout:g} s")


async def _call(tell: Callable[[RunFinished], Any], event: RunFinished) -> None:
    """Call a sync function in a thread, and await what it gives if that is a coroutine."""
    value: Any = None
    failure: BaseException | None = None

    def call() -> None:
        nonlocal value, failure
        try:
            value = tell(event)
        except BaseException as error:  # raised below, on the event loop
            failure = error

    # A context as AnyIO gives to its own threads, in which no event loop seems to run.
    context = await in_thread(copy_context, anyio.CapacityLimiter(1))
    await run_in_daemon_thread(context, call, "on_finish")
    if failure is not None:
        raise failure
    if inspect.isawaitable(value):
        await value
