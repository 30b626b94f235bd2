"""Simulated runs: time is virtual, and which of several tasks goes on next is chosen by a seed.

All tasks of the engine run under a :class:`Scheduler`. Whenever one of them has really waited, it parks before it
goes on, and once nothing in the loop can go on, one of the parked is let go: it runs alone until it waits again.
So whatever the event loop does to tasks that could run at the same moment, only the seed decides.

Loops differ in how often they wake a task in vain (asyncio wakes the host of a cancelled group, Trio does not).
So the choice is not drawn anew each time: it is the order of a hash of the seed, the task, and what has happened
in the run so far, which a task woken in vain does not change. (The approach is that of FoundationDB: Zhou et al.,
*FoundationDB: A Distributed Unbundled Transactional Key Value Store*, SIGMOD 2021, section 4.)

A simulated run is the engine itself, with four things replaced: the clock, threads, chance, and the order in
which tasks go on. The engine starts all its tasks in one place (``RunTasks.spawn``), where they are wrapped.
Lanes are off, as a lane would choose who goes first; that lanes mean the same as the general path is tested by
``tests/properties``. Functions and sync resources run in place, and slots are counted as if there were threads. A
sleep that ends in the moment in which it is cancelled counts as cancelled: on Trio it does, on asyncio it would
not. Faults strike where user code begins, after the start mark, so timeouts count them.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Container, Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from random import Random
from typing import Any, Final, Literal, Unpack, cast

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import checkpoint

from cascade.model.errors import CascadeError, RunCancelled, raise_unchanged
from cascade.model.events import Event, NodeEvent
from cascade.model.inputs import Resource
from cascade.model.tasks import Task
from cascade.model.typed.numbers import plain_number
from cascade.runtime.context.settings import AsRun
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.engine.engine import Engine
from cascade.runtime.engine.urls import open_backend
from cascade.runtime.execution.attempt.attempt import Attempt
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.simulation_seam import pacer_var
from cascade.runtime.foundation.step_in_context import call_in
from cascade.runtime.foundation.task_context import attempt_var
from cascade.testing.clocks import VirtualLoop, VirtualTime, virtual_trio_clock
from cascade.testing.faults import FaultPlan, Faults, SimulatedCrashError
from cascade.testing.record import Recorded, record_events
from cascade.testing.trace import Trace, numbered

Backend = Literal["asyncio", "trio"]
# Moments that may go by without an event before a run is taken for one without an end.
MOST_MOMENTS: Final = 50_000
_WORD: Final = (1 << 64) - 1


class StalledError(CascadeError):
    """A simulated run could not go on, or did not end.

    Attributes:
        running: Ids of the nodes that had begun and not ended.
    """

    def __init__(self, what: str, running: list[str]) -> None:
        self.running = running
        names = ", ".join(map(repr, running)) or "no node"
        super().__init__(
            f"the simulated run {what}; {names} had begun and not ended. Give what may wait for good a timeout, "
            "and let tasks wait only on virtual time, on each other, or on the engine"
        )


def mixed(number: int) -> int:
    """A hash of 64 bits: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & _WORD
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _WORD
    return number ^ (number >> 31)


@attrs.define(eq=False)
class Scheduler:
    """Lets one task at a time go on; a :class:`~cascade.runtime.foundation.simulation_seam.Pacer`.

    Attributes:
        seed: What decides.
        faults: What goes wrong.
        progress: Counts what can be seen of the run: tasks started and events.
        rng: Random numbers for the run.
        sleeps: What waits for nothing but time; see :class:`~cascade.testing.clocks.VirtualLoop`.
    """

    seed: int
    faults: Faults
    progress: int = 0
    rng: Random = attrs.field(init=False)
    sleeps: Container[object] = ()
    # Changes whenever the loop was idle: whoever goes on after that has really waited.
    _period: int = 0
    _serials: Iterator[int] = attrs.field(factory=itertools.count)
    _run_numbers: Iterator[int] = attrs.field(factory=partial(itertools.count, 2))
    _parked: dict[int, anyio.Event] = attrs.field(factory=dict)
    _salt: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rng = Random(self.seed)
        self._salt = mixed(self.seed & _WORD)

    def release(self) -> bool:
        """The loop is idle: let the next task go; returns whether there was one."""
        self._period += 1
        if not self._parked:
            return False
        mark = mixed(self._salt ^ self.progress)
        serial = min(self._parked, key=lambda number: (mixed(mark + number), number))
        self._parked.pop(serial).set()
        return True

    # -- what the engine asks of it ------------------------------------------------------------------------

    def paced(self, func: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """*func* as a task that waits to be chosen, at its beginning and after each wait."""
        serial = next(self._serials)
        self.progress += 1

        async def chosen(*args: Any) -> Any:
            await self._park(serial)
            return await self._steps(serial, func(*args))

        return chosen

    def new_run_id(self) -> str:
        """Numbered, in the order in which runs begin."""
        return f"simulation-{self.seed}.{next(self._run_numbers)}"

    def elapsed(self) -> float:
        """No time at all: a step of a simulation is never cut."""
        return 0.0

    def executor(self, limiter: CapacityLimiter) -> LocalExecutor:
        """Calls all functions in place."""
        inner = InPlaceExecutor(limiter, cast("Any", None))
        inner.faults = self.faults
        return inner

    def provider(self, resource: Resource) -> Resource:
        """*resource*, provided on the event loop."""
        if resource.is_async:
            return resource
        enter = contextmanager(cast("Any", resource.func))

        async def in_place(**injected: Any) -> Any:
            with enter(**injected) as value:
                yield value

        return attrs.evolve(resource, func=in_place, is_async=True)

    # -- tasks ---------------------------------------------------------------------------------------------

    async def _park(self, serial: int) -> None:
        event = self._parked[serial] = anyio.Event()
        with CancelScope(shield=True):
            await event.wait()

    @types.coroutine
    def _steps(self, serial: int, coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await *coroutine*; after each of its waits that let the loop come to rest, park before it goes on."""
        step: Callable[[Any], Any] = coroutine.send
        given: Any = None
        while True:
            try:
                yielded = step(given)
            except StopIteration as stop:
                return stop.value
            finally:
                given = None  # an error would keep this frame, and this frame the error
            period, is_sleep = self._period, yielded in self.sleeps
            try:
                step, given = coroutine.send, (yield yielded)
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:
                step, given = coroutine.throw, error
            if period != self._period:
                yield from self._park(serial)
                if is_sleep and is_cancelled() and step == coroutine.send:
                    step, given = coroutine.throw, (yield from _cancellation())


async def _cancellation() -> BaseException:
    """What a cancelled scope around this task raises in it."""
    try:
        while True:
            await checkpoint()
    except anyio.get_cancelled_exc_class() as error:
        return error


@attrs.define(eq=False)
class InPlaceExecutor(LocalExecutor):
    """Calls every function on the event loop, after what the fault plan says."""

    faults: Faults = attrs.field(init=False)

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the task's function; the attempt is the ambient one."""
        attempt = attempt_var.get()
        assert isinstance(attempt, Attempt)  # there are no lanes in a simulation
        context = attempt.surroundings.tasks.base.copy()
        context.run(attempt_var.set, attempt)
        attempt.begin()
        await self.faults.strike(attempt.node_id, attempt.number)
        return await call_in(context, task.func, args, kwargs, is_async=task.is_async)


@attrs.frozen
class Simulation:
    """The outcome of a simulated run. Made by :func:`simulate`.

    Attributes:
        seed: The seed. With the same flow, settings and faults it gives the same run again.
        backend: ``"asyncio"`` or ``"trio"``.
        value: The flow's value; ``None`` if it failed.
        error: What ``run`` raised, or why the simulation was ended; ``None`` if the run succeeded.
        trace: Everything that happened.
        has_crashed: Whether the fault plan crashed the process.
    """

    seed: int
    backend: Backend
    value: Any = None
    error: BaseException | None = None
    trace: Trace = attrs.field(factory=Trace)
    has_crashed: bool = False

    def result(self) -> Any:
        """The value.

        Raises:
            BaseException: The error, if there is one. A note on it names the seed.
        """
        if self.error is not None:
            raise_unchanged(self.error)
        return self.value

    def __str__(self) -> str:
        end = f"value {self.value!r}" if self.error is None else f"{type(self.error).__name__}: {self.error}"
        return f"seed {self.seed} on {self.backend}: {end}\n{self.trace}"


def simulate(
    flow: Any,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    faults: FaultPlan | None = None,
    backend: Backend = "asyncio",
    run_id: str | None = None,
    **as_run: Unpack[AsRun],
) -> Simulation:
    """Run a flow in virtual time, with every scheduling decision of the engine made by a seed.

    A plain function with an event loop of its own. Nothing sleeps; sync tasks, process tasks and resources run in
    place, on the event loop. The same seed gives the same trace, byte for byte and on both backends, if the tasks
    wait only on virtual time or on the engine. Not decided by the seed: what tasks that a user's function starts
    itself do within one instant, and whether a wait or a timeout of the user's own wins if both end in the same
    instant.

    Args:
        flow: As in :func:`cascade.run`.
        params: As in :func:`cascade.run`. ``None`` (default): none.
        seed: Any whole number; 0 by default.
        faults: What goes wrong. ``None`` (default): nothing.
        backend: ``"asyncio"`` (default) or ``"trio"``.
        run_id: Id of the run. ``None`` (default): a name made from the seed.
        as_run: The fields of :class:`~cascade.runtime.context.settings.Settings`, as keywords.

    Returns:
        The outcome. A run that fails raises nothing here; ``result()`` raises its error.

    Raises:
        TypeError: If *faults* is no FaultPlan.
        ValueError: If the plan names nodes that the flow does not have, or a fault of a store without a store.
        RuntimeError: If an event loop runs in this thread already; call it from a sync test.
        KeyboardInterrupt: If it was interrupted.
    """
    plan = FaultPlan() if faults is None else faults
    if not isinstance(plan, FaultPlan):
        raise TypeError(f"faults is a FaultPlan, such as FaultPlan(fail=0.1), not {plan!r:.100}")
    if plan.store is not None and as_run.get("state") is None:
        raise ValueError(f"{plan.store} befalls a state store, and there is none: give state='memory:' or another")
    seed = plain_number(seed)
    play = _Play(seed, plan, backend)
    error = play.run(flow, params, run_id or f"simulation-{seed}", as_run)
    if error is None and as_run.get("state") is None:
        _see_that_all_matched(plan, play.happened)
    if error is not None:
        error.add_note(f"simulated with seed={seed} on {backend}: simulate(..., seed={seed}) shows it again")
    crash = play.crash
    return Simulation(seed, backend, play.value, error, numbered(play.happened), crash is not None)


def _see_that_all_matched(plan: FaultPlan, happened: Iterable[tuple[float, Event | str]]) -> None:
    """In a run that has come to its end, every node had an event: what matches none of them matches nothing.

    Raises:
        ValueError: If there is something in the plan that does not.
    """
    nodes = {event.task_id: None for _, event in happened if isinstance(event, NodeEvent)}
    for pattern in plan.at:
        if pattern not in nodes and not any(fnmatchcase(node, pattern) for node in nodes):
            shown = ", ".join(map(repr, list(nodes)[:10]))
            raise ValueError(f"the fault plan names {pattern!r}, like which no node is called; there were {shown}")


class _Play:
    """One simulation, from the beginning to the end."""

    def __init__(self, seed: int, plan: FaultPlan, backend: Backend) -> None:
        self.backend = backend
        self.faults = Faults(seed, plan, self._note, self._end_process)
        self.scheduler = Scheduler(seed, self.faults)
        self.happened: list[tuple[float, Event | str]] = []
        self.value: Any = None
        self.crash: SimulatedCrashError | None = None
        self._error: BaseException | None = None
        self._ended_by: CascadeError | None = None
        self._recorded: Recorded | None = None
        self._taken = 0
        self._moments = 0
        self._moment = 0.0
        self._was_cancelled = False
        self._scope: CancelScope
        self._time: VirtualTime

    def run(self, flow: Any, params: Mapping[str, Any] | None, run_id: str, as_run: AsRun) -> BaseException | None:
        """Run to the end; returns the error."""
        token = pacer_var.set(self.scheduler)
        try:
            call = partial(self._main, flow, params, run_id, as_run)
            anyio.run(call, backend=self.backend, backend_options=self._loop())
        finally:
            pacer_var.reset(token)
        if self._error is None and self._scope.cancel_called:
            # In its last steps a run may give its value all the same; on asyncio then, but not on Trio, it raises.
            self.value, self._error = None, RunCancelled(run_id)
        return self.crash or self._ended_by or self._error

    def _loop(self) -> dict[str, Any]:
        if self.backend == "trio":
            clock: Any = virtual_trio_clock()
            self._watch(clock.virtual)
            return {"clock": clock}
        return {"loop_factory": self._make_loop}

    def _make_loop(self) -> VirtualLoop:
        loop = VirtualLoop()
        self.scheduler.sleeps = loop.sleeps
        self._watch(loop.virtual)
        return loop

    def _watch(self, time: VirtualTime) -> None:
        self._time = time
        time.on_idle = self._go_on

    async def _main(self, flow: Any, params: Mapping[str, Any] | None, run_id: str, as_run: AsRun) -> None:
        state = as_run.get("state")
        if state is not None:
            as_run = {**as_run, "state": partial(self._open_state, state)}
        async with Engine(**as_run) as engine:
            with record_events(engine) as self._recorded, CancelScope() as self._scope:
                async with anyio.create_task_group() as group:
                    if self.faults.plan.cancel_at is not None:
                        group.start_soon(self.scheduler.paced(self._cancel_at), self.faults.plan.cancel_at)
                    try:
                        call = partial(engine.run, run_id=run_id)
                        self.value = await self.scheduler.paced(call)(flow, params)
                    except anyio.get_cancelled_exc_class():
                        raise
                    except BaseException as error:
                        self._error = error  # whatever it is: here it is a result
                    group.cancel_scope.cancel()
            self._take()
            self._time.on_idle = None

    def _open_state(self, state: Any, run_id: str) -> StateBackend:
        backend = open_backend(state, run_id)
        assert backend is not None
        return self.faults.around(backend)

    # -- when nothing moves --------------------------------------------------------------------------------

    def _go_on(self, has_deadline: bool) -> bool:
        """The loop is idle: take down what has happened, and let somebody go on."""
        if self._recorded is None:  # pragma: no cover  # event loops are not idle before there is anything to do
            return False
        self._take()
        if self._time.now != self._moment:
            self._moment = self._time.now
            self._moments += 1
        limit = self.faults.cancel_at_event
        if limit is not None and self._taken >= limit and not self._was_cancelled:
            self._cancel()
            return True
        if self._moments > MOST_MOMENTS:
            return self._end("made no end")
        if self.scheduler.release():
            return True
        return not has_deadline and self._end("could not go on")

    def _take(self) -> None:
        """Take down the events that came since the last look; all of them are of the present moment."""
        assert self._recorded is not None
        events = self._recorded.since(self._taken)
        if events:
            self.happened.extend((self._time.now, event) for event in events)
            self.scheduler.progress += len(events)
            self._taken += len(events)
            self._moments = 0

    def _end(self, what: str) -> bool:
        if self._ended_by is not None:  # pragma: no cover  # it leaves behind what no test could clean up
            raise self._ended_by  # it could not even be cancelled
        self._ended_by = StalledError(what, numbered(self.happened).unfinished())
        self._moments = 0
        self._scope.cancel()
        return True

    # -- faults --------------------------------------------------------------------------------------------

    def _note(self, words: str) -> None:
        self._take()
        self.happened.append((self._time.now, f"Fault {words}"))

    async def _cancel_at(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._cancel()

    def _cancel(self) -> None:
        self._was_cancelled = True
        self._note("cancels the run")
        self._scope.cancel()

    def _end_process(self) -> None:
        self.crash = SimulatedCrashError("the fault plan ended the process")
        self._scope.cancel()
