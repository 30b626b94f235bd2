"""A flow from its target to its value: turn after turn, as long as the target returns another flow."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final
from weakref import WeakSet

import anyio
import attrs

from cascade.graph.identity import contents_of
from cascade.graph.nested import Hold
from cascade.graph.nodes import Graph, Junction, sources_of
from cascade.graph.recursion import DYNAMIC_RECURSION, analyse
from cascade.graph.shapes import emptied, sketch_steps
from cascade.model.errors import DependencyMissingError
from cascade.model.events import StaticAnalysisWarning
from cascade.model.outcomes import SkipReason, Status
from cascade.model.tasks import Task
from cascade.planning.solve import Plan
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.backend import Continuation
from cascade.runtime.execution.binding import put_together
from cascade.runtime.execution.restore import restore
from cascade.runtime.execution.saves import Saves
from cascade.runtime.foundation.fairness import SLICE, give_way, paced
from cascade.runtime.foundation.frame import Frame
from cascade.runtime.foundation.threads import in_thread
from cascade.runtime.run.preparation import Prepared, prepare
from cascade.runtime.scheduling.eager import run_eager
from cascade.runtime.scheduling.hot_loop import progressed
from cascade.runtime.scheduling.stages import run_stages

_SCHEDULES: Final[dict[str, Callable[[RunContext, Frame, Plan, Saves], Awaitable[None]]]] = {
    "stages": run_stages,
    "eager": run_eager,
}


class Halted(Exception):  # not an error: the run is over, and its failures are recorded
    """The run was aborted, cancelled or drained, so there is no value. Stays in the engine."""


@attrs.define(eq=False)
class Loop:
    """Runs one flow: the run's own, or one that a node asked for.

    Attributes:
        execution: The run.
        prefix: What stands before its node ids.
        is_top: Whether it is the run's own.
    """

    execution: RunContext
    prefix: str = ""
    is_top: bool = False
    _saves: Saves = attrs.field(factory=Saves)
    # Weakly: a loop may make each of its tasks anew.
    _warned: WeakSet[Task[Any, Any]] = attrs.field(factory=WeakSet)
    # What large literal arguments of the present turn are remembered by.
    _hold: Hold = attrs.field(init=False)

    @_hold.default
    def _first_hold(self) -> Hold:
        return self.execution.memory.hold if self.is_top else Hold(self.execution.memory.hold.seen)

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
            self.execution.progress.turning.pop(self.prefix, None)

    async def _run(self, prepared: Prepared) -> Any:
        turns = 1
        continuation = self._continuation()
        if continuation is not None:
            turns = continuation.turn
            prepared = await self.prepare(continuation.value)
        pacer = self.execution.shared.pacer
        elapsed = time.perf_counter if pacer is None else pacer.elapsed  # in a simulation time has no say
        since = elapsed()
        while True:
            value, frame = await self._turn(prepared, turns)
            turns = frame.turns
            if prepared.shape is not None:
                emptied(prepared.graph)
                self.execution.memory.shapes.put(prepared.shape, prepared)
            if frame.flow is None:
                break
            progressed(self.execution, _target_name(prepared.graph), turns, turns + 1)
            turns += 1
            if self.is_top and self.execution.store.journal is not None:
                self.execution.store.journal.begin_turn(turns, value)
            if elapsed() - since > SLICE:  # turns may be too short for anything in them to give way
                await give_way()
                since = elapsed()
            if self.execution.lifecycle.is_draining:
                raise Halted
            prepared = await self.prepare(value)
        await self._saves.finish(value)
        return value

    def _continuation(self) -> Continuation | None:
        """Where the run's own loop goes on, if it was recorded before."""
        recovery = self.execution.store.recovery
        return recovery.past.continuation if recovery is not None and self.is_top else None

    async def _recall(self, frame: Frame, prepared: Prepared, turn: int) -> None:
        """See what of *frame* is recorded, and by what its records are to be compared."""
        recovery = self.execution.store.recovery
        assert recovery is not None
        if not recovery.backend.can_resume:
            frame.is_recorded = self.is_top or turn == 1
            return
        continuation = self._continuation()
        if turn > 1 and not self.is_top:
            frame.is_recorded = False  # its nodes have the ids of those of the turn before
        elif turn > 1:
            if continuation is not None and continuation.turn == turn:
                await restore(self.execution, frame)
        else:
            contents = recovery.contents
            if not self.is_top:
                contents = await paced(contents_of(prepared.graph, prepared.inputs))
            frame.digests = contents.digests
            await restore(self.execution, frame)

    async def prepare(self, target: Any) -> Prepared:
        """Prepare a flow that came up in the run: anew, or as one of the same shape was."""
        hold, before = Hold(self.execution.memory.hold.seen), self._hold
        try:
            return await self._prepare(target, hold)
        finally:
            self._hold = hold
            before.release()  # not earlier: what the next turn is given again need not be looked through again

    async def _prepare(self, target: Any, hold: Hold) -> Prepared:
        execution = self.execution
        sketched = None if execution.settings.solver is not None else await paced(sketch_steps(target, hold))
        if sketched is not None:
            known: Prepared | None = execution.memory.shapes.take(sketched.shape)
            if known is not None:
                sketched.fill(known.graph)
                return known
        prepared = await prepare(
            target,
            execution.beginning.params,
            execution.settings,
            execution.admission.pool,
            execution.beginning.providers,
            execution.shared.durations.means,
            hold,
            is_whole=False,
        )
        if sketched is not None and sketched.fits(prepared.graph):
            prepared = attrs.evolve(prepared, shape=sketched.shape)
        return prepared

    async def _turn(self, prepared: Prepared, turns: int) -> tuple[Any, Frame]:
        """The value of a turn, or of a number of them that a lane made at once; and the frame it comes from."""
        await self._advise(prepared)
        frame = Frame.begin(prepared.graph, prepared.layout, prepared.inputs, self.prefix)
        frame.turns = turns
        frame.ranks = prepared.ranks
        if self.is_top:
            self.execution.progress.frame = frame
        if self.execution.store.recovery is not None:
            await self._recall(frame, prepared, turns)
        schedule = _SCHEDULES[self.execution.settings.schedule]
        try:
            await schedule(self.execution, frame, prepared.plan, self._saves)
        finally:
            if frame.flow is not None:  # the next turn is prepared from it, and need not look again
                frame.holds.hand_over(frame.flow, self._hold)
            frame.holds.release()
        if self.execution.lifecycle.is_halted or (self.execution.lifecycle.is_draining and frame.unsettled):
            raise Halted
        return collect(frame), frame

    async def _advise(self, prepared: Prepared) -> None:
        """Warn of tasks whose tail calls may change their shape, if anybody listens."""
        if not self.execution.events.wants(StaticAnalysisWarning):
            return
        calls = (row for row in prepared.graph.rows if not isinstance(row, Junction))
        tasks = {call.task: None for call in calls if call.task not in self._warned}
        if not tasks:
            return
        self._warned.update(tasks)
        # Reading sources takes milliseconds each, which the loop must not be kept waiting for.
        recursion = await in_thread(lambda: analyse(tasks), self.execution.shared.io_limiter)
        for task in recursion.dynamic:
            if task in self.execution.memory.advised:
                continue
            self.execution.memory.advised.add(task)
            message = (
                f"Task {task.name!r} uses a dynamic recursion pattern (a call among the arguments of its tail "
                "call may be there in one turn and not in the next), so each turn is built anew"
            )
            self.execution.events.emit(
                StaticAnalysisWarning, warning_code=DYNAMIC_RECURSION, message=message, task_name=task.name
            )


def _target_name(graph: Graph) -> str:
    """The task that a turn is about, or its first target if that is no call."""
    row = graph.rows[graph.members[0]]
    return row.name if isinstance(row, Junction) else row.task.name


def collect(frame: Frame) -> Any:
    """The value of the frame's target, all nodes having settled.

    Raises:
        DependencyMissingError: If a member of the target was skipped, other than for its place in a sequence.
        Exception: If the value cannot be put together; see ``put_together``.
        BaseException: The failure that keeps a member from having a value, if the run goes on after failures.
    """
    for member in frame.graph.members:
        if frame.status[member] == Status.SUCCEEDED:
            continue
        judged = frame.chosen(member)
        cause = _failure_behind(frame, judged)
        if cause is not None:
            raise cause
        if frame.reasons.get(judged) is not SkipReason.UPSTREAM_SEQUENCE:
            raise DependencyMissingError(frame.name(judged), list(_skips_behind(frame, judged)))
        frame.values[member] = None
    return put_together(frame, frame.graph.target)


def _sources_gone(frame: Frame, index: int) -> Iterator[int]:
    skipped = (Status.SKIPPED, Status.FAILED, Status.CANCELLED)
    return (source for source in frame.graph.sources[index] if frame.status[source] in skipped)


def _failure_behind(frame: Frame, index: int) -> BaseException | None:
    """The error of the node, or of the one whose failure kept it from running."""
    while index not in frame.errors:
        failed = [source for source in _sources_gone(frame, index) if frame.is_failure(source)]
        if not failed or not frame.is_failure(index):
            return None
        index = failed[0]
    return frame.errors[index]


def _skips_behind(frame: Frame, index: int) -> Iterator[tuple[str, str]]:
    """The node and those whose skip led to its own, with their reasons."""
    for _ in range(20):
        yield frame.name(index), frame.reasons[index].value
        skipped = [source for source in _blamed(frame, index) if source in frame.reasons]
        skipped = [source for source in skipped if frame.reasons[source] is not SkipReason.PRUNED]
        if not skipped:
            return
        index = skipped[0]


def _blamed(frame: Frame, index: int) -> Iterator[int]:
    """The sources of a skipped node that the reason for its skip is about."""
    node = frame.graph.node(index)
    if isinstance(node, Junction):
        yield from node.sources
        return
    match frame.reasons[index]:
        case SkipReason.CONDITION_FALSE:
            return
        case SkipReason.UPSTREAM_CONDITION:
            for condition in node.terms.conditions:
                yield from sources_of(condition)
        case SkipReason.UPSTREAM_SEQUENCE:
            yield from node.terms.predecessors
        case SkipReason.UPSTREAM_DATA:
            # What was skipped and handed its value on is no reason.
            yield from (source for source in node.data if source in frame.gone)
            for _, amount in node.terms.amounts:
                yield from sources_of(amount)
        case _:
            yield from node.sources


async def run_in_place(execution: RunContext, value: Any, node_id: str) -> Any:
    """*value*, with the lazies that are in it run, under the same engine, limits and scope.

    Run by a task beside the nodes, not inside the one that asked: so scopes do not nest deeper with every level,
    however deep flows nest.

    Raises:
        BaseException: The failure that kept it from having a value.
    """
    errand = _Errand(execution, value, f"{node_id}/")
    assert execution.tasks.work is not None  # nodes run inside it
    execution.tasks.spawn(execution.tasks.work, errand.run)
    await errand.done.wait()
    if errand.error is not None:
        raise errand.error
    return errand.value


@attrs.define(eq=False)
class _Errand:
    """A flow that a node asked for, on its way."""

    execution: RunContext
    value: Any
    prefix: str
    done: anyio.Event = attrs.field(factory=anyio.Event)
    error: BaseException | None = None

    async def run(self) -> None:
        loop = Loop(self.execution, self.prefix)
        try:
            self.value = await loop.run(await loop.prepare(self.value))
        except Halted:
            if self.execution.lifecycle.is_halted:
                return  # whoever waits is being cancelled
            self.error = DrainedError()
            self.done.set()
        except anyio.get_cancelled_exc_class():
            self.execution.lifecycle.halt()
            raise
        except BaseException as error:
            self.execution.failures.pass_on(error)
            self.error = error
            self.done.set()
        else:
            self.done.set()
