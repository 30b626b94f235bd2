"""What belongs to one run: its settings, failures and counts, and the way to everything that it uses."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Protocol
from weakref import WeakSet

import anyio
import attrs
from anyio import CapacityLimiter, current_time
from anyio.abc import TaskGroup

from cascade.graph.shapes import Shapes
from cascade.model.errors import StateError, annotate, describe, hide_secrets_of
from cascade.model.events import (
    EngineWarning,
    Event,
    NodeEvent,
    StateRecorded,
    StaticAnalysisWarning,
    TaskExecutionFinished,
    TaskExecutionStarted,
)
from cascade.model.inputs import Resource
from cascade.model.outcomes import Status
from cascade.model.secrets import Secrets, kept_secrets
from cascade.model.tasks import Task
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.gate import Gate
from cascade.runtime.admission.pool import Amount, Name
from cascade.runtime.context.durations import Durations
from cascade.runtime.context.resources import Resources
from cascade.runtime.context.settings import Settings
from cascade.runtime.control.plane import ControlPlane
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import NotDurable
from cascade.runtime.durability.recovery import Recovery
from cascade.runtime.execution.attempt import DrainedError, Executor
from cascade.runtime.foundation.frame import Frame
from cascade.runtime.foundation.simulation_seam import Pacer
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.foundation.threads import loop_clock
from cascade.runtime.observation.bus import EventBus

UNKNOWN_RESOURCE = "CS-W002"


class Watched(Protocol):
    """What may take longer than it should."""

    @property
    def node_id(self) -> str:
        """The node that runs."""
        ...

    @property
    def is_running(self) -> bool:
        """Whether any does."""
        ...

    def why_late(self) -> str | None:
        """What it should have kept to, if it has not."""
        ...


class ThreadWatch(Protocol):
    """Watches threads that may take longer than they should."""

    def add(self, attempt: Watched) -> None:
        """Watch *attempt*."""
        ...

    def remove(self, attempt: Watched) -> None:
        """Watch *attempt* no longer."""
        ...

    def start(self) -> None:
        """The run has been halted: all threads are late now."""
        ...

    def stop(self) -> None:
        """All threads have ended."""
        ...


class Subject(Protocol):
    """What node events are about."""

    @property
    def node_id(self) -> str:
        """The node."""
        ...

    @property
    def task(self) -> Task[..., Any]:
        """Its task."""
        ...


@attrs.frozen
class Failure:
    """One thing that went wrong.

    Attributes:
        error: What was raised.
        origin: Whose it is: a node id, or words for something else.
        is_of_node: Whether it is a node's.
    """

    error: BaseException
    origin: str
    is_of_node: bool = False


@attrs.frozen
class Shared:
    """What the runs of an engine share.

    Attributes:
        admission: Decides when attempts start.
        executor: Runs functions.
        bus: The engine's bus.
        io_limiter: Bounds the engine's own threads; user code never runs under it.
        lane_limiter: For lanes, whose number is bounded by the thread slots they hold.
        engine: The engine itself, for runs inside tasks.
        control: The rules.
        durations: How long tasks take.
        pacer: What decides which task goes on next, in a simulation.
    """

    admission: Admission
    executor: Executor
    bus: EventBus
    io_limiter: CapacityLimiter
    lane_limiter: CapacityLimiter
    engine: object
    control: ControlPlane
    durations: Durations
    pacer: Pacer | None = None


@attrs.define(eq=False)
class Execution:
    """One run, from inside.

    Attributes:
        run_id: Its id.
        settings: How it is run.
        params: What was given for its Params.
        shared: What it shares with other runs.
        providers: Resource providers by name, as they were when it began.
        ancestors: Claims of the tasks around it, outermost first, if it is nested in another run.
        bus: Where its events go, and from there to the engine's bus.
        base: Context variables of whoever called ``run``; tasks start from copies of it.
        clock: The event loop's.
        failures: What went wrong, in order of time.
        counts: Ended nodes by status.
        is_halted: Nothing may start any more, and nothing that ends now counts.
        frame: The top-level frame of the present turn.
        failed_maps: The items of each map that failed, whose values the error hands over.
        services: Tasks that outlive the nodes.
        turning: By the prefix of its nodes, what gives the number of the present turn of a loop; lanes may make
            turns that have not been counted.
        work: The nodes, and what they asked to be run; cancelled to abort.
        advised: Tasks of which a static warning has been given.
        in_place: Runs what a node returned to be run, and gives its value.
        live_map: Runs the items of a map, and gives how it ended.
        watch: Reports threads that take too long.
        journal: The way to the state store, if there is one.
        recovery: What the store knew of the run.
        shapes: What was prepared for flows that came up in the run, for others like them.
        is_draining: Nothing may start any more; what runs goes on, and counts.
        is_closing: Whether it is halted, or drains: nothing may start any more.
        drained: Set when that begins.
        resting: Nodes between two attempts, with the moment of the next one on the event loop's clock.
        joined: Nodes that wait for what another is computing: its run and id, and what wakes them.
        secrets: Texts that no event, note or record shows.
    """

    run_id: str
    settings: Settings
    params: Mapping[str, Any] = attrs.field(repr=False)
    shared: Shared
    providers: Mapping[str, Resource]
    ancestors: tuple[Claim, ...]
    bus: EventBus
    rng: random.Random = attrs.field(factory=random.Random)
    base: Context = attrs.field(factory=copy_context)
    clock: Callable[[], float] = attrs.field(factory=loop_clock)
    began: float = attrs.field(factory=current_time)
    failures: list[Failure] = attrs.field(factory=list)
    counts: dict[Status, int] = attrs.field(factory=lambda: dict.fromkeys(Status, 0))
    is_halted: bool = False
    frame: Frame | None = None
    failed_maps: list[Frame] = attrs.field(factory=list)
    turning: dict[str, Callable[[], int]] = attrs.field(factory=dict)
    services: TaskGroup | None = None
    work: TaskGroup | None = None
    advised: WeakSet[Task[Any, Any]] = attrs.field(factory=WeakSet)
    in_place: Callable[[Any, str], Awaitable[Any]] = attrs.field(init=False)
    live_map: Callable[[Frame, Any, Any], Awaitable[Any]] = attrs.field(init=False)
    resources: Resources = attrs.field(init=False)
    watch: ThreadWatch = attrs.field(init=False)
    journal: Journal | None = None
    recovery: Recovery | None = None
    shapes: Shapes[Any] = attrs.field(factory=Shapes)
    is_draining: bool = False
    is_closing: bool = False
    drained: anyio.Event = attrs.field(factory=anyio.Event)
    resting: dict[str, float] = attrs.field(factory=dict)
    joined: dict[str, tuple[str, str, anyio.Event]] = attrs.field(factory=dict)
    secrets: Secrets = attrs.field(factory=kept_secrets)
    _seq: int = 0
    _failed: set[int] = attrs.field(factory=set)
    _passing: set[int] = attrs.field(factory=set)
    _unknown: set[str] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        pacer = self.shared.pacer
        if pacer is not None:
            self.rng = pacer.rng
            self.providers = {name: pacer.provider(resource) for name, resource in self.providers.items()}
        self.resources = Resources(self, self.providers, self.settings.cleanup_timeout)

    @property
    def admission(self) -> Admission:
        """Decides when attempts start."""
        return self.shared.admission

    @property
    def gate(self) -> Gate:
        """What attempts pass between admission and start."""
        return self.shared.admission.gate

    @property
    def executor(self) -> Executor:
        """Runs functions."""
        return self.shared.executor

    @property
    def is_nested(self) -> bool:
        """Whether it was begun by a task of another run."""
        return attempt_var in self.base

    def turns(self, node_id: str) -> list[int]:
        """In which turns the loops around *node_id* are, the run's own first. Asked in any thread."""
        prefixes = ["", *(node_id[: place + 1] for place, letter in enumerate(node_id) if letter == "/")]
        return [self.turning[prefix]() if prefix in self.turning else 1 for prefix in prefixes]

    def random(self) -> float:
        """A uniform random number from [0, 1)."""
        return self.rng.random()

    # -- events --------------------------------------------------------------------------------------------

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to events of class *kind*."""
        return self.bus.wants(kind)

    def wants_attempts(self) -> bool:
        """Whether anybody is told when a node starts or ends."""
        return self.bus.wants(TaskExecutionStarted) or self.bus.wants(TaskExecutionFinished)

    def is_silent(self) -> bool:
        """Whether nobody is told how single nodes fare."""
        return self.journal is None and self.bus.is_silent()

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Publish an event of class *kind*, without secrets, if anybody listens."""
        if self.bus.wants(kind):
            if self.secrets.longest:
                fields = {name: _without(value, self.secrets) for name, value in fields.items()}
            self._seq += 1
            self.bus.publish(kind(seq=self._seq, timestamp=time.time(), run_id=self.run_id, **fields))

    def emit_node(self, kind: type[NodeEvent], subject: Subject, **fields: Any) -> None:
        """Publish an event about a node, if anybody listens."""
        if self.bus.wants(kind):
            self.emit(kind, task_id=subject.node_id, task_name=subject.task.name, **fields)

    def note_unknown(self, task_name: str, amounts: Mapping[Name, Amount]) -> None:
        """Warn, once per name, of claims on resources that nobody gave a total for."""
        for name in amounts:
            if isinstance(name, str) and name not in self.admission.pool.totals and name not in self._unknown:
                self._unknown.add(name)
                self.emit(
                    StaticAnalysisWarning,
                    warning_code=UNKNOWN_RESOURCE,
                    message=f"Task {task_name!r} claims {name!r}, of which no total is known, so it is unlimited; "
                    f"pass system_resources={{{name!r}: ...}}",
                    task_name=task_name,
                )

    # -- failures ------------------------------------------------------------------------------------------

    def fail(self, error: BaseException, origin: str) -> None:
        """Record a failure after which the run cannot go on, and abort."""
        self._record(error, origin)
        self.halt()

    def fail_node(self, error: BaseException, node_id: str, note: str) -> None:
        """Record the failure of a node, and abort unless the run goes on after failures."""
        if id(error) in self._passing:
            self._passing.remove(id(error))  # the node in the sub-flow is the one to be named
        else:
            annotate(error, note)
        self._record(error, node_id, is_of_node=True)
        if self.settings.on_error != "continue" or not isinstance(error, Exception):
            self.halt()

    def pass_on(self, error: BaseException) -> None:
        """*error* ended a sub-flow, and goes on to the node that asked for it."""
        if id(error) in self._failed:
            self._passing.add(id(error))

    def has_recorded(self, error: BaseException) -> bool:
        """Whether *error*, this very object, is among the failures."""
        return id(error) in self._failed

    def _record(self, error: BaseException, origin: str, *, is_of_node: bool = False) -> None:
        # One exception may pass through several nodes: through a sub-flow to the node that asked for it.
        if id(error) not in self._failed:
            hide_secrets_of(error, self.secrets)
            self._failed.add(id(error))
            self.failures.append(Failure(error, origin, is_of_node))

    def drain(self) -> None:
        """Let nothing start any more, and what runs go on."""
        if not self.is_closing:
            self.is_draining = self.is_closing = True
            self.admission.gate.close(self.admission.holdings)
            self.admission.turn_away(self.run_id, DrainedError())
            self.drained.set()
            for _, _, news in self.joined.values():
                news.set()

    def halt(self) -> None:
        """Let nothing start any more, and cancel what runs."""
        if not self.is_halted:
            self.is_halted = self.is_closing = True
            self.admission.gate.change()
            self.watch.start()
        if self.work is not None:
            self.work.cancel_scope.cancel()

    # -- tasks ---------------------------------------------------------------------------------------------

    def spawn(self, group: TaskGroup, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Start a task in *group* that sees the context variables of the run's caller, and nobody else's."""
        if self.shared.pacer is not None:
            func = self.shared.pacer.paced(func)
        self.base.copy().run(partial(group.start_soon, func, *args))

    def start_service(self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Start a task that outlives the nodes."""
        assert self.services is not None  # opened before anything of the run happens
        self.spawn(self.services, func, *args)

    def applicant(self, node_id: str, task: Task[..., Any], rank: float = 0.0) -> Applicant:
        """Who asks for admission, for an attempt of *node_id*."""
        full_name = f"{task.__module__}.{task.name}"
        return Applicant(node_id, task.name, full_name, self.run_id, self.bus, self.ancestors, rank=rank)

    # -- state ---------------------------------------------------------------------------------------------

    def open_journal(self, backend: StateBackend) -> None:
        """Record what settles from now on in *backend*."""
        durability, is_eager = self.settings.durability, self.settings.schedule == "eager"
        self.journal = Journal(
            backend,
            on_recorded=lambda count, total: self.emit(StateRecorded, count=count, total=total),
            on_failure=self._state_failed,
            on_not_durable=self.not_durable,
            period=0.1 if is_eager and durability == "stage" else math.inf,
            largest=math.inf if durability == "exit" else 1000,
            turns_between=self.settings.loop_record[0],
            seconds_between=self.settings.loop_record[1],
        )
        self.start_service(self.journal.run)

    def not_durable(self, missing: NotDurable) -> None:
        """Tell what the store has not taken the value of."""
        for what, error in missing:
            message = f"the result of {what!r} is not durable, and is computed again on resume: {describe(error)}"
            self.emit(EngineWarning, code="not-durable", message=message)
        if missing and self.settings.strict_state:
            self._state_failed(StateError(f"{missing[0][0]!r} cannot be recorded: {describe(missing[0][1])}"))

    def _state_failed(self, error: BaseException) -> None:
        self.fail(error, "state store")


def _without(value: Any, secrets: Secrets) -> Any:
    """*value*, a field of an event, without *secrets*."""
    if isinstance(value, str):
        return secrets.redact(value)
    if type(value) is tuple:
        return tuple(_without(item, secrets) for item in value)
    return value
