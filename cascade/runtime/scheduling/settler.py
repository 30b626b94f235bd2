"""Settles the nodes of a frame: records how each ended, and tells the frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from cascade.graph.nodes import MapNode, Node
from cascade.model.errors import RaceFailed
from cascade.model.outcomes import Cancelled, Done, Failed, Skipped, Status
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.undo_log import Undoable
from cascade.runtime.execution.binding import Arguments, judge, passed_by
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.settle import (
    Ending,
    Settled,
    learn,
    learn_node,
    leave,
    record,
    record_silently,
    tell_outcome,
)
from cascade.runtime.execution.telling import ON_LOOP, wall_clock_lead
from cascade.runtime.execution.telling.failure_note import called_with, shown_arguments
from cascade.runtime.foundation.task_context import key_of
from cascade.runtime.frame.frame import Ended, Frame
from cascade.runtime.observation.details import RecallWithdrawn
from cascade.runtime.observation.outcome_stream import NodeSettled
from cascade.runtime.scheduling.conditions import Conditions


@attrs.define(eq=False)
class Settler:
    """Settles the nodes of one frame.

    Attributes:
        run_context: The run.
        frame: Whose nodes they are.
        conditions: Whether somebody is told of them.
    """

    run_context: RunContext
    frame: Frame
    conditions: Conditions

    def subject(self, index: int) -> Settled:
        """The node, as events, notes and records speak of it."""
        frame = self.frame
        row = frame.graph.rows[index]
        retry = row.terms.retry if isinstance(row, Node) else None
        return Settled(
            frame.name(index), frame.graph.task(index), 1 if retry is None else retry.max_attempts,
            frame.digest(index), frame.turn.is_recorded, index == frame.turn.flow,
            frame.label(index),
        )  # fmt: skip

    def succeed(self, ended: Sequence[Ended]) -> None:
        """Settle plain nodes that have run in a lane since the conditions were looked at."""
        if self.conditions.is_single:
            for index, value, started, _, place in ended:
                self.settle(index, Ending(Done(value), 1, started, place=place))
            return
        self.note(len(ended), ended if self.conditions.is_timed else ())
        self.frame.succeed_all(ended)

    def note(self, count: int, ended: Sequence[Ended]) -> None:
        """Record as many nodes as *count* that have succeeded; *ended* are all of them if their times matter."""
        if self.conditions.is_heard:
            ahead = wall_clock_lead(self.run_context)
            for one in ended:
                record_silently(self.run_context, self.frame, one, ahead)
            return
        self.run_context.progress.counts[Status.SUCCEEDED] += count
        for index, _, started, now, _ in ended:
            learn(self.run_context, self.frame, index, now - started)

    def settle(self, index: int, ending: Ending) -> None:
        """Settle a node, unless the run drains and leaves it."""
        recorded = self._record(index, ending)
        if recorded is not None:
            self._enter(index, recorded)

    async def settle_durably(self, index: int, ending: Ending) -> None:
        """The same; with ``durability="task"``, no consumer starts before the record is stored."""
        recorded = self._record(index, ending)
        if recorded is None:
            return
        journal = self.run_context.store.journal
        if journal is not None and self.run_context.settings.durability == "task":
            await journal.flush()
        self._enter(index, recorded)

    def _record(self, index: int, ending: Ending) -> Ending | None:
        """Record how a node ended; returns that as it counts, or ``None`` if a run that drains leaves the node."""
        if self.run_context.lifecycle.nodes:
            ending = self._cancelled(index, ending)
        if self._is_left(index, ending):
            return None
        ending = self._counted(ending)
        if isinstance(ending.outcome, Failed) and ending.bound is not None:
            shown = shown_arguments(
                self.frame, index, ending.bound, self.run_context.events.secrets,
                is_recorded=self.run_context.store.journal is not None,
            )  # fmt: skip
            ending = attrs.evolve(ending, bound=None, called_with=called_with(shown), arguments=shown[0])
        self._note_undo(index, ending)
        is_handled = isinstance(ending.outcome, Failed) and self.frame.handling.is_handled(
            index, ending.outcome.error
        )
        ending = record(self.run_context, self.subject(index), ending, is_handled=is_handled)
        learn_node(self.run_context, self.frame, index, ending)
        return ending

    def _note_undo(self, index: int, ending: Ending) -> None:
        """Note a node that has succeeded and has an undo, before it is recorded; see :meth:`UndoLog.note`.

        The value of a cache was there before the run. Maps are undone item by item, and a flow that goes on in the
        place of a node is no value.
        """
        frame, row, outcome = self.frame, self.frame.graph.rows[index], ending.outcome
        if type(row) is not Node or row.terms.undo is None or not isinstance(outcome, Done):
            return
        if outcome.from_cache or index == frame.turn.flow:
            return
        name, run_context = frame.name(index), self.run_context
        key = key_of(name, run_context.progress.turns(name))
        undoable = Undoable(name, row.task.name, row.terms.undo, outcome.value, key, frame.label(index))
        run_context.store.undo.note(undoable)

    def settle_without_running(self, index: int) -> bool:
        """Settle a node that is not to run: one that ended in an earlier run, or is skipped; whether it is one."""
        frame, row = self.frame, self.frame.graph.rows[index]
        if not (frame.gaps.exist or frame.turn.recorded or (isinstance(row, Node) and row.terms.conditions)):
            return False
        if self.run_context.lifecycle.nodes.is_marked(frame, index):
            self.settle(index, Ending(Cancelled()))
            return True
        node: Node = frame.graph.node(index)  # type: ignore[assignment]  # routers are settled by the frame
        if index in frame.turn.recorded:
            self._replay(index, node)
            return True
        try:
            skip = judge(frame, node)
        except Exception as error:  # a condition's truth is user code
            self.settle(index, Ending(Failed(error)))
            return True
        if skip is not None:
            record(self.run_context, self.subject(index), Ending(Skipped(skip.reason)))
            frame.skip(index, skip.reason, skip.passed)
            # Of others it was known that they are wanted when the failure was handled: they were asked about then.
            if skip.reason is SkipReason.UPSTREAM_FAILED and index in frame.layout.gated:
                look_behind(self.run_context, frame, index)
        return skip is not None

    def failure(
        self,
        index: int,
        error: BaseException,
        started: float | None,
        bound: Arguments | None = None,
        place: str | None = ON_LOOP,
    ) -> Ending:
        """How a node ends that *error* has ended in a lane, or (``started=None``) before it came to run.

        Args:
            index: The node.
            error: What has ended it.
            started: Its start mark.
            bound: What it was called with, if that is known.
            place: Where it ran in this process.
        """
        outcome = classify(error, self.frame.name(index))
        return Ending(outcome, 0 if started is None else 1, started, bound=bound, place=place)

    def prune(self, index: int) -> None:
        """Record a node that no route leads to; the frame knows that already."""
        recalled = self.frame.turn.recorded.get(index)
        if recalled is not None:
            was_skipped = recalled.reason is not None
            is_map = isinstance(self.frame.graph.rows[index], MapNode)
            if was_skipped or not is_map:  # else its items have ended, and count
                self.run_context.events.emit_node(RecallWithdrawn, self.subject(index), was_skipped=was_skipped)
        record(self.run_context, self.subject(index), Ending(Skipped(SkipReason.PRUNED)))

    def _replay(self, index: int, node: Node) -> None:
        """Settle a node as it ended when the run was executed before; that is recorded, and no news."""
        frame, counts = self.frame, self.run_context.progress.counts
        recalled = frame.turn.recorded.pop(index)
        if self.run_context.events.wants(NodeSettled):
            outcome = Done(recalled.value) if recalled.reason is None else Skipped(recalled.reason)
            tell_outcome(self.run_context, self.subject(index), outcome, is_recalled=True)
        if recalled.reason is None:
            counts[Status.SUCCEEDED] += 1
            frame.succeed(index, recalled.value)
        else:
            counts[Status.SKIPPED] += 1
            frame.skip(index, recalled.reason, passed_by(frame, node, recalled.reason))

    def _cancelled(self, index: int, ending: Ending) -> Ending:
        """*ending* as it counts if the node, or what it is part of, is cancelled while the run goes on."""
        outcome = self.run_context.lifecycle.nodes.counted(
            self.frame.name(index), ending.outcome, has_begun=ending.started is not None
        )
        return ending if self.run_context.lifecycle.is_halted else attrs.evolve(ending, outcome=outcome)

    def _counted(self, ending: Ending) -> Ending:
        """*ending* as it counts: what succeeds after the run has ended is cancelled."""
        if not isinstance(ending.outcome, Done):
            return ending
        if self.run_context.lifecycle.is_halted:
            return attrs.evolve(ending, outcome=Cancelled())
        journal = self.run_context.store.journal
        if self.run_context.settings.strict_state and journal is not None:
            error = journal.refusal(ending.outcome.value)
            return ending if error is None else attrs.evolve(ending, outcome=Failed(error))
        return ending

    def _is_left(self, index: int, ending: Ending) -> bool:
        """Whether the node is left unsettled, because the run drains."""
        lifecycle = self.run_context.lifecycle
        if not lifecycle.is_draining or lifecycle.is_halted or ending.outcome != Cancelled():
            return False
        if self.conditions.is_cut_off:
            return False  # whatever it is part of is not run again
        self.frame.status[index] = Status.PENDING
        leave(self.run_context, self.subject(index), ending)
        return True

    def _enter(self, index: int, ending: Ending) -> None:
        """Tell the frame how a node ended."""
        match ending.outcome:
            case Done(value=value):
                self.frame.succeed(index, value)
            case Failed(error=error, task_id=task_id, attempts=attempts):
                beside = self.run_context.failures.take_beside(error)
                if beside.failures:
                    self.frame.gaps.beside[index] = beside.failures
                if beside.maps:
                    self.frame.gaps.maps[index] = beside.maps
                self.frame.fail(index, error, (task_id, attempts))
                is_told = self.run_context.failures.has(error)
                if beside.failures and is_told:  # so the others are not handled either
                    look_behind(self.run_context, self.frame, index)
            case Skipped(reason=reason):
                self.frame.skip(index, reason, None)
            case Cancelled(reason=reason):
                if reason is None and not self.conditions.is_cut_off:  # by nothing else than the end of the run
                    self.run_context.lifecycle.halt()
                self.frame.fail(index, None)


def is_to_blame(run_context: RunContext, name: str, error: BaseException) -> bool:
    """Whether *error*, a cancellation that hit a task after the node *name* had run there, is that node's doing.

    Then it is a failure of the node, though it has ended.
    """
    outcome = classify(error, name)
    if not isinstance(outcome, Failed):
        return False
    note = f"of {name!r} in run {run_context.run_id!r}, which had ended"
    run_context.failures.fail_node(attrs.evolve(outcome, task_id=name), note)
    return True


def look_behind(run_context: RunContext, frame: Frame, index: int) -> None:
    """A node has no value for failures: see that these are failures of the run, unless they are handled here too.

    When a failure was handled, it may not have been known that the node is wanted.
    """
    handling, failures = frame.handling, run_context.failures
    behind = handling.failures_behind(index) if handling.is_possible else ()
    if not behind or frame.gaps.told is behind:
        return
    for failed in behind:
        if not failures.has(failed.error) and not handling.is_handled(index, failed.error):
            run_context.progress.failed_maps += frame.gaps.maps_failed_with(failed.error)
            failures.add_node(failed)
    if all(failures.has(failed.error) for failed in behind):
        frame.gaps.told = behind  # most likely those behind the next node are the same


def look_at_wanted(run_context: RunContext, frame: Frame, wanted: Iterable[int]) -> None:
    """A router has chosen nodes: see to the failures among what they wait for, which may have been handled so far.

    They are failures of the run from now on, and not only when those who need them could begin.
    """
    if not run_context.failures.was_any_handled:
        return
    agenda, seen = list(wanted), set[int]()
    while agenda and not run_context.lifecycle.is_halted:
        index = agenda.pop()
        if index not in seen:
            seen.add(index)
            agenda.extend(_look_at(run_context, frame, index))


def _look_at(run_context: RunContext, frame: Frame, index: int) -> Iterable[int]:
    """See to failures of a wanted node, and of what is part of it; returns the nodes that it still waits for."""
    if frame.gaps.is_failure(index):
        look_behind(run_context, frame, index)
        return ()
    if frame.status[index] == Status.RUNNING:
        _look_inside(run_context, frame.name(index))
    return () if frame.status[index] >= Status.RUNNING else _needs(frame, index)


def _needs(frame: Frame, index: int) -> Iterable[int]:
    """What a node needs, as things stand: a router needs less once it has chosen."""
    routing = frame.routing
    return (
        frame.graph.sources[index]
        if routing is None or index not in routing.choices
        else routing.racing.held(index)
    )


def _look_inside(run_context: RunContext, node_id: str) -> None:
    """See to what has failed in a node that runs: items of a map, nodes of a flow."""
    for nodes in run_context.lifecycle.nodes.live.below(node_id):
        for index in tuple(nodes.frame.gaps.errors):
            look_behind(run_context, nodes.frame, index)


def settle_router(run_context: RunContext, frame: Frame, index: int) -> None:
    """Record the failure of a router; the frame knows that already."""
    failed = frame.gaps.errors[index]
    what = "" if isinstance(failed.error, RaceFailed) else " while it chose a route"
    note = f"raised by {frame.name(index)!r}{what} in run {run_context.run_id!r}"
    is_handled = frame.handling.is_handled(index, failed.error)
    run_context.failures.fail_node(failed, note, is_handled=is_handled)
