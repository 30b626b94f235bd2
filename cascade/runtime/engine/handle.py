"""The handle of a live run, and snapshots of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import attrs
from anyio import current_time

from cascade.graph.nodes import Junction
from cascade.model.errors import RunCancelled, describe
from cascade.model.events import Event, RunStatus
from cascade.model.outcomes import Status
from cascade.model.tasks import Task
from cascade.model.text import one_line
from cascade.model.tracebacks import trimmed
from cascade.planning.layout import Place
from cascade.runtime.admission.blockers import Blockers, unread
from cascade.runtime.admission.waiting_line import Waiter
from cascade.runtime.context.failures import Failure
from cascade.runtime.control.plane import UNSET, ControlPlane
from cascade.runtime.observation.bus import EventStream, Policy
from cascade.runtime.run.lifetime import RunLifetime

# Of the inputs that a node waits for, how many are named.
SHOWN_INPUTS: Final = 5


@attrs.frozen
class RunSnapshot:
    """The state of a run at one moment.

    Attributes:
        run_id: The run.
        state: ``"Running"``, or how it ended: ``"Succeeded"``, ``"Failed"``, ``"Cancelled"`` or ``"Drained"``.
        counts: Number of nodes by state.
        running: Ids of the nodes that run now. In a loop, those of the present turn.
        failures: ``"Type: message"`` of the failures so far.
    """

    run_id: str
    state: Literal["Running"] | RunStatus
    counts: dict[str, int]
    running: tuple[str, ...]
    failures: tuple[str, ...]


@attrs.frozen
class Explanation:
    """Why a node is not running.

    Attributes:
        node_id: The node.
        blockers: What it waits for, one sentence each.
    """

    node_id: str
    blockers: tuple[str, ...]

    def __str__(self) -> str:
        return one_line(f"{self.node_id}: {'; '.join(self.blockers)}")


class Run:
    """A run that is live or has ended: to look at it and to steer it. ``start`` and ``serve`` give it."""

    def __init__(self, lifetime: RunLifetime) -> None:
        self._lifetime = lifetime
        self._raised: BaseException | None = None
        self._was_cancelled = False

    @property
    def id(self) -> str:
        """The run's id."""
        return self._lifetime.execution.run_id

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The failures so far, in order of time."""
        return tuple(self._lifetime.execution.failures.recorded)

    def status(self) -> RunSnapshot:
        """A snapshot: state, counts, running nodes, failures."""
        execution = self._lifetime.execution
        waiting = {waiter.applicant.node_id for waiter in self._waiters()} | execution.progress.resting.keys()
        waiting |= execution.progress.joined.keys()
        running = tuple(name for name, status in self._nodes() if status == Status.RUNNING and name not in waiting)
        failures = [*(describe(f.error) for f in execution.failures.recorded), *self._lifetime.observers.overran]
        return RunSnapshot(
            self.id,
            self._lifetime.status or "Running",
            self._lifetime.outcome.counts(),
            running,
            tuple(map(execution.events.secrets.redact, failures)),
        )

    def _nodes(self) -> Iterator[tuple[str, int]]:
        frame = self._lifetime.execution.progress.frame
        if frame is not None and self._lifetime.status is None:
            calls = (index for index, row in enumerate(frame.graph.rows) if type(row) is not Junction)
            yield from ((frame.name(index), frame.status[index]) for index in calls)

    def explain(self) -> tuple[Explanation, ...]:
        """For each node that neither runs nor has ended: what it waits for."""
        blockers = Blockers(self._lifetime.execution.admission)
        waiting = dict(self._waiting(blockers))
        found = [Explanation(name, words) for name, words in waiting.items()]
        blocked = self._blocked_by_inputs(blockers)
        found += [Explanation(name, words) for name, words in blocked if name not in waiting]
        hide = self._lifetime.execution.events.secrets.redact
        return tuple(Explanation(why.node_id, tuple(map(hide, why.blockers))) for why in found)

    def _waiters(self) -> Iterator[Waiter]:
        """Attempts of the run that wait for admission."""
        for waiter in self._lifetime.execution.admission.queue.waiters():
            if waiter.applicant.run_id == self.id and not waiter.applicant.is_lane:
                yield waiter

    def _waiting(self, blockers: Blockers) -> Iterator[tuple[str, tuple[str, ...]]]:
        execution = self._lifetime.execution
        for node_id, until in execution.progress.resting.items():
            yield node_id, (f"its next attempt begins in {max(until - current_time(), 0):.3g} s",)
        for node_id, (run_id, other, _) in execution.progress.joined.items():
            yield node_id, (f"an equal call is being computed for the cache: {other!r} of run {run_id!r}",)
        for waiter in self._waiters():
            yield waiter.applicant.node_id, tuple(blockers.all_of(waiter.applicant, waiter.amounts))

    def _blocked_by_inputs(self, blockers: Blockers) -> Iterator[tuple[str, tuple[str, ...]]]:
        frame = self._lifetime.execution.progress.frame
        if frame is None or self._lifetime.status is not None:
            return
        stage = None if frame.readiness.stage is None else set(frame.readiness.stage)
        for index, row in enumerate(frame.graph.rows):
            if isinstance(row, Junction):
                continue
            if frame.status[index] == Status.QUEUED:
                held = self._held(frame.name(index), row.task, blockers)
                yield frame.name(index), tuple(held or [self._queued_behind(index)])
            elif frame.status[index] == Status.PENDING:
                sources = frame.graph.sources[index]
                missing = [source for source in sources if not frame.has_settled(source)]
                words = [f"input {frame.name(source)!r} has not settled" for source in missing[:SHOWN_INPUTS]]
                if len(missing) > SHOWN_INPUTS:
                    words.append(f"{len(missing) - SHOWN_INPUTS} more inputs have not settled")
                if frame.routing is not None and not frame.routing.gating.is_wanted(index):
                    words.append("no router has chosen it yet")
                words = words or self._held(frame.name(index), row.task, blockers)
                if not words:
                    has_begun = stage is None or index in stage
                    words = [self._queued_behind(index) if has_begun else "its stage has not begun"]
                yield frame.name(index), tuple(words)

    def _held(self, node_id: str, task: Task[Any, Any], blockers: Blockers) -> list[str]:
        """The rules that will hold a node once it asks."""
        execution = self._lifetime.execution
        applicant = execution.applicant(node_id, task)
        holders = execution.admission.holding.holders(applicant)
        return [blockers.words(rule, applicant) for rule in holders if not isinstance(rule, EventStream)]

    def _queued_behind(self, index: int) -> str:
        """What keeps a node that is queued in a lane."""
        execution = self._lifetime.execution
        stream = execution.bus.full()
        if stream is not None:
            return unread(stream)
        frame = execution.progress.frame
        is_sync = frame is not None and frame.layout.places[index] == Place.THREAD
        return "waits for a thread" if is_sync else "waits for its turn"

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
        return self._lifetime.execution.bus.subscribe(*kinds, buffer=buffer, policy=policy)

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
        await self._control.pause(self._scope(scope), ttl=ttl, author=author)

    async def resume(self, scope: str | None = None, *, author: str = "local") -> None:
        """Lift the pause of this run. Pauses of other scopes stay.

        If it is cancelled before it takes effect, nothing has changed.

        Args:
            scope: ``None`` (default): this run. Or the scope whose pause is lifted.
            author: Who says so, for people to read; ``"local"`` by default.

        Raises:
            ValueError: If *scope* is malformed.
        """
        await self._control.resume(self._scope(scope), author=author)

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
            self._scope(scope), concurrency=concurrency, rate=rate, burst=burst, ttl=ttl, author=author
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
        await self._control.clear(self._scope(scope), author=author)

    @property
    def _control(self) -> ControlPlane:
        return self._lifetime.execution.shared.control

    def _scope(self, scope: str | None) -> str:
        return f"run:{self.id}" if scope is None else scope

    def cancel(self) -> None:
        """Cancel the run. Returns at once; the run then ends in order, and :meth:`result` raises ``RunCancelled``.

        Its tasks are cancelled, threads are waited for, resources are closed. Does nothing if the run has ended.
        """
        if self._lifetime.status is None:
            self._was_cancelled = True
            self._lifetime.execution.lifecycle.halt()

    def drain(self) -> None:
        """Start nothing more, and let running attempts end. Returns at once; the run ends as ``"Drained"``.

        Nodes that wait for capacity, for a control rule or for another attempt are left undone. With a state store
        the run can be resumed. If nothing was left to start, the run succeeds. Does nothing if the run has ended.
        """
        if self._lifetime.status is None:
            self._was_cancelled = True
            self._lifetime.execution.lifecycle.drain()

    async def result(self) -> Any:
        """Wait for the end of the run and return its value.

        If the waiting is cancelled, the run goes on.

        Raises:
            RunCancelled: If the run was cancelled or drained.
            BaseException: What made the run fail, as from :func:`cascade.run`.
        """
        await self._lifetime.ended.wait()
        self._raised = self._lifetime.error()
        with trimmed:
            return self._lifetime.result()

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

    def __repr__(self) -> str:
        return f"<Run {self.id!r}: {self._lifetime.status or 'Running'}>"
