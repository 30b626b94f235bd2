"""The handle of a live run."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Generic, cast

from cascade.model.errors import RunCancelled
from cascade.model.events import Event
from cascade.model.shown.tracebacks import trimmed
from cascade.runtime.context.failures import Failure
from cascade.runtime.control.plane import UNSET, ControlPlane
from cascade.runtime.engine.diagnosis import Diagnosis, Explanation, RunSnapshot
from cascade.runtime.engine.streaming import open_stream
from cascade.runtime.observation.bus import EventStream, Policy
from cascade.runtime.observation.outcome_stream import OutcomeStream
from cascade.runtime.run.lifetime import RunLifetime

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # a TypeVar with a default, before Python 3.13

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)


# More than 15 methods: they are what users can do with a run, and who steers one also looks at it.
class Run(Generic[T_co]):
    """A run that is live or has ended: to look at it and to steer it. ``start`` and ``serve`` give it."""

    def __init__(self, lifetime: RunLifetime) -> None:
        self._lifetime = lifetime
        self._raised: BaseException | None = None
        self._was_cancelled = False
        lifetime.run_context.lifecycle.nodes.may_come = True

    @property
    def id(self) -> str:
        """The run's id."""
        return self._lifetime.run_context.run_id

    def page_link(self) -> str:
        """A new link to the page of the run. It can be opened once; the browser that opens it stays known.

        Raises:
            RuntimeError: If the run has no page (see ``page=``), or has ended.
        """
        page = self._lifetime.page
        if page is None or self._lifetime.status is not None:
            why = "it was started without page=" if page is None else "it has ended"
            raise RuntimeError(f"run {self.id!r} has no page: {why}")
        return page.link()

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failures so far, in order of time."""
        return tuple(self._lifetime.run_context.failures.recorded)

    def status(self) -> RunSnapshot:
        """A snapshot: state, counts, running nodes, failures."""
        return Diagnosis(self._lifetime).snapshot()

    def explain(self) -> tuple[Explanation, ...]:
        """For each node that neither runs nor has ended: what it waits for."""
        return Diagnosis(self._lifetime).explain()

    def subscribe(self, *kinds: type[Event], buffer: int = 256, policy: Policy = "block") -> EventStream:
        """Listen to the run's events from this moment on. The stream ends after ``RunFinished``.

        If this is called before the first ``await`` after ``start``, no event is missed.

        Args:
            kinds: Classes of events; subclasses are included. Without any: all events, except those of classes
                that have to be named, such as :class:`AttemptStarted`.
            buffer: Number of unread events, at least 1, at which *policy* takes effect; 256 by default.
            policy: ``"block"`` (default): no attempt starts until some events are read. ``"drop"``: what does not
                fit is dropped and counted.

        Raises:
            TypeError: If a kind is no class of events.
            ValueError: If *buffer* or *policy* is none of these.
        """
        return self._lifetime.run_context.bus.subscribe(*kinds, buffer=buffer, policy=policy)

    def stream(self, x: object, buffer: int = 256) -> OutcomeStream:
        """The outcomes of a part of the flow, as they come: values themselves, and no previews.

        ``async with run.stream(x) as values: async for index, outcome in values``. An outcome is a ``Done``, a
        ``Failed`` or a ``Skipped``. The stream ends after the last one, or with the run. What had ended before the
        stream was opened is left out; before the first ``await`` after ``start``, that is nothing. What is
        cancelled has no outcome. Of a loop of tail calls, the target has one outcome: what its last turn gives.

        Args:
            x: A mapped lazy of the flow, or its node id: its items, by their number. Another lazy or id: its one
                outcome, with the index 0. A list or tuple of lazies: their outcomes, by position; a dict: by key.
            buffer: Number of unread outcomes, at least 1, at which no attempt of the run starts until some are
                read; 256 by default.

        Raises:
            TypeError: If *x* is nothing of these.
            ValueError: If *x*, or something in it, is no call of the flow, or *buffer* is no number from 1.
        """
        return open_stream(self._lifetime, x, buffer)

    async def pause(self, scope: str | None = None, *, ttl: float | None = None, author: str = "local") -> None:
        """Let no attempt of this run start. Attempts that run go on.

        When this has returned, nothing starts until :meth:`resume` or the end of *ttl*. If it is cancelled before
        that, nothing has changed.

        Args:
            scope: ``None`` (default): this run. Another scope, such as ``"task:fetch*"``, holds for all runs of
                the engine.
            ttl: Seconds after which the pause ends by itself, more than 0. ``None`` (default): no end.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If an argument is malformed. Then nothing is changed.
        """
        await self._control.pause(_scope(self.id, scope), ttl=ttl, author=author)

    async def resume(self, scope: str | None = None, *, author: str = "local") -> None:
        """Lift the pause of this run. Pauses of other scopes stay.

        If it is cancelled before it takes effect, nothing has changed.

        Args:
            scope: ``None`` (default): this run. Or the scope whose pause is lifted.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If *scope* is malformed.
        """
        await self._control.resume(_scope(self.id, scope), author=author)

    async def limit(
        self,
        scope: str | None = None,
        *,
        concurrency: int | None = UNSET,
        rate: str | None = UNSET,
        burst: int | None = None,
        ttl: float | None = None,
        author: str = "local",
    ) -> None:
        """Limit how many attempts of this run are at work at a time, or how fast they start.

        What is not given stays as it is. If it is cancelled while it sets both, the first may be in force and the
        second not.

        Args:
            scope: ``None`` (default): this run. Another scope, such as ``"task:fetch*"``, holds for all runs of
                the engine.
            concurrency: Attempts at a time, at least 1. ``None`` lifts this limit. By default it stays as it is.
            rate: Text such as ``"10/s"``, ``"30/m"`` or ``"1/10s"``. ``None`` lifts this limit. By default it
                stays as it is.
            burst: Attempts that may start at once after a quiet time, at least 1. ``None`` (default): 1.
            ttl: Seconds after which the limits end by themselves, more than 0. ``None`` (default): no end.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If an argument is malformed, or neither limit is given. Then nothing is changed.
        """
        await self._control.limit(
            _scope(self.id, scope), concurrency=concurrency, rate=rate, burst=burst, ttl=ttl, author=author
        )

    async def clear(self, scope: str | None = None, *, author: str = "local") -> None:
        """Lift all rules of this run: pause, concurrency and rate.

        If it is cancelled, some may be lifted and others not.

        Args:
            scope: ``None`` (default): this run. Or the scope whose rules are lifted.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If *scope* is malformed.
        """
        await self._control.clear(_scope(self.id, scope), author=author)

    async def send(self, name: str, value: object) -> None:
        """Send a value for a signal that the flow has: see :func:`cascade.signal`.

        The first value that is accepted stands for the run; the same again is fine. With a state, the value is in
        the store when this returns. If cancelled, it may have been accepted or not.

        Args:
            name: Name of the signal.
            value: The value. Text is converted to the type of the signal, any other value is checked.

        Raises:
            InputError: If the run has no such signal, has ended, or refuses the value, because it is not of the
                type or another one has been accepted. Then nothing has changed.
            StateError: If the store fails.
        """
        await self._lifetime.run_context.signals.send(name, value)

    @property
    def _control(self) -> ControlPlane:
        return self._lifetime.run_context.shared.control

    def cancel(self) -> None:
        """Cancel the run. Returns at once; the run then ends in order, and :meth:`result` raises ``RunCancelled``.

        Its tasks are cancelled, threads are waited for, resources are closed. Does nothing if the run has ended.
        """
        if self._lifetime.status is None:
            self._was_cancelled = True
            self._lifetime.run_context.lifecycle.halt()

    def cancel_node(self, task_id: str) -> bool:
        """Cancel one node, or all items of a map, while the run goes on. Returns at once.

        The node ends as failed, with ``TaskCancelledError``, and is not attempted again; whether the run goes on
        after that is as for any failure. If it has not begun, it ends at once and never begins. If it runs, it is
        cancelled as at the end of a run, with all that belongs to it: items, flows that it returned. A sync task
        ends at its next ``cascade.checkpoint()``, or when its function returns; what it returns does not count.
        In a loop, the node of the present turn is meant. Call it on the event loop of the run.

        Args:
            task_id: The node's id, such as ``"fetch#2"``; ``"fetch[3]"`` for one item of a map.

        Returns:
            ``True`` if the node is being cancelled, also if it was before. ``False`` if it has ended, or the run
            has: then nothing changes.

        Raises:
            NodeNotFoundError: If the run has no such node at present. Items of a map, and nodes of a flow that a
                node returned, are there while these run.
        """
        if self._lifetime.status is not None:
            return False
        return self._lifetime.run_context.cancel_node(task_id)

    def drain(self) -> None:
        """Start nothing more, and let running attempts end. Returns at once; the run ends as ``"Drained"``.

        Nodes that wait for capacity, for a control rule or for another attempt are left undone. With a state store
        the run can be resumed. If nothing was left to start, the run succeeds. Does nothing if the run has ended.
        """
        if self._lifetime.status is None:
            self._was_cancelled = True
            self._lifetime.run_context.lifecycle.drain()

    async def result(self) -> T_co:
        """Wait for the end of the run and return its value.

        If the waiting is cancelled, the run goes on.

        Raises:
            RunCancelled: If the run was cancelled or drained.
            BaseException: What made the run fail, as from :func:`cascade.run`.
        """
        await self._lifetime.ended.wait()
        self._raised = self._lifetime.error()
        with trimmed:
            return cast("T_co", self._lifetime.result())

    def unreported(self) -> BaseException | None:
        """The run's error, unless it is a cancellation that was asked for or ``result`` has raised it; ``None``
        otherwise.
        """
        error = self._lifetime.error()
        if error is None or error is self._raised:
            return None
        if isinstance(error, RunCancelled):
            is_known = self._was_cancelled or isinstance(self._raised, RunCancelled)
            return None if is_known else error
        return error

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """What notebooks show: the graph, with how each node is at present, and text."""
        from cascade.planning.bundles import bundle  # here, as few programs show runs

        graph, states = Diagnosis(self._lifetime).states()
        return bundle(repr(self), graph, states, include=include, exclude=exclude)

    def __repr__(self) -> str:
        return f"<Run {self.id!r}: {self._lifetime.status or 'Running'}>"


def _scope(run_id: str, scope: str | None) -> str:
    return f"run:{run_id}" if scope is None else scope
