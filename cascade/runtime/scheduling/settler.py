"""Settles the nodes of a frame: records how each ended, and tells the frame."""

from __future__ import annotations

from typing import Any

import attrs

from cascade.graph.nodes import Node
from cascade.model.outcomes import Cancelled, Done, Failed, Skipped, SkipReason, Status
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.binding import judge, passed_by
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.settle import Ending, Settled, learn, learn_node, leave, record, record_silently
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.conditions import Conditions


@attrs.define(eq=False)
class Settler:
    """Settles the nodes of one frame.

    Attributes:
        execution: The run.
        frame: Whose nodes they are.
        conditions: Whether somebody is told of them.
    """

    execution: RunContext
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
        )  # fmt: skip

    def succeed(self, index: int, value: Any, started: float) -> None:
        """Settle a plain node that has run in a lane."""
        execution, is_heard = self.execution, self.conditions.is_heard
        is_told = is_heard and (execution.settings.strict_state or not execution.bus.is_silent())
        if is_told or execution.lifecycle.is_halted:
            self.settle(index, Ending(Done(value), 1, started))
            return
        if is_heard:
            record_silently(execution, self.frame, index, value, started)
        else:
            execution.progress.counts[Status.SUCCEEDED] += 1
            if self.conditions.is_timed:
                learn(execution, self.frame, index, execution.beginning.clock() - started)
        self.frame.succeed(index, value)

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
        journal = self.execution.store.journal
        if journal is not None and self.execution.settings.durability == "task":
            await journal.flush()
        self._enter(index, recorded)

    def _record(self, index: int, ending: Ending) -> Ending | None:
        """Record how a node ended; returns that as it counts, or ``None`` if a run that drains leaves the node."""
        if self._is_left(index, ending):
            return None
        ending = self._counted(ending)
        record(self.execution, self.subject(index), ending)
        learn_node(self.execution, self.frame, index, ending)
        return ending

    def settle_without_running(self, index: int) -> bool:
        """Settle a node that is not to run: one that ended in an earlier run, or is skipped; whether it is one."""
        frame, row = self.frame, self.frame.graph.rows[index]
        if not (frame.gaps.exist or frame.turn.recorded or (isinstance(row, Node) and row.terms.conditions)):
            return False
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
            record(self.execution, self.subject(index), Ending(Skipped(skip.reason)))
            frame.skip(index, skip.reason, skip.passed)
        return skip is not None

    def failure(self, index: int, error: BaseException, started: float | None) -> Ending:
        """How a node ends that *error* has ended in a lane, or (``started=None``) before it came to run."""
        return Ending(classify(error, self.frame.name(index)), 0 if started is None else 1, started)

    def prune(self, index: int) -> None:
        """Record a node that no route leads to; the frame knows that already."""
        record(self.execution, self.subject(index), Ending(Skipped(SkipReason.PRUNED)))

    def is_to_blame(self, index: int, error: BaseException) -> bool:
        """Whether *error*, a cancellation that hit a lane after a node had run there, is that node's doing.

        Then it is a failure of the node, though it has ended.
        """
        name = self.frame.name(index)
        outcome = classify(error, name)
        if not isinstance(outcome, Failed):
            return False
        note = f"of {name!r} in run {self.execution.run_id!r}, which had ended"
        self.execution.failures.fail_node(outcome.error, name, note)
        return True

    def _replay(self, index: int, node: Node) -> None:
        """Settle a node as it ended when the run was executed before; that is recorded, and no news."""
        frame, counts = self.frame, self.execution.progress.counts
        recalled = frame.turn.recorded.pop(index)
        if recalled.reason is None:
            counts[Status.SUCCEEDED] += 1
            frame.succeed(index, recalled.value)
        else:
            counts[Status.SKIPPED] += 1
            frame.skip(index, recalled.reason, passed_by(frame, node, recalled.reason))

    def _counted(self, ending: Ending) -> Ending:
        """*ending* as it counts: what succeeds after the run has ended is cancelled."""
        if not isinstance(ending.outcome, Done):
            return ending
        if self.execution.lifecycle.is_halted:
            return attrs.evolve(ending, outcome=Cancelled())
        journal = self.execution.store.journal
        if self.execution.settings.strict_state and journal is not None:
            error = journal.refusal(ending.outcome.value)
            return ending if error is None else attrs.evolve(ending, outcome=Failed(error))
        return ending

    def _is_left(self, index: int, ending: Ending) -> bool:
        """Whether the node is left unsettled, because the run drains."""
        lifecycle = self.execution.lifecycle
        if not lifecycle.is_draining or lifecycle.is_halted or not isinstance(ending.outcome, Cancelled):
            return False
        self.frame.status[index] = Status.PENDING
        leave(self.execution, self.subject(index), ending)
        return True

    def _enter(self, index: int, ending: Ending) -> None:
        """Tell the frame how a node ended."""
        match ending.outcome:
            case Done(value=value):
                self.frame.succeed(index, value)
            case Failed(error=error):
                self.frame.fail(index, error)
            case _:
                self.execution.lifecycle.halt()  # only the end of the run cancels a node
                self.frame.fail(index, None)
