"""One simulation on its way: it plays a run to the end, and takes down what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Literal

import anyio
import attrs
from anyio import CancelScope

from cascade.adapters.event_loops import check_backend
from cascade.model.errors import CascadeError, InputError, RunCancelled
from cascade.model.events import Event
from cascade.runtime.context.settings import AsRun
from cascade.runtime.control.runs import ControlledRuns
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.engine.engine import Engine
from cascade.runtime.engine.urls import open_backend
from cascade.runtime.foundation.simulation_seam import pacer_var
from cascade.testing.clocks import VirtualLoop, VirtualTime, virtual_trio_clock
from cascade.testing.faults import FaultPlan, Faults, InjectedError, SimulatedCrashError
from cascade.testing.faulty_store import FaultyStore
from cascade.testing.record import Recorded, record_events
from cascade.testing.scheduler import Scheduler
from cascade.testing.trace import numbered

Backend = Literal["asyncio", "trio"]
# Moments that may go by without an event before a run is taken for one without an end.
MOST_MOMENTS: Final = 50_000
# Virtual seconds between two looks at whether the run has begun.
_MOMENT: Final = 0.001


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


@attrs.define(eq=False)
class Chronicle:
    """Takes down what happens, each with its moment of virtual time.

    Attributes:
        happened: What has happened so far.
        time: The clock; set when the loop is made.
        recorded: The events of the engine; set when that is open.
        taken: Number of events that have been taken down.
        quiet: Number of moments since the last of them.
    """

    happened: list[tuple[float, Event | str]] = attrs.field(factory=list)
    time: VirtualTime = attrs.field(init=False)
    recorded: Recorded | None = None
    taken: int = 0
    quiet: int = 0
    _moment: float = 0.0

    def take(self) -> int:
        """Take down the events that came since the last look, all of the present moment; returns their number."""
        assert self.recorded is not None
        events = self.recorded.since(self.taken)
        if events:
            self.happened.extend((self.time.now, event) for event in events)
            self.taken += len(events)
            self.quiet = 0
        return len(events)

    def note(self, words: str) -> None:
        """Take down what is no event. All events before it have been taken."""
        self.happened.append((self.time.now, words))

    def count_moment(self) -> None:
        """Count the present moment, unless it was counted before."""
        if self.time.now != self._moment:
            self._moment = self.time.now
            self.quiet += 1


class SimulatedRun:
    """One simulation, from the beginning to the end.

    Args:
        seed: What decides.
        plan: What goes wrong.
        backend: The event loop.
        signals: What is sent: by name of the signal, when, and which value.

    Attributes:
        value: The value of the flow, if there is one.
        crash: The crash of the process, if the plan ended it.
        chronicle: What has happened.
    """

    def __init__(
        self, seed: int, plan: FaultPlan, backend: Backend, signals: Mapping[str, tuple[float, Any]]
    ) -> None:
        self.value: Any = None
        self.crash: SimulatedCrashError | None = None
        self.chronicle: Chronicle = Chronicle()
        self._backend = backend
        self._signals = signals
        self._faults = Faults(seed, plan, self._note)
        self._scheduler = Scheduler(seed, self._faults)
        self._error: BaseException | None = None
        self._ended_by: CascadeError | None = None
        self._was_cancelled = False
        self._scope: CancelScope

    def run(self, flow: Any, params: Mapping[str, Any] | None, run_id: str, as_run: AsRun) -> BaseException | None:
        """Run to the end; returns the error."""
        check_backend(self._backend)
        token = pacer_var.set(self._scheduler)
        try:
            call = partial(self._main, flow, params, run_id, as_run)
            anyio.run(call, backend=self._backend, backend_options=self._loop())
        finally:
            pacer_var.reset(token)
        if self._error is None and self._scope.cancel_called:
            # In its last steps a run may give its value all the same; on asyncio then, but not on Trio, it raises.
            self.value, self._error = None, RunCancelled(run_id)
        return self.crash or self._ended_by or self._error

    def _loop(self) -> dict[str, Any]:
        if self._backend == "trio":
            clock: Any = virtual_trio_clock()
            self._watch(clock.virtual)
            return {"clock": clock}
        return {"loop_factory": self._make_loop}

    def _make_loop(self) -> VirtualLoop:
        loop = VirtualLoop()
        self._scheduler.sleeps = loop.sleeps
        self._watch(loop.virtual)
        return loop

    def _watch(self, time: VirtualTime) -> None:
        self.chronicle.time = time
        time.on_idle = self._go_on

    async def _main(self, flow: Any, params: Mapping[str, Any] | None, run_id: str, as_run: AsRun) -> None:
        state = as_run.get("state")
        if state is not None:
            as_run = {**as_run, "state": partial(self._open_state, state)}
        async with Engine(**as_run) as engine:
            with record_events(engine) as self.chronicle.recorded, CancelScope() as self._scope:
                await self._perform(partial(engine.run, flow, params, run_id=run_id), engine.control.runs, run_id)
            self._take()
            self.chronicle.time.on_idle = None

    async def _perform(self, run: partial[Any], runs: ControlledRuns, run_id: str) -> None:
        """Make the run, which the plan may cancel meanwhile, and keep what it gives or raises."""
        async with anyio.create_task_group() as group:
            if self._faults.plan.cancel_at is not None:
                group.start_soon(self._scheduler.paced(self._cancel_at), self._faults.plan.cancel_at)
            for name, (seconds, value) in self._signals.items():
                group.start_soon(
                    self._scheduler.paced(self._send_at), name, seconds, partial(_send, runs, run_id, name, value)
                )
            try:
                self.value = await self._scheduler.paced(run)()
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # whatever it is: here it is a result
                self._error = error
            group.cancel_scope.cancel()

    def _open_state(self, state: Any, run_id: str) -> StateBackend:
        backend = open_backend(state, run_id)
        assert backend is not None
        fault = self._faults.store_fault
        return backend if fault is None else FaultyStore(backend, fault, self._faults.on_strike, self._end_process)

    # -- when nothing moves --------------------------------------------------------------------------------

    def _go_on(self, has_deadline: bool) -> bool:
        """The loop is idle: take down what has happened, and let somebody go on."""
        chronicle = self.chronicle
        if chronicle.recorded is None:  # pragma: no cover  # loops are not idle before there is anything to do
            return False
        self._take()
        chronicle.count_moment()
        limit = self._faults.cancel_at_event
        if limit is not None and chronicle.taken >= limit and not self._was_cancelled:
            self._cancel()
            return True
        if chronicle.quiet > MOST_MOMENTS:
            return self._end("made no end")
        if self._scheduler.release():
            return True
        return not has_deadline and self._end("could not go on")

    def _take(self) -> None:
        """Take down the events since the last look; the scheduler chooses by their number."""
        self._scheduler.progress += self.chronicle.take()

    def _end(self, what: str) -> bool:
        if self._ended_by is not None:  # pragma: no cover  # it leaves behind what no test could clean up
            raise self._ended_by  # it could not even be cancelled
        self._ended_by = StalledError(what, numbered(self.chronicle.happened).unfinished())
        self.chronicle.quiet = 0
        self._scope.cancel()
        return True

    # -- faults --------------------------------------------------------------------------------------------

    def _note(self, words: str) -> None:
        self._take()
        self.chronicle.note(f"Fault {words}")

    async def _send_at(self, name: str, seconds: float, send: Callable[[], Awaitable[None]]) -> None:
        await anyio.sleep(seconds)
        while not self.chronicle.taken:  # the run has not begun
            self._take()
            await anyio.sleep(_MOMENT)
        try:
            await send()
            words = f"Signal accepted: {name!r}"
        except (CascadeError, InjectedError) as error:
            words = f"Signal refused: {error}"
        self._take()
        self.chronicle.note(words)

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


async def _send(runs: ControlledRuns, run_id: str, name: str, value: Any) -> None:
    """Send a value to a simulated run.

    Raises:
        InputError: If the run refuses it, or does not go on.
    """
    run = runs.find(run_id)
    if run is None:
        raise InputError([f"run {run_id!r} takes no signal {name!r} now"])
    await run.signals.send(name, value)
