"""A flow from its target to its value: turn after turn, as long as the target returns another flow."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final
from weakref import WeakSet

import attrs

from cascade.graph.identity import contents_of
from cascade.graph.nested import Hold
from cascade.graph.nodes import Graph, Junction
from cascade.graph.recursion import DYNAMIC_RECURSION, analyse
from cascade.graph.shapes import emptied, sketch_steps
from cascade.model.calls.callee import Callee
from cascade.model.events import StaticAnalysisWarning
from cascade.planning.solve import Plan
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.records import Continuation
from cascade.runtime.execution.restore import restore
from cascade.runtime.execution.saves import Saves
from cascade.runtime.execution.target import collect
from cascade.runtime.foundation.fairness import SLICE, give_way, paced
from cascade.runtime.foundation.threads import in_thread
from cascade.runtime.frame.frame import Frame
from cascade.runtime.frame.turn import Handles, never
from cascade.runtime.run.hot_loop import HotLoop, Made
from cascade.runtime.run.preparation import Preparation, Prepared
from cascade.runtime.scheduling.scheduler import Scheduler
from cascade.runtime.scheduling.schedules.eager import run_eager
from cascade.runtime.scheduling.schedules.stages import run_stages
from cascade.runtime.scheduling.signal_waits import under_way
from cascade.runtime.scheduling.turns.hot_turns import progressed

_SCHEDULES: Final[dict[str, Callable[[Scheduler, Plan], Awaitable[None]]]] = {
    "stages": run_stages,
    "eager": run_eager,
}


class Halted(Exception):  # not an error: the run is over, and its failures are recorded
    """The run was aborted, cancelled or drained, so there is no value. Stays in the engine."""


@attrs.define(eq=False)
class Loop:
    """Runs one flow: the run's own, or one that a node asked for.

    Attributes:
        run_context: The run.
        preparation: Makes its flows ready.
        prefix: What stands before its node ids.
        is_top: Whether it is the run's own.
        handles: Whether an error is handled that leaves it without a value.
    """

    run_context: RunContext
    preparation: Preparation
    prefix: str = ""
    is_top: bool = False
    handles: Handles = never
    _saves: Saves = attrs.field(factory=Saves)
    # Weakly: a loop may make each of its tasks anew.
    _warned: WeakSet[Callee] = attrs.field(factory=WeakSet)
    # What large literal arguments of the present turn are remembered by.
    _hold: Hold = attrs.field(init=False)
    _hot: HotLoop = attrs.field(init=False)

    @_hold.default
    def _first_hold(self) -> Hold:
        return self.run_context.memory.hold if self.is_top else Hold(self.run_context.memory.hold.seen)

    def __attrs_post_init__(self) -> None:
        self._hot = HotLoop(
            self.run_context, self.prefix, self.is_top, self._scheduler, self._run_turn, self._made
        )

    async def run(self, prepared: Prepared) -> Any:
        """The value of the flow, of whatever its target returned in its place, and so on.

        Raises:
            Halted: If the run ended before.
            DependencyMissingError: If a target was skipped.
        """
        try:
            return await self._run(prepared)
        finally:
            self._hold.release()
            self._leave(prepared.layout.tails)
            self.run_context.lifecycle.nodes.leave(self.prefix)

    def _leave(self, tails: Collection[int]) -> None:
        """Forget in which turn the loop is; if that is not the first, it is known in whose place it went on."""
        progress = self.run_context.progress
        if self.is_top and progress.went_on is None and progress.is_past_first_turn() and len(tails) == 1:
            (progress.went_on,) = tails
        progress.turning.pop(self.prefix, None)

    async def _run(self, prepared: Prepared) -> Any:
        turns = 1
        continuation = self._continuation()
        if continuation is not None:
            turns = self._hot.first = continuation.turn
            prepared = await self.prepare(continuation.value)
        pacer = self.run_context.shared.pacer
        elapsed = time.perf_counter if pacer is None else pacer.elapsed  # in a simulation time has no say
        since = elapsed()
        while True:
            made = await self._hot.make_turns(prepared, turns) or await self._turn(prepared, turns)
            value, turns = made.value, made.turns
            if prepared.shape is not None:
                emptied(prepared.graph)
                self.run_context.memory.shapes.put(prepared.shape, prepared)
            if not made.is_flow:
                break
            progressed(self.run_context, _target_name(prepared.graph), turns, turns + 1)
            turns += 1
            if self.is_top and self.run_context.store.journal is not None:
                self.run_context.store.journal.begin_turn(turns, value)
            if elapsed() - since > SLICE:  # turns may be too short for anything in them to give way
                await give_way()
                since = elapsed()
            if self.run_context.lifecycle.is_draining:
                raise Halted
            prepared = await self.prepare(value)
            del made, value  # what the turn is given is the graph's, and is let go of with that
        await self._saves.finish(value)
        return value

    def _continuation(self) -> Continuation | None:
        """Where the run's own loop goes on, if it was recorded before."""
        recovery = self.run_context.store.recovery
        return recovery.past.continuation if recovery is not None and self.is_top else None

    async def _recall(self, frame: Frame, prepared: Prepared, turn: int) -> None:
        """See what of *frame* is recorded, and by what its records are to be compared."""
        recovery = self.run_context.store.recovery
        assert recovery is not None
        if not recovery.backend.can_resume:
            return
        continuation = self._continuation()
        if turn > 1:
            if continuation is not None and continuation.turn == turn:
                await restore(self.run_context, frame)
            return
        contents = recovery.contents
        if not self.is_top:
            contents = await paced(contents_of(prepared.graph, prepared.inputs))
        frame.turn.digests = contents.digests
        await restore(self.run_context, frame)

    async def prepare(self, target: Any) -> Prepared:
        """Prepare a flow that came up in the run: anew, or as one of the same shape was."""
        hold, before = Hold(self.run_context.memory.hold.seen), self._hold
        try:
            return await self._prepare(target, hold)
        finally:
            self._hold = hold
            before.release()  # not earlier: what the next turn is given again need not be looked through again

    async def _prepare(self, target: Any, hold: Hold) -> Prepared:
        shapes, has_solver = self.run_context.memory.shapes, self.run_context.settings.solver is not None
        sketched = None if has_solver else await paced(sketch_steps(target, hold))
        if sketched is not None:
            known: Prepared | None = shapes.take(sketched.shape)
            if known is not None:
                known = self._hot.codes.learn(sketched, known)
                sketched.fill(known.graph)
                return known
        prepared = await self.preparation.prepare(target, hold, is_whole=False)
        if sketched is not None and sketched.fits(prepared.graph):
            prepared = attrs.evolve(prepared, shape=sketched.shape)
        return prepared

    async def _turn(self, prepared: Prepared, number: int) -> Made:
        """Make one turn, in a frame of its own."""
        await self._advise(prepared)
        if any(given.secret for given in prepared.graph.inputs.values()):
            await self.run_context.signals.kept.hide()
        if prepared.layout.special.signals:
            await self.run_context.signals.enrol(prepared.signals())
        scheduler = self._scheduler(prepared, number)
        if self.run_context.store.recovery is not None:
            await self._recall(scheduler.context.frame, prepared, number)
        await self._run_turn(scheduler, prepared)
        return self._made(scheduler)

    def _scheduler(self, prepared: Prepared, number: int) -> Scheduler:
        """A scheduler of a turn in which nothing has happened."""
        run_context, is_eager = self.run_context, self.run_context.settings.schedule == "eager"
        frame = Frame.begin(prepared.graph, prepared.layout, prepared.inputs, self.prefix)
        frame.turn.number, frame.turn.handles = number, self.handles
        frame.turn.ranks, frame.turn.durations = prepared.ranks, prepared.durations
        if not is_eager:
            frame.readiness.stage = ()
        if self.is_top:
            run_context.progress.frame = frame
        run_context.progress.turning[self.prefix] = lambda: number
        if run_context.store.recovery is not None:
            # In later turns of the loops of nodes, nodes have the ids of those of the turn before.
            _, *inner = run_context.progress.turns(self.prefix)
            frame.turn.is_recorded = all(turn == 1 for turn in inner)
        return Scheduler.of(run_context, frame, self._saves, is_eager=is_eager)

    async def _run_turn(self, scheduler: Scheduler, prepared: Prepared) -> None:
        """Run what of a turn has not run."""
        frame = scheduler.context.frame
        try:
            with under_way(scheduler.context.waits):
                await _SCHEDULES[self.run_context.settings.schedule](scheduler, prepared.plan)
        finally:
            if scheduler.context.waits is not None and scheduler.context.conditions.is_cut_off:
                scheduler.context.waits.leave()
            if frame.turn.flow is not None:  # the next turn is prepared from it, and need not look again
                frame.demand.holds.hand_over(frame.turn.flow, self._hold)
            frame.demand.holds.release()

    def _made(self, scheduler: Scheduler) -> Made:
        """What a turn gave that has been run."""
        lifecycle, frame = self.run_context.lifecycle, scheduler.context.frame
        is_cut_off = scheduler.context.conditions.is_cut_off
        if lifecycle.is_halted or is_cut_off or (lifecycle.is_draining and frame.readiness.unsettled):
            raise Halted
        if self.is_top and frame.turn.number == 1:
            self.run_context.progress.went_on = frame.turn.flow
        return Made(
            collect(frame, self.run_context.failures.pass_on), frame.turn.number, frame.turn.flow is not None
        )

    async def _advise(self, prepared: Prepared) -> None:
        """Warn of tasks whose tail calls may change their shape, if anybody listens."""
        if not self.run_context.events.wants(StaticAnalysisWarning):
            return
        calls = (row for row in prepared.graph.rows if not isinstance(row, Junction))
        tasks = {call.task: None for call in calls if call.task not in self._warned}
        if not tasks:
            return
        self._warned.update(tasks)
        # Reading sources takes milliseconds each, which the loop must not be kept waiting for.
        recursion = await in_thread(lambda: analyse(tasks), self.run_context.shared.io_limiter)
        for task in recursion.dynamic:
            if task in self.run_context.memory.advised:
                continue
            self.run_context.memory.advised.add(task)
            message = (
                f"Task {task.name!r} uses a dynamic recursion pattern (a call among the arguments of its tail "
                "call may be there in one turn and not in the next), so each turn is built anew"
            )
            self.run_context.events.emit(
                StaticAnalysisWarning, warning_code=DYNAMIC_RECURSION, message=message, task_name=task.name
            )


def _target_name(graph: Graph) -> str:
    """The task that a turn is about, or its first target if that is no call."""
    row = graph.rows[graph.members[0]]
    return row.name if isinstance(row, Junction) else row.task.name
