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
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from types import CoroutineType
from typing import Any

import attrs
from anyio import current_effective_deadline, current_time, get_cancelled_exc_class

from cascade.graph.nested import LEAVES, glance
from cascade.model.calls.callee import Callee
from cascade.model.events import TaskExecutionStarted
from cascade.model.outcomes import Done, Status
from cascade.runtime.cancelling.scopes import NodeScope
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.fairness import SLICE, give_way
from cascade.runtime.foundation.step_in_context import AsyncCalls, step
from cascade.runtime.foundation.task_context import Token, attempt_var
from cascade.runtime.frame.frame import Ended
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.following import Following
from cascade.runtime.scheduling.lanes.lane_attempt import NO_RESOURCES, LaneAttempt
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.lanes.owner import Owner
from cascade.runtime.scheduling.lanes.waiting_nodes import WaitingNodes
from cascade.runtime.scheduling.settler import is_to_blame


@attrs.define(eq=False)
class Left:
    """A node that has been called and has not simply ended.

    Attributes:
        index: The node.
        started: Its start mark, if that matters; ``None`` if its arguments could not be put together.
        rest: What is left of its coroutine, which waits.
        attempt: Its attempt, if it waits.
        bound: What it was called with; ``None`` if it was not.
        value: What its function returned, if that has to be looked at closely.
        error: What it raised.
    """

    index: int
    started: float | None
    rest: Awaitable[Any] | None = None
    attempt: LaneAttempt | None = None
    bound: Arguments | None = None
    value: Any = None
    error: BaseException | None = None


@attrs.define(eq=False)
class LoopLane:
    """Drains async and inline nodes on the event loop.

    Attributes:
        context: The frame whose nodes they are.
        owner: Its scheduler.
        following: Which node goes on from another.
        queue: The nodes that have not begun.
    """

    context: FrameContext
    owner: Owner
    following: Following
    queue: deque[int] = attrs.field(factory=deque)
    _is_tended: bool = False
    # How many nodes have ended and are not counted, which if somebody is told, and how many of them another has
    # gone on from.
    _count: int = 0
    _ended: list[Ended] = attrs.field(factory=list)
    _followed: int = 0
    # When others had their turn.
    _since: float = 0.0
    _async_calls: AsyncCalls = attrs.field(factory=AsyncCalls)
    _waiting: WaitingNodes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waiting = WaitingNodes(self.context.run_context)

    def feed(self, index: int) -> None:
        """Take a node that is ready."""
        self.queue.append(index)
        if not self._is_tended:
            self._tend()

    def _tend(self) -> None:
        self._is_tended = True
        self.context.run_context.tasks.spawn(self.context.group, self._drain)

    async def _drain(self) -> None:
        """Run what is queued, until it is all begun; or until one waits, and then that one to its end."""
        with self.context.run_context.lifecycle.nodes.scope() as scope:
            await self._drain_within(scope)

    async def _drain_within(self, scope: NodeScope) -> None:
        queue, conditions = self.queue, self.context.conditions
        if is_cancelled():
            return  # before anything has begun; so is whoever waits for it
        run_context, deadline = self.context.run_context, current_effective_deadline()
        attempts = LaneAttempts(run_context, self._identify, current_time, deadline, scope=scope)
        self._since = time.perf_counter()
        is_tending = True
        following: int | None = None
        while True:
            if following is None and not is_tending:
                if self._is_tended:
                    return
                self._is_tended = is_tending = True  # nobody else is left: this task is free to go on
            if not conditions.may_use_lanes() or (following is None and not queue):
                break
            if conditions.is_heard and await conditions.until_heard():
                continue  # what may start has to be asked again
            last, following, left = self._call_some(attempts, following)
            if left is not None:
                has_waited = left.rest is not None
                following = await self._finish(left, attempts, hands_over=is_tending)
                is_tending = is_tending and not has_waited
                left = None  # with its value
                if scope.cancel_called:
                    return  # the node was cancelled, and this task can wait for nothing more
            if time.perf_counter() - self._since > SLICE:
                await self._give_way(last)
        if following is not None:
            queue.appendleft(following)
        if is_tending:
            self._is_tended = False
        self.owner.take_back(queue)

    def _identify(self, token: Token) -> tuple[str, Callee]:
        frame, index = self.context.frame, token[2]
        return frame.name(index), frame.graph.task(index)

    async def _give_way(self, index: int) -> None:
        try:
            await give_way()
        except get_cancelled_exc_class() as error:
            # The node that ran last may have cancelled the task that it found itself in.
            if not is_to_blame(self.context.run_context, self.context.frame.name(index), error):
                raise
        self._since = time.perf_counter()

    # -- nodes that simply end -----------------------------------------------------------------------------

    def _call_some(self, attempts: LaneAttempts, following: int | None) -> tuple[int, int | None, Left | None]:
        """Call nodes one after another, for a slice at most, and as long as nothing changes.

        Returns:
            The node that was called last, that which goes on from it, and itself if it has not simply ended.
        """
        lagging, outside = self.context.run_context.progress.lagging, attempt_var.set((attempts, None, 0, 0))
        lagging.add(untold := lambda: self._count)
        try:
            return self._call_each(attempts, following)
        finally:
            attempts.end()
            lagging.discard(untold)
            attempt_var.reset(outside)
            self._note()

    def _call_each(self, attempts: LaneAttempts, following: int | None) -> tuple[int, int | None, Left | None]:
        context, frame, queue, until = self.context, self.context.frame, self.queue, self._since + SLICE
        gate, conditions, bind = context.run_context.gate, context.conditions, context.calls.bind
        rows, status, succeed = frame.graph.rows, frame.status, frame.succeed
        mark, clock, epoch = attempt_var.set, time.perf_counter, gate.epoch
        is_heard, is_timed, traced = conditions.is_heard, conditions.is_timed, context.traced()
        now = context.run_context.beginning.clock if is_timed else _no_time
        while True:
            index, started = (queue.popleft() if following is None else following), None
            try:
                args, kwargs = bind(index, NO_RESOURCES)
                task: Callee = rows[index].task  # type: ignore[union-attr]  # routers are no calls
                status[index] = Status.RUNNING
                if is_heard:
                    self._announce(index)
                started = now()
                attempts.current = token = (attempts, None, index, 0)
                mark(token)
                value, rest = self._called(task.func if traced is None else traced(index), task, args, kwargs)
                if rest is not None:
                    return index, None, Left(index, started, rest, attempts.keep(token), (args, kwargs))
                if type(value) not in LEAVES and not glance(value):
                    return index, None, Left(index, started, value=value)
            except BaseException as error:  # user code may raise anything, and the node is settled with that
                bound = None if started is None else (args, kwargs)
                return index, None, Left(index, started, error=error, bound=bound)
            if gate.epoch != epoch and context.run_context.lifecycle.is_over_for(frame.name(index)):
                self._note()  # what had ended before
                conditions.look()
                started = started or context.run_context.beginning.clock()
            attempts.current = None  # who asks while arguments are put together is in no node
            following = self.following.node_after(index, value)
            if conditions.is_single:
                self.owner.done([(index, value, started, now())], following is not None)
                return index, following, None
            self._count += 1
            self._followed += following is not None
            if is_timed:
                self._ended.append((index, value if is_heard else None, started, now()))
            succeed(index, value)
            is_full = frame.demand.backlog or (is_heard and conditions.is_behind(len(self._ended)))
            if is_full or clock() > until or gate.epoch != epoch or (following is None and not queue):
                return index, following, None
            if attempts.asked:
                attempts.end()

    def _called(
        self, func: Callable[..., Any], task: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Awaitable[Any] | None]:
        """What a function gives, called in a copy of the present context; or what is left of it, if it waits."""
        context = copy_context()
        if task.is_async:
            return self._async_calls.begin(context, func, args, kwargs)
        value = context.run(func, *args, **kwargs)
        return step(context, value) if type(value) is CoroutineType else (value, None)

    def _announce(self, index: int) -> None:
        run_context = self.context.run_context
        if run_context.events.wants(TaskExecutionStarted):
            run_context.events.emit_node(TaskExecutionStarted, self.context.settler.subject(index))

    def _note(self) -> None:
        """Tell of the nodes that have ended, at the latest before this lane lets others run."""
        if self._count:
            count, ended, followed = self._count, self._ended, self._followed
            self._count, self._ended, self._followed = 0, [], 0
            self.owner.done(ended, followed, count)

    # -- nodes that do not -----------------------------------------------------------------------------------

    async def _finish(self, left: Left, attempts: LaneAttempts, *, hands_over: bool) -> int | None:
        """See a node to its end that has not simply ended; returns the node that goes on from it."""
        context, index, attempt = self.context, left.index, left.attempt
        started = left.started or context.run_context.beginning.clock()  # it has just begun
        if hands_over and attempt is not None:
            self._hand_over()
        try:
            if left.error is not None:
                raise left.error
            value = left.value
            if attempt is not None:
                assert left.rest is not None
                try:
                    context.scopes.enter(index, attempts.scope)
                    value = await self._waiting.value_of(attempt, left.rest)
                finally:
                    context.scopes.leave(index)
                    attempts.forget(attempt)
            is_flow = type(value) not in LEAVES and await context.returned.is_flow(index, value)
        except BaseException as error:  # user code may raise anything, and the node is settled with that
            self._failed(left, error, None if left.started is None else started)
            return None
        if is_flow:
            context.returned.run_in_place(context.group, index, value, started)
            return None
        context.conditions.look()
        following = self.following.node_after(index, value)
        now = context.run_context.beginning.clock() if context.conditions.is_timed else 0.0
        self.owner.done([(index, value, started, now)], following is not None)
        return following

    async def stay(
        self, attempt: LaneAttempt, rest: Awaitable[Any], scope: NodeScope, index: int, bound: Arguments | None
    ) -> None:
        """See a node to its end that was begun elsewhere, inside *scope*; *rest* gives its value.

        Args:
            attempt: Its attempt.
            rest: What is left of it.
            scope: What cancels it.
            index: The node.
            bound: What it was called with, if that is known.
        """
        context, started = self.context, self.context.run_context.beginning.clock()
        context.scopes.enter(index, scope)
        try:
            value = await self._waiting.value_of(attempt, rest)
            context.scopes.leave(index)
            attempt.is_over = True
            is_flow = type(value) not in LEAVES and await context.returned.is_flow(index, value)
        except BaseException as error:  # user code may raise anything, and the node is settled with that
            self._failed(Left(index, started, attempt=attempt, bound=bound), error, started)
            return
        if is_flow:
            context.returned.run_in_place(context.group, index, value, started)
        else:
            self.owner.settle(index, Ending(Done(value), 1, started))

    def _failed(self, left: Left, error: BaseException, started: float | None) -> None:
        if left.attempt is not None:
            left.attempt.is_over = True
            self.context.scopes.leave(left.index)
        self.owner.settle(left.index, self.context.settler.failure(left.index, error, started, left.bound))

    def _hand_over(self) -> None:
        """This task stays with a node that waits; another goes on with the rest."""
        self._is_tended = False
        if self.queue:
            self._tend()
        elif self.context.pace.is_chained:
            self.owner.tell()  # all have begun that the lane was given


def _no_time() -> float:
    """In place of a clock, if nobody is told when nodes start and end."""
    return 0.0
