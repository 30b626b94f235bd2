"""The loop lane: async and inline nodes, called one after another in one task on the event loop.

A plain node needs nothing but a place to run: no task of its own. When a coroutine really waits, the task of the
lane stays with it, and another task goes on with the rest.

Lanes change nothing in what a run means. Each node sees context variables of its own; before each one a lane looks
whether the run goes on and the gate is as it was. If not, it gives what is left back to the scheduler.

It looks after it has let others run, never before: what happens in between counts. A thousand calls that wait are
a thousand tasks; a thousand calls that do not wait are one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable
from typing import Any

import attrs
from anyio import current_effective_deadline, current_time, get_cancelled_exc_class

from cascade.graph.nested import LEAVES
from cascade.model.calls.callee import Callee
from cascade.model.errors import AttemptCancelled
from cascade.model.events import TaskExecutionStarted
from cascade.model.lazies import LazyResult
from cascade.model.outcomes import Status
from cascade.runtime.admission.claims import Claim, Holdings
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.fairness import SLICE, give_way
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.following import Following
from cascade.runtime.scheduling.lanes.hot_loop import Turns
from cascade.runtime.scheduling.lanes.lane_attempt import NO_RESOURCES, LaneAttempt
from cascade.runtime.scheduling.lanes.owner import Owner


@attrs.define(eq=False)
class LoopLane:
    """Drains async and inline nodes on the event loop.

    Attributes:
        context: The frame whose nodes they are.
        owner: Its scheduler.
        turns: The turns that a lane makes of a loop.
        following: Which node goes on from another.
        queue: The nodes that have not begun.
    """

    context: FrameContext
    owner: Owner
    turns: Turns
    following: Following
    queue: deque[int] = attrs.field(factory=deque)
    _is_tended: bool = False
    # When others had their turn.
    _since: float = 0.0
    # Nodes that wait, and their claims if somebody has asked for such.
    _waiting: dict[LaneAttempt, Claim | None] = attrs.field(factory=dict)

    def feed(self, index: int) -> None:
        """Take a node that is ready."""
        self.queue.append(index)
        if not self._is_tended:
            self._tend()

    def _tend(self) -> None:
        self._is_tended = True
        self.context.execution.tasks.spawn(self.context.group, self._drain)

    async def _drain(self) -> None:
        """Run what is queued, until it is all begun; or until one waits, and then that one to its end."""
        queue, conditions = self.queue, self.context.conditions
        deadline = current_effective_deadline()
        if is_cancelled():
            return  # before anything has begun; so is whoever waits for it
        self._since = time.perf_counter()
        is_tending = True
        following: int | None = None
        while True:
            if following is None and not is_tending:
                if self._is_tended:
                    return
                self._is_tended = is_tending = True  # nobody else is left: this task is free to go on
            if not conditions.may_use_lanes():
                break
            if following is None and not queue:
                break
            if conditions.is_heard and await conditions.until_heard():
                continue  # what may start has to be asked again
            index = queue.popleft() if following is None else following
            following, has_waited = await self._run(index, deadline, is_tending=is_tending)
            is_tending = is_tending and not has_waited
            if time.perf_counter() - self._since > SLICE:
                await self._give_way(index)
        if following is not None:
            queue.appendleft(following)
        if is_tending:
            self._is_tended = False
        self.owner.take_back(queue)

    def _begin(self, index: int) -> Callee:
        context = self.context
        context.frame.status[index] = Status.RUNNING
        if context.conditions.is_heard and context.execution.events.wants(TaskExecutionStarted):
            context.execution.events.emit_node(TaskExecutionStarted, context.settler.subject(index))
        return context.frame.graph.task(index)

    async def _give_way(self, index: int) -> None:
        try:
            await give_way()
        except get_cancelled_exc_class() as error:
            # The node that ran last may have cancelled the task that it found itself in.
            if not self.context.settler.is_to_blame(index, error):
                raise
        self._since = time.perf_counter()

    async def _run(self, index: int, deadline: float, *, is_tending: bool) -> tuple[int | None, bool]:
        """Run one node; returns the node that goes on from it, and whether it waited."""
        owner, context, turns = self.owner, self.context, self.turns
        execution = context.execution
        task = self._begin(index)
        has_waited = False
        started = execution.beginning.clock() if context.conditions.is_timed else 0.0
        attempt: LaneAttempt | None = None
        name = context.frame.name(index)
        try:
            args, kwargs = context.calls.bind(index, NO_RESOURCES)
            while True:
                attempt = LaneAttempt(execution, name, task, deadline, current_time)
                value = attempt.call(args, kwargs, steps=True)
                if attempt.rest is not None:
                    hands_over, has_waited = is_tending and not has_waited, True
                    value = await self._wait(attempt, attempt.rest, hands_over=hands_over)
                attempt.is_over = True
                if type(value) is not LazyResult:
                    break
                if time.perf_counter() - self._since > SLICE:
                    await self._give_way_between_turns()
                if not turns.may_follow(value, value.args):
                    break
                name, args = turns.follow(value), value.args
                task, kwargs = value.task, value.kwargs
            turns.count()
            is_flow = type(value) not in LEAVES and await context.returned.is_flow(index, value)
        except BaseException as error:  # user code may raise anything, and the node is settled with that
            if attempt is not None:
                attempt.is_over = True
            turns.count()
            owner.settle(index, context.settler.failure(index, error, started))
            return None, has_waited
        if is_flow:
            context.returned.run_in_place(context.group, index, value, started)
            return None, has_waited
        following = self.following.node_after(index, value)
        owner.done(index, value, started, following)
        return following, has_waited

    async def _give_way_between_turns(self) -> None:
        self.turns.count()
        await give_way()
        self._since = time.perf_counter()

    async def _wait(self, attempt: LaneAttempt, rest: Awaitable[Any], *, hands_over: bool) -> Any:
        """The value of a coroutine that waits; it can be counted meanwhile."""
        if hands_over:
            self._hand_over()
        tasks, gate = self.context.execution.tasks, self.context.execution.gate
        tasks.watch.add(attempt)
        if not self._waiting:
            gate.lanes.add(self)
        self._waiting[attempt] = None
        try:
            value = await rest
        finally:
            tasks.watch.remove(attempt)
            claim = self._waiting.pop(attempt)
            if not self._waiting:
                gate.lanes.discard(self)
            if claim is not None:
                claim.release()
        if is_cancelled():
            raise AttemptCancelled  # swallowed, or not seen yet: the result does not count
        return value

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give each node that waits a claim."""
        for attempt, claim in self._waiting.items():
            if claim is None:
                applicant = self.context.execution.applicant(attempt.node_id, attempt.task)
                self._waiting[attempt] = holdings.adopted(applicant, epoch)

    def _hand_over(self) -> None:
        """This task stays with a node that waits; another goes on with the rest."""
        self._is_tended = False
        if self.queue:
            self._tend()
