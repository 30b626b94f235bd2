"""One run, from inside: how it was begun, and the way to everything that it uses."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final
from weakref import WeakSet

import attrs
from anyio import CapacityLimiter, current_time

from cascade.graph.nested import Hold
from cascade.graph.shapes import Shapes
from cascade.model.calls.callee import Callee
from cascade.model.events import Event, StaticAnalysisWarning
from cascade.model.inputs import Resource
from cascade.planning.layout import Goes
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.gate import Gate
from cascade.runtime.admission.pool import Amount, Name
from cascade.runtime.context.durations import Durations
from cascade.runtime.context.failures import Failures
from cascade.runtime.context.lifecycle import Lifecycle
from cascade.runtime.context.progress import Progress
from cascade.runtime.context.resources import Resources
from cascade.runtime.context.run_events import RunEvents
from cascade.runtime.context.run_store import RunStore
from cascade.runtime.context.run_tasks import RunTasks
from cascade.runtime.context.settings import Settings
from cascade.runtime.control.plane import ControlPlane
from cascade.runtime.foundation.executor import Executor
from cascade.runtime.foundation.simulation_seam import Pacer
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.foundation.threads import loop_clock
from cascade.runtime.observation.bus import EventBus
from cascade.runtime.signals.board import Signals
from cascade.runtime.signals.kept import KeptSignals
from cascade.runtime.signals.watch import Idleness

UNKNOWN_RESOURCE = "CS-W002"
# For all runs: it has no state, so it needs no seed, and forked processes do not draw the same.
_CHANCE: Final = random.SystemRandom()


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
        goes: Which calls leave this process, for a remote executor; ``None``: none.
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
    goes: Goes | None = None


@attrs.frozen(eq=False)
class Beginning:
    """How a run was begun.

    Attributes:
        run_id: Its id.
        settings: How it is run.
        providers: Resource providers by name, as they were when it began.
        ancestors: Claims of the tasks around it, outermost first, if it is nested in another run.
        rng: Its random numbers.
        clock: The event loop's. May be read in any thread.
        at: The moment, on that clock.
    """

    run_id: str
    settings: Settings
    providers: Mapping[str, Resource]
    ancestors: tuple[Claim, ...]
    rng: random.Random = _CHANCE
    clock: Callable[[], float] = attrs.field(factory=loop_clock)
    at: float = attrs.field(factory=current_time)


@attrs.define(eq=False)
class Memory:
    """What a run remembers, so that it does the same work once.

    Attributes:
        shapes: What was prepared for flows that came up in the run, for others like them.
        advised: Tasks of which a static warning has been given.
        hold: What large literal arguments of the flow are remembered by; its ``seen`` is what is known in the run.
        unknown: Resource names of which no total is known, once that was told.
    """

    shapes: Shapes[Any] = attrs.field(factory=Shapes)
    advised: WeakSet[Callee] = attrs.field(factory=WeakSet)
    hold: Hold = attrs.field(factory=Hold)
    unknown: set[str] = attrs.field(factory=set)


@attrs.define(eq=False)
class RunContext:
    """One run, from inside.

    Attributes:
        beginning: How it was begun.
        shared: What it shares with other runs.
        events: Its events.
        lifecycle: Whether anything may still start.
        failures: What went wrong.
        tasks: Starts its tasks.
        progress: Where it stands.
        store: The way to the state store.
        memory: What it remembers.
        resources: What it has opened.
        signals: Its signals.
        run_flow: Runs what a node returned to be run, and gives its value. Takes that, the id of the node, and
            whether a failure of the node is handled.
    """

    beginning: Beginning
    shared: Shared
    events: RunEvents
    lifecycle: Lifecycle = attrs.field(init=False)
    failures: Failures = attrs.field(init=False)
    tasks: RunTasks = attrs.field(init=False)
    progress: Progress = attrs.field(factory=Progress)
    store: RunStore = attrs.field(init=False)
    memory: Memory = attrs.field(factory=Memory)
    resources: Resources = attrs.field(init=False)
    signals: Signals = attrs.field(init=False)
    run_flow: Callable[[Any, str, Callable[[BaseException], bool]], Awaitable[Any]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        pacer, begun = self.shared.pacer, self.beginning
        if pacer is not None:
            providers = {name: pacer.provider(resource) for name, resource in begun.providers.items()}
            self.beginning = begun = attrs.evolve(begun, rng=pacer.rng, providers=providers)
        self.lifecycle = Lifecycle(begun.run_id, self.admission, on_drain=self._wake)
        goes_on = begun.settings.on_error == "continue"
        self.failures = Failures(self.events.secrets, goes_on, self.lifecycle.halt)
        self.tasks = RunTasks(pacer)
        self.lifecycle.cancel = self.tasks.cancel_work
        wall = time.time if pacer is None else lambda: 0.0  # in a simulation, real time has no say
        self.store = RunStore(begun.settings, self.events, self.failures)
        idleness = Idleness(begun.settings.when_idle == "suspend", self.lifecycle.suspend)
        self.signals = Signals(self, KeptSignals(self, self.store.backend, wall), idleness)
        self.resources = Resources(self, begun.providers, begun.settings.cleanup_timeout)

    @property
    def run_id(self) -> str:
        """The run."""
        return self.beginning.run_id

    @property
    def settings(self) -> Settings:
        """How it is run."""
        return self.beginning.settings

    @property
    def bus(self) -> EventBus:
        """Where its events go."""
        return self.events.bus

    @property
    def admission(self) -> Admission:
        """Decides when attempts start."""
        return self.shared.admission

    @property
    def gate(self) -> Gate:
        """What attempts pass between admission and start."""
        return self.shared.admission.gate

    @property
    def is_nested(self) -> bool:
        """Whether it was begun by a task of another run."""
        return attempt_var in self.tasks.base

    def is_silent(self) -> bool:
        """Whether nobody is told how single nodes fare."""
        return self.store.journal is None and self.events.bus.is_silent()

    def _wake(self) -> None:
        """The run drains: let nodes look up that wait for what others compute, or for signals."""
        self.progress.wake_joined()
        for waiter in tuple(self.signals.waiters()):
            waiter.wake()

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Publish an event; see :meth:`RunEvents.emit`."""
        self.events.emit(kind, **fields)

    def fail(self, error: BaseException, origin: str) -> None:
        """Record a failure after which the run cannot go on, and halt."""
        self.failures.fail(error, origin)

    def cancel(self) -> None:
        """Cancel the run, which then ends in order."""
        self.lifecycle.halt()

    def cancel_node(self, node_id: str) -> bool:
        """Cancel a node while the run goes on; returns ``False`` if it has ended.

        Raises:
            NodeNotFoundError: If there is no such node at present.
        """
        return self.lifecycle.nodes.cancel(node_id, self.run_id)

    def start_service(self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Start a task that outlives the nodes."""
        self.tasks.start_service(func, *args)

    def applicant(self, node_id: str, task: Callee, rank: float = 0.0, priority: int | None = None) -> Applicant:
        """Who asks for admission, for an attempt of *node_id*."""
        full_name, begun = f"{task.__module__}.{task.name}", self.beginning
        return Applicant(
            node_id, task.name, full_name, begun.run_id, self.bus, begun.ancestors, rank=rank, priority=priority
        )

    def note_unknown(self, task_name: str, amounts: Mapping[Name, Amount]) -> None:
        """Warn, once per name, of claims on resources that nobody gave a total for."""
        totals, told = self.admission.pool.totals, self.memory.unknown
        for name in amounts:
            if isinstance(name, str) and name not in totals and name not in told:
                told.add(name)
                self.emit(
                    StaticAnalysisWarning,
                    warning_code=UNKNOWN_RESOURCE,
                    message=f"Task {task_name!r} claims {name!r}, of which no total is known, so it is unlimited; "
                    f"pass system_resources={{{name!r}: ...}}",
                    task_name=task_name,
                )
