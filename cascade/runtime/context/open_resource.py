"""One resource, open: a task of its own enters its generator, waits, and exits it.

The task is shielded and outside the nurseries of the nodes. So a provider may yield from inside a task group, and
nodes have cleaned up before what they used is closed.

The cancel scope that bounds the closing is entered before the generator is, because scopes must nest.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import EventLoopToken, checkpoint, current_token
from anyio.to_thread import run_sync

from cascade.model.errors import TaskCancelledError
from cascade.model.events import Event, ResourceAcquired, ResourceReleased
from cascade.model.inputs import Resource
from cascade.model.shown.raised import annotate, set_past_refusal
from cascade.runtime.foundation.cancellations import is_cancellation, without_cancellations
from cascade.runtime.foundation.threads import counted, wake_soon


class Host(Protocol):
    """What resources need of the run that they belong to."""

    def emit(self, kind: type[Event], /, **fields: object) -> None:
        """Publish an event, if anybody listens."""
        ...

    def fail(self, error: BaseException, origin: str) -> None:
        """Record a failure and, as the run's settings say, end the run."""
        ...

    def start_service(self, func: Callable[..., Any], *args: object) -> None:
        """Start a task that outlives the nodes."""
        ...


@attrs.define(eq=False)
class Closing:
    """The request to close a resource, for which its provider waits on the event loop or in a thread.

    Attributes:
        ended_by: What the provider sees at its ``yield`` when it is closed.
    """

    ended_by: BaseException | None = None
    _on_loop: anyio.Event = attrs.field(factory=anyio.Event)
    _in_thread: threading.Event = attrs.field(factory=threading.Event)

    def request(self, ended_by: BaseException | None) -> None:
        """Ask for it."""
        self.ended_by = ended_by
        self._on_loop.set()
        self._in_thread.set()

    @property
    def is_requested(self) -> bool:
        """Whether it has been asked for."""
        return self._on_loop.is_set()

    async def wait(self) -> BaseException | None:
        """Wait until it is asked for, on the event loop; returns what to raise at the ``yield``."""
        await self._on_loop.wait()
        return self.ended_by

    def wait_in_thread(self) -> BaseException | None:
        """What :meth:`wait` does, in a thread."""
        self._in_thread.wait()
        return self.ended_by


@attrs.define(eq=False)
class Opened:
    """One instance of a resource, from opening to closing.

    Attributes:
        resource: What is provided.
        injected: The resources that its provider takes, by parameter.
        budget: Seconds that closing may take.
        limiter: Of the threads of sync providers.
        value: What the provider yielded.
        error: Why it could not be opened.
        trouble: Why it could not be closed.
        closing: The request to close it.
    """

    host: Host
    resource: Resource
    injected: Mapping[str, Any]
    budget: float
    limiter: CapacityLimiter
    value: Any = None
    error: BaseException | None = None
    trouble: BaseException | None = None
    closing: Closing = attrs.field(factory=Closing)
    # Set when it is open or cannot be opened, and when its task has ended.
    _ready: anyio.Event = attrs.field(factory=anyio.Event)
    _closed: anyio.Event = attrs.field(factory=anyio.Event)
    _scope: CancelScope = attrs.field(factory=lambda: CancelScope(shield=True))

    @property
    def origin(self) -> str:
        """How failures name it."""
        return f"resource {self.resource.name!r}"

    async def open(self) -> None:
        """Open it in a task of its own; leaves the error, if it could not be opened, in ``error``.

        If cancelled meanwhile, the opening is cancelled, and what had been opened is closed.
        """
        self.host.start_service(self._live)
        try:
            with self._at_work():
                await self._ready.wait()
        except BaseException as cancelled:
            self._scope.cancel()
            await self.close(cancelled)
            for error in (self.error, self.trouble):
                if error is not None:  # raised while the provider cleaned up: nobody else comes to see it
                    self.host.fail(error, self.origin)
            raise

    async def close(self, ended_by: BaseException | None) -> None:
        """Have it closed, within the budget, and wait until it is."""
        self.closing.request(ended_by)
        with self._at_work(), CancelScope(shield=True):
            for _ in range(2):  # what needs no time to close has closed then, also on a budget of nothing
                await checkpoint()
            with anyio.move_on_after(self.budget) as patience:
                await self._closed.wait()
            if patience.cancelled_caught and not self._closed.is_set():
                self._overran()
                await self._closed.wait()

    def _at_work(self) -> AbstractContextManager[None]:
        """Around waiting for the provider: a thread counts as at work then, but not while it waits for its end."""
        return nullcontext() if self.resource.is_async else counted()

    def _overran(self) -> None:
        message = f"closing the {self.origin} took longer than cleanup_timeout ({self.budget:g} s)"
        self.host.fail(TimeoutError(message), self.origin)
        self._scope.cancel()

    async def _live(self) -> None:
        try:
            with self._scope:
                if self.resource.is_async:
                    await self._live_async(self.resource.func(**self.injected))
                else:
                    await run_sync(self._live_in_thread, current_token(), limiter=self.limiter)
        except BaseException as raised:  # kept for whoever opens or closes it, or reported
            if self.closing.is_requested and _is_same(raised, self.closing.ended_by):
                return  # it has only let pass what ended its scope
            error = self._failure(raised)
            annotate(error, f"raised by the provider of {self.origin}")
            if not self._ready.is_set():
                self.error = error
            elif self.closing.is_requested:
                self.trouble = error
            else:
                self.host.fail(error, self.origin)
        finally:
            was_open = self._ready.is_set()
            self._ready.set()
            self._closed.set()
            if was_open:
                self.host.emit(ResourceReleased, resource_name=self.resource.name, scope=self.resource.scope)

    def _is_open(self, value: Any) -> None:
        self.value = value
        self._ready.set()
        self.host.emit(ResourceAcquired, resource_name=self.resource.name, scope=self.resource.scope)

    async def _live_async(self, generator: AsyncGenerator[Any, None]) -> None:
        try:
            value = await anext(generator)
        except StopAsyncIteration:
            raise self._no_yield() from None
        self._is_open(value)
        error: BaseException | None
        try:
            error = await self.closing.wait()
        except BaseException as crash:  # of a task group that the provider yields from, which cancels this wait
            error = crash
        try:
            if error is None:
                await anext(generator)
            else:
                await _throw(generator, error)
        except StopAsyncIteration:
            if not self.closing.is_requested:
                raise self._early_end() from None
            return
        await generator.aclose()
        raise self._second_yield()

    def _live_in_thread(self, token: EventLoopToken) -> None:
        generator: Generator[Any, None, None] = self.resource.func(**self.injected)
        try:
            value = next(generator)
        except StopIteration:
            raise self._no_yield() from None
        wake_soon(token, self._is_open, value)
        error = self.closing.wait_in_thread()
        try:
            if error is None:
                next(generator)
            else:
                _throw_in_thread(generator, error)
        except StopIteration:
            return
        generator.close()
        raise self._second_yield()

    def _failure(self, raised: BaseException) -> BaseException:
        """*raised*, but what is left of it, or an error about it, if it is a cancellation: none was due here."""
        failure = without_cancellations(raised)
        if failure is None:
            failure = TaskCancelledError(self.resource.name, "provider of the resource")
            failure.__cause__ = raised
        return failure

    def _no_yield(self) -> RuntimeError:
        return RuntimeError(f"the provider of the {self.origin} ended without yielding")

    def _early_end(self) -> RuntimeError:
        return RuntimeError(
            f"the provider of the {self.origin} ended while that was in use; a scope around its yield that is "
            "cancelled or times out should raise"
        )

    def _second_yield(self) -> RuntimeError:
        return RuntimeError(f"the provider of the {self.origin} yielded twice; a resource yields once")


def _is_same(raised: BaseException, error: BaseException | None) -> bool:
    """Whether *raised* is *error*, as it is or in the group of a task group that the provider yields from.

    A provider that has seen a cancellation may raise another one: that is the same cancellation.
    """
    if isinstance(raised, BaseExceptionGroup) and raised is not error:
        return all(_is_same(part, error) for part in raised.exceptions)
    return raised is error or (error is not None and is_cancellation(raised) and is_cancellation(error))


async def _throw(generator: AsyncGenerator[Any, None], error: BaseException) -> None:
    """Raise *error* at the generator's ``yield``; the traceback that users see stays the task's own."""
    traceback, context = error.__traceback__, error.__context__
    try:
        await generator.athrow(error)
    finally:
        set_past_refusal(error, traceback, context)


def _throw_in_thread(generator: Generator[Any, None, None], error: BaseException) -> None:
    traceback, context = error.__traceback__, error.__context__
    try:
        generator.throw(error)
    finally:
        set_past_refusal(error, traceback, context)
