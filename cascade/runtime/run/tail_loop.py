"""A flow from its target to its value: turn after turn, as long as the target returns another flow."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final
from weakref import WeakSet

import anyio
import attrs

from cascade.graph.identity import contents_of
from cascade.graph.nested import compile_steps
from cascade.graph.nodes import Graph, Junction, resolve, sources_of
from cascade.graph.recursion import DYNAMIC_RECURSION, analyse
from cascade.graph.shapes import emptied, sketch_steps
from cascade.model.errors import DependencyMissingError
from cascade.model.events import StaticAnalysisWarning
from cascade.model.outcomes import SkipReason, Status
from cascade.model.tasks import Task
from cascade.planning.solve import Plan
from cascade.runtime.context.run_context import Execution
from cascade.runtime.durability.records import Continuation
from cascade.runtime.execution.attempt import DrainedError
from cascade.runtime.execution.node_run import Saves
from cascade.runtime.foundation.fairness import SLICE, give_way, paced
from cascade.runtime.foundation.frame import Frame
from cascade.runtime.foundation.threads import in_thread
from cascade.runtime.run.preparation import Prepared, prepare
from cascade.runtime.run.restore import restore
from cascade.runtime.scheduling.eager import run_eager
from cascade.runtime.scheduling.hot_loop import progressed
from cascade.runtime.scheduling.stages import run_stages

_SCHEDULES: Final[dict[str, Callable[[Execution, Frame, Plan, Saves], Awaitable[None]]]] = {
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

    execution: Execution
    prefix: str = ""
    is_top: bool = False
    _saves: Saves = attrs.field(factory=Saves)
    # Weakly: a loop may make each of its tasks anew.
    _warned: WeakSet[Task[Any, Any]] = attrs.field(factory=WeakSet)

    async def run(self, prepared: Prepared) -> Any:
        """The value of the flow, of whatever its target returned in its place, and so on.

        Raises:
            Halted: If the run ended before.
            DependencyMissingError: If a target was skipped.
        """
        try:
            return await self._run(prepared)
        finally:
            self.execution.turning.pop(self.prefix, None)

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
            value, turns = await self._turn(prepared, turns)
            if prepared.shape is not None:
                emptied(prepared.graph)
                self.execution.shapes.put(prepared.shape, prepared)
            if await paced(compile_steps(value, may_circle=True)) is None:
                break
            progressed(self.execution, _target_name(prepared.graph), turns, turns + 1)
            turns += 1
            if self.is_top and self.execution.journal is not None:
                self.execution.journal.begin_turn(turns, value)
            if elapsed() - since > SLICE:  # turns may be too short for anything in them to give way
                await give_way()
                since = elapsed()
            if self.execution.is_draining:
                raise Halted
            prepared = await self.prepare(value)
        await self._saves.finish(value)
        return value

    def _continuation(self) -> Continuation | None:
        """Where the run's own loop goes on, if it was recorded before."""
        recovery = self.execution.recovery
        return recovery.past.continuation if recovery is not None and self.is_top else None

    async def _recall(self, frame: Frame, prepared: Prepared, turn: int) -> None:
        """See what of *frame* is recorded, and by what its records are to be compared."""
        recovery = self.execution.recovery
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
        execution = self.execution
        sketched = None if execution.settings.solver is not None else await paced(sketch_steps(target))
        if sketched is not None:
            known: Prepared | None = execution.shapes.take(sketched.shape)
            if known is not None:
                sketched.fill(known.graph)
                return known
        prepared = await prepare(
            target,
            execution.params,
            execution.settings,
            execution.admission.pool,
            execution.providers,
            execution.shared.durations.means,
            is_whole=False,
        )
        if sketched is not None and sketched.fits(prepared.graph):
            prepared = attrs.evolve(prepared, shape=sketched.shape)
        return prepared

    async def _turn(self, prepared: Prepared, turns: int) -> tuple[Any, int]:
        """The value of a turn, or of a number of them that a lane made at once; and their number so far."""
        await self._advise(prepared)
        frame = Frame.begin(prepared.graph, prepared.layout, prepared.inputs, self.prefix)
        frame.turns = turns
        frame.ranks = prepared.ranks
        if self.is_top:
            self.execution.frame = frame
        if self.execution.recovery is not None:
            await self._recall(frame, prepared, turns)
        schedule = _SCHEDULES[self.execution.settings.schedule]
        await schedule(self.execution, frame, prepared.plan, self._saves)
        if self.execution.is_halted or (self.execution.is_draining and frame.unsettled):
            raise Halted
        return collect(frame), frame.turns

    async def _advise(self, prepared: Prepared) -> None:
        """Warn of tasks whose tail calls may change their shape, if anybody listens."""
        if not self.execution.wants(StaticAnalysisWarning):
            return
        calls = (row for row in prepared.graph.rows if not isinstance(row, Junction))
        tasks = {call.task: None for call in calls if call.task not in self._warned}
        if not tasks:
            return
        self._warned.update(tasks)
        # Reading sources takes milliseconds each, which the loop must not be kept waiting for.
        recursion = await in_thread(lambda: analyse(tasks), self.execution.shared.io_limiter)
        for task in recursion.dynamic:
            if task in self.execution.advised:
                continue
            self.execution.advised.add(task)
            message = (
                f"Task {task.name!r} uses a dynamic recursion pattern (a call among the arguments of its tail "
                "call may be there in one turn and not in the next), so each turn is built anew"
            )
            self.execution.emit(
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
    return resolve(frame.graph.target, frame)


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


async def run_in_place(execution: Execution, value: Any, node_id: str) -> Any:
    """*value*, with the lazies in it run, under the same engine, limits and scope.

    Run by a task beside the nodes, not inside the one that asked: so scopes do not nest deeper with every level,
    however deep flows nest.

    Raises:
        BaseException: The failure that kept it from having a value.
    """
    if await paced(compile_steps(value, may_circle=True)) is None:
        return value
    errand = _Errand(execution, value, f"{node_id}/")
    assert execution.work is not None  # nodes run inside it
    execution.spawn(execution.work, errand.run)
    await errand.done.wait()
    if errand.error is not None:
        raise errand.error
    return errand.value


@attrs.define(eq=False)
class _Errand:
    """A flow that a node asked for, on its way."""

    execution: Execution
    value: Any
    prefix: str
    done: anyio.Event = attrs.field(factory=anyio.Event)
    error: BaseException | None = None

    async def run(self) -> None:
        loop = Loop(self.execution, self.prefix)
        try:
            self.value = await loop.run(await loop.prepare(self.value))
        except Halted:
            if self.execution.is_halted:
                return  # whoever waits is being cancelled
            self.error = DrainedError()
            self.done.set()
        except anyio.get_cancelled_exc_class():
            self.execution.halt()
            raise
        except BaseException as error:
            self.execution.pass_on(error)
            self.error = error
            self.done.set()
        else:
            self.done.set()
