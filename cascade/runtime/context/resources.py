"""Injected resources: opened when first needed, closed in reverse order, each by the task that opened it.

Every resource has a task of its own, shielded and outside the nurseries of the nodes, that enters its generator,
waits, and exits it. So a provider may yield from inside a task group, and nodes have cleaned up before what they
used is closed.

The cancel scope that bounds the closing is entered before the generator is, because scopes must nest.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import EventLoopToken, checkpoint, current_token
from anyio.to_thread import run_sync

from cascade.model.errors import GraphError, ResourceNotFoundError, TaskCancelledError, annotate, set_past_refusal
from cascade.model.events import Event, ResourceAcquired, ResourceReleased
from cascade.model.inputs import Resource
from cascade.runtime.context.lifecycle import DrainedError
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


def check_providers(providers: Mapping[str, Resource], needed: Mapping[str, str]) -> None:
    """See that all *needed* resources can be provided.

    Args:
        providers: By name.
        needed: Resource name to who injects it.

    Raises:
        ResourceNotFoundError: If one has no provider.
        GraphError: If providers need each other in a circle, or a run's resource injects a task's.
    """
    checked: set[str] = set()
    for name, needed_by in needed.items():
        path: list[tuple[str, list[str]]] = []
        pending = [(name, needed_by)]
        while pending or path:
            if not pending:
                done, rest = path[-1]
                if rest:
                    pending.append((rest.pop(), done))
                else:
                    checked.add(done)
                    path.pop()
                continue
            current, user = pending.pop()
            _check_provider(providers, current, user, [step for step, _ in path])
            if current in checked:
                continue
            injects = providers[current].injects
            path.append((current, [inject.name for inject in injects.values()]))


def _check_provider(providers: Mapping[str, Resource], name: str, user: str, path: Sequence[str]) -> None:
    if name not in providers:
        raise ResourceNotFoundError(name, user, providers)
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise GraphError(f"resources need each other in a circle: {circle}")
    if path and providers[path[-1]].scope == "run" and providers[name].scope == "task":
        raise GraphError(
            f"the resource {path[-1]!r} lives as long as the run and injects {name!r}, which lives as long as a "
            'task; give both the scope "task", or both the scope "run"'
        )


@attrs.define(eq=False)
class Opened:
    """One instance of a resource, from opening to closing.

    Attributes:
        resource: What is provided.
        injected: The resources that its provider takes, by parameter.
        budget: Seconds that closing may take.
        value: What the provider yielded.
        error: Why it could not be opened.
        trouble: Why it could not be closed.
        ended_by: What the provider sees at its ``yield`` when it is closed.
    """

    host: Host
    resource: Resource
    injected: Mapping[str, Any]
    budget: float
    limiter: CapacityLimiter
    value: Any = None
    error: BaseException | None = None
    trouble: BaseException | None = None
    ended_by: BaseException | None = None
    _ready: anyio.Event = attrs.field(factory=anyio.Event)
    _closing: anyio.Event = attrs.field(factory=anyio.Event)
    _closing_in_thread: threading.Event = attrs.field(factory=threading.Event)
    _closed: anyio.Event = attrs.field(factory=anyio.Event)
    _scope: CancelScope = attrs.field(factory=lambda: CancelScope(shield=True))
    _was_open: bool = False

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
        self.ended_by = ended_by
        self._closing.set()
        self._closing_in_thread.set()
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
        except BaseException as raised:
            if self._closing.is_set() and _is_same(raised, self.ended_by):
                return  # it has only let pass what ended its scope
            error = self._failure(raised)
            annotate(error, f"raised by the provider of {self.origin}")
            if not self._ready.is_set():
                self.error = error
            elif self._closing.is_set():
                self.trouble = error
            else:
                self.host.fail(error, self.origin)
        finally:
            self._ready.set()
            self._closed.set()
            if self._was_open:
                self.host.emit(ResourceReleased, resource_name=self.resource.name, scope=self.resource.scope)

    def _is_open(self, value: Any) -> None:
        self.value = value
        self._was_open = True
        self._ready.set()
        self.host.emit(ResourceAcquired, resource_name=self.resource.name, scope=self.resource.scope)

    async def _live_async(self, generator: AsyncGenerator[Any, None]) -> None:
        try:
            value = await anext(generator)
        except StopAsyncIteration:
            raise self._no_yield() from None
        self._is_open(value)
        error: BaseException | None = None
        try:
            # A crash inside the provider (of a task group it yields from) cancels this wait.
            await self._closing.wait()
            error = self.ended_by
        except BaseException as crash:
            error = crash
        try:
            if error is None:
                await anext(generator)
            else:
                await _throw(generator, error)
        except StopAsyncIteration:
            if not self._closing.is_set():
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
        self._closing_in_thread.wait()
        error = self.ended_by
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


@attrs.define(eq=False)
class Resources:
    """The resources of one run.

    Attributes:
        providers: By name, as they were when the run began.
        budget: Seconds that each closing may take.
        limiter: Of the threads of sync providers: each has its own, so there is no limit.
    """

    host: Host
    providers: Mapping[str, Resource]
    budget: float
    limiter: CapacityLimiter = attrs.field(factory=lambda: CapacityLimiter(float("inf")))
    _opened: dict[str, Opened] = attrs.field(factory=dict)
    _opening: dict[str, anyio.Event] = attrs.field(factory=dict)

    async def open_for_run(self, names: Iterable[str]) -> dict[str, Any]:
        """The run-scoped ones among *names*, opened if they are not yet.

        Raises:
            BaseException: Why one could not be opened; the same object for everybody who needs it.
        """
        found = {}
        for name in names:
            if self.providers[name].scope == "run":
                found[name] = await self._open_shared(name)
        return found

    async def _open_shared(self, name: str) -> Any:
        while name in self._opening:
            await self._opening[name].wait()
        opened = self._opened.get(name)
        if opened is None:
            self._opening[name] = anyio.Event()
            try:
                opened = await self._open(name)
                self._opened[name] = opened
            finally:
                self._opening.pop(name).set()
        if opened.error is not None:
            raise opened.error
        return opened.value

    async def _open(self, name: str) -> Opened:
        resource = self.providers[name]
        injected = await self._injected(resource)
        opened = Opened(self.host, resource, injected, self.budget, self.limiter)
        await opened.open()
        return opened

    async def _injected(self, resource: Resource) -> dict[str, Any]:
        return {parameter: await self._open_shared(inject.name) for parameter, inject in resource.injects.items()}

    def of_node(self, names: Iterable[str]) -> NodeResources:
        """The task-scoped ones among *names*, for one node."""
        needed = [name for name in names if self.providers[name].scope == "task"]
        return NodeResources(self, needed)

    async def close(self, ended_by: BaseException | None) -> None:
        """Close the run's resources in reverse order of their opening; never raises, failures are recorded."""
        for opened in reversed(self._opened.values()):
            if opened.error is None:
                await opened.close(ended_by)
            if opened.trouble is not None:
                self.host.fail(opened.trouble, opened.origin)
        self._opened.clear()


@attrs.define(eq=False)
class NodeResources:
    """The task-scoped resources of one node: opened before its first attempt, closed after its last.

    Attributes:
        run: The resources of the run.
        names: Those of the node.
        troubles: What went wrong in closing, and with what; for whoever records how the node ended.
    """

    run: Resources
    names: Sequence[str]
    troubles: list[tuple[BaseException, str]] = attrs.field(factory=list)
    _opened: dict[str, Opened] = attrs.field(factory=dict)

    async def open(self) -> dict[str, Any]:
        """Their values by name; opened now, unless they are open.

        Raises:
            BaseException: Why one could not be opened.
        """
        for name in self.names:
            await self._open(name)
        return {name: self._opened[name].value for name in self.names}

    async def _open(self, name: str) -> Any:
        """Open a resource after those it injects; check_providers has seen that they are in no circle."""
        if self.run.providers[name].scope == "run":
            return (await self.run.open_for_run([name]))[name]
        if name not in self._opened:
            resource = self.run.providers[name]
            injected = {key: await self._open(inject.name) for key, inject in resource.injects.items()}
            opened = Opened(self.run.host, resource, injected, self.run.budget, self.run.limiter)
            await opened.open()
            if opened.error is not None:
                raise opened.error
            self._opened[name] = opened
        return self._opened[name].value

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # That the run drains is between the engine and the node: for a resource, its scope just ends.
        ended_by = None if isinstance(error, DrainedError) else error
        for opened in reversed(self._opened.values()):
            await opened.close(ended_by)
            if opened.trouble is not None:
                self.troubles.append((opened.trouble, opened.origin))
