"""Hot turns: a loop whose turns have a shape that is known, made by straight-line code.

One task, or one thread, calls the nodes of a turn one after another, and goes on with the next turn as long as
that has a known shape (``turn_code``). Each node has context variables of its own; before each one it is looked
whether the run goes on and the gate is as it was.

Whatever is not as plain as that ends it: a rule or a listener, a failure, a value that has to be looked at
closely, a coroutine that really waits, a thread that is stuck while others of its stage could run. Then the rest
of the turn runs in a frame like any other, into which the values so far have been entered. So nothing has a
second meaning here.
"""

from __future__ import annotations

import math
import time
from typing import Any, Final, Protocol

import anyio
import attrs
from anyio import current_effective_deadline, get_cancelled_exc_class
from anyio.abc import TaskGroup

from cascade.graph.nested import glance, is_flat
from cascade.model.events import LoopProgress, StageFinished, StageStarted, StaticAnalysisWarning
from cascade.model.outcomes import Status
from cascade.runtime.cancelling.scopes import NodeScope
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.execution.binding import arguments_of
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.fairness import SLICE, give_way
from cascade.runtime.foundation.task_context import Token
from cascade.runtime.scheduling.lanes.lane_attempt import LaneAttempt
from cascade.runtime.scheduling.scheduler import Scheduler
from cascade.runtime.scheduling.settler import is_to_blame
from cascade.runtime.scheduling.turns.turn_steps import TurnSteps
from cascade.runtime.scheduling.turns.turn_stops import Stop

# Turns between two LoopProgress events.
PROGRESS_EVERY: Final = 1000


class Loop(Protocol):
    """The loop whose turns are made."""

    def resume(
        self, steps: TurnSteps, number: int, place: int, running: int | None, group: TaskGroup
    ) -> Scheduler:
        """A scheduler of the turn *number*, whose first *place* nodes have settled; one may be *running*."""
        ...


def may_be_hot(run_context: RunContext) -> bool:
    """Whether turns may be made without a frame: nobody is told of nodes, and no rule stands."""
    settings, journal, events = run_context.settings, run_context.store.journal, run_context.events
    return (
        not run_context.lifecycle.is_closing
        and not run_context.lifecycle.nodes
        and not run_context.admission.holding.rules
        and run_context.shared.pacer is None
        and isinstance(run_context.shared.executor, LocalExecutor)
        and settings.solver is None
        and (
            journal is None
            or (settings.durability != "task" and not settings.strict_state and not journal.is_full)
        )
        and run_context.bus.full() is None
        and not events.wants_attempts()
        and not events.wants(StaticAnalysisWarning)
        and not events.wants(StageStarted)
        and not events.wants(StageFinished)
    )


def is_plain(run_context: RunContext, value: Any) -> bool:
    """Whether there is certainly no placeholder in *value*, as far as that can be told at once."""
    known = glance(value)
    if known is None:
        return run_context.memory.hold.seen.knows(value) or is_flat(value)
    return known


@attrs.define(eq=False)
class HotTurns:
    """Turns of known shapes, made one after another on the event loop.

    Attributes:
        run_context: The run.
        loop: Its loop.
        steps: Calls the nodes.
        last: The turn that is not to be begun here, as its beginning is to be recorded.
        last_time: When that is so for any turn, by ``time.perf_counter``.
        done: Set when no more turns are made here.
        group: Where its task is started.
        scheduler: Runs the rest of the present turn, if that could not be made here.
    """

    run_context: RunContext
    loop: Loop
    steps: TurnSteps
    last: float = math.inf
    last_time: float = math.inf
    done: anyio.Event = attrs.field(factory=anyio.Event)
    group: TaskGroup = attrs.field(init=False)
    scheduler: Scheduler | None = None
    _attempt: LaneAttempt = attrs.field(init=False)
    # The node that has been begun here and will be settled there.
    _expected: int | None = None
    # Of the nodes and turns that have ended, how many have been counted.
    _counted: int = 0
    _told: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._told = self.steps.number - 1

    async def run(self) -> None:
        """Make turns, and stay with the node that does not simply end, if it comes to that."""
        with self.run_context.lifecycle.nodes.scope() as scope:
            await self._run_within(scope)

    async def _run_within(self, scope: NodeScope) -> None:
        steps = self.steps
        try:
            if is_cancelled():  # before anything has begun
                return
            while may_be_hot(self.run_context) and steps.begin():
                stop = await self._drive(self.run_context.gate.epoch)
                if stop is Stop.GIVEN or self._expected is not None:
                    await self._stay(scope)
                    return
                is_due = time.perf_counter() >= self.last_time and not steps.place
                if is_due or stop in (Stop.DUE, Stop.LEFT):
                    break
        finally:
            self.count()
            if self.scheduler is None and steps.turns is not None and steps.place:
                # Also if it is cancelled: what has ended counts, and is recorded.
                self._hand_over(steps.number, steps.place, None)
            self.done.set()

    async def _drive(self, epoch: int) -> Stop:
        """Make turns for a slice at most."""
        self.steps.attempts.ends_by = current_effective_deadline()
        stop = self.steps.drive(epoch, time.perf_counter() + SLICE, self.last)
        self.count()
        if stop is Stop.PAUSE:
            try:
                await give_way()
            except get_cancelled_exc_class() as error:
                # The node that ran last may have cancelled the task that it found itself in.
                if not is_to_blame(self.run_context, self.steps.last_name(), error):
                    raise
        return stop

    def _hand_over(self, number: int, place: int, running: int | None) -> None:
        """Have the turn *number* run in a frame from *place* on, apart from a node that is *running* here."""
        self.count()
        self.scheduler = self.loop.resume(self.steps, number, place, running, self.group)
        self.steps.leave()
        self.done.set()

    def _leave(self, token: Token) -> None:
        """Have the rest of the present turn run in a frame, apart from the node that runs here."""
        _, code, index, number = token
        self.steps.reach(number)
        self._expected, self._attempt = index, self.steps.attempts.attempt_of(token)
        self._hand_over(number, code.order.index(index), index)

    async def _stay(self, scope: NodeScope) -> None:
        """See a node to its end that has not simply ended, while the rest of the turn goes on."""
        steps = self.steps
        if self._expected is None:
            self._leave(steps.token())
        scheduler, index, attempt = self.scheduler, self._expected, self._attempt
        assert scheduler is not None
        assert index is not None
        attempt.claim = None  # a thread has given its slot back
        given, steps.given = steps.given, None
        assert given is not None
        may_fail = given.error is not None or given.rest is not None
        bound = arguments_of(scheduler.context.frame, index, {}) if may_fail else None
        if given.error is not None:
            attempt.is_over = True
            now = self.run_context.beginning.clock()
            ending = scheduler.context.settler.failure(index, given.error, now, bound)
            scheduler.settle(index, ending)
            return
        rest = given.rest or _returned(given.value)
        await scheduler.loop_lane.stay(attempt, rest, scope, index, bound)

    def untold(self) -> int:
        """How many nodes have ended here that have not been counted. Asked in any thread."""
        return 0 if self.scheduler is not None else self.steps.made() - self._counted

    def count(self) -> None:
        """Count the nodes and turns that have ended so far; on the loop."""
        steps, run_context = self.steps, self.run_context
        fresh, self._counted = steps.ended - self._counted, steps.ended
        run_context.progress.counts[Status.SUCCEEDED] += fresh
        before, self._told = self._told, steps.number - 1
        if before < self._told and steps.code is not None:
            progressed(run_context, steps.code.tasks[-1].name, before, self._told)


async def _returned(value: Any) -> Any:
    return value


def progressed(run_context: RunContext, task_name: str, before: int, turns: int) -> None:
    """Tell now and then how many turns a loop has made, if nobody is told of each node."""
    if before // PROGRESS_EVERY != turns // PROGRESS_EVERY and not run_context.events.wants_attempts():
        run_context.events.emit(LoopProgress, task_name=task_name, turns=turns)
