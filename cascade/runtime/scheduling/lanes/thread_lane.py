"""One thread lane: a worker thread that calls sync nodes one after another.

It holds one thread slot. Each node's start mark is set as in an attempt: announce the crossing, read the epoch,
call the function. A lane that steps back to let others run does not count as stuck.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import copy_context
from types import CoroutineType
from typing import Any, Final, Protocol

import attrs

from cascade.graph.nested import LEAVES, glance
from cascade.model.errors import AttemptCancelled
from cascade.model.outcomes import Status
from cascade.runtime.admission.claims import Claim, Holdings
from cascade.runtime.execution.telling import this_thread
from cascade.runtime.foundation.fairness import step_back
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.following import Following
from cascade.runtime.scheduling.lanes.lane_attempt import NO_RESOURCES
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.lanes.thread_reports import Report, ThreadReports
from cascade.runtime.scheduling.ready_queue import Queue, RankedQueue

# Seconds for which a thread keeps the interpreter from others.
TURN: Final = 0.001


class Threads(Protocol):
    """All thread lanes of a scheduler, as one of them sees them. Methods are called in its thread.

    Attributes:
        context: The frame whose nodes they are.
        queue: The nodes that have not begun.
        ranked: The same, if some of them are more urgent than others.
        following: Which node goes on from another.
        reports: Takes how nodes ended.
        has_failed: Whether a node has failed in a way that ends the run.
    """

    context: FrameContext
    queue: Queue
    ranked: RankedQueue | None
    following: Following
    reports: ThreadReports
    has_failed: bool

    def may_go_on(self, epoch: int) -> bool:
        """Whether a lane that was admitted under *epoch* may begin another node."""
        ...

    def wants_thread(self) -> bool:
        """Whether somebody else could start with the slot of one of these threads."""
        ...


@attrs.define(eq=False)
class Stint:
    """How long a thread has kept the interpreter from others. Only that thread changes it.

    Attributes:
        since: When others had their turn.
        is_aside: Whether it lets others run now.
    """

    since: float = 0.0
    is_aside: bool = False
    # The processor time of the thread when it let others run.
    _worked: float = 0.0

    def begin(self) -> None:
        """The thread begins."""
        self.since, self._worked = time.perf_counter(), time.thread_time()

    def step_back(self, is_awaited: Callable[[], bool]) -> None:
        """Let others run, the loop first if it *is_awaited*."""
        # A thread that has only waited has kept the interpreter from nobody.
        if time.thread_time() - self._worked > TURN / 2:
            self.is_aside = True
            step_back(is_awaited)
            self.is_aside = False
            self._worked = time.thread_time()
        self.since = time.perf_counter()


@attrs.define(eq=False)
class ThreadLane:
    """One thread at work on a queue that it shares with others.

    Attributes:
        lanes: All of them.
        claim: Its slot.
        attempts: Those of its nodes.
        clock: The event loop's clock, as it can be read in threads.
        advance: Counts the nodes it has begun; when that stands still, the thread is stuck in one.
        is_crossing: Whether it is between the gate and a function.
        stint: How long it has kept the interpreter.
        index: The node it has begun last.
        adopted: A claim for that node, if somebody has asked for one.
        place: The thread, in words; empty before it runs.
    """

    lanes: Threads
    claim: Claim
    attempts: LaneAttempts
    clock: Callable[[], float]
    advance: int = 0
    is_crossing: bool = False
    stint: Stint = attrs.field(factory=Stint)
    index: int | None = None
    adopted: Claim | None = None
    place: str = ""
    # What gives what to call, if somebody traces.
    _traced: Callable[[int], Callable[..., Any]] | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._traced = self.lanes.context.traced()

    @property
    def node_id(self) -> str:
        """The node that it runs."""
        return "" if self.index is None else self.lanes.context.frame.name(self.index)

    @property
    def is_running(self) -> bool:
        """Whether it runs a node."""
        return self.attempts.current is not None

    def why_late(self) -> str | None:
        """Nothing: plain nodes have no timeout."""
        return None

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give the node that runs a claim; called with the gate closed, so none follows it."""
        if self.adopted is None and self.index is not None:
            frame = self.lanes.context.frame
            node_id, task = frame.name(self.index), frame.graph.task(self.index)
            applicant = self.lanes.context.run_context.applicant(node_id, task)
            self.adopted = holdings.adopted(applicant, epoch)

    def run(self) -> None:
        """Run nodes until there are none, the gate changes, the run ends or somebody else wants the slot."""
        lanes, stint, frame, attempts = self.lanes, self.stint, self.lanes.context.frame, self.attempts
        queue, ranked, status, clock = lanes.queue, lanes.ranked, frame.status, time.perf_counter
        epoch, call = self.claim.epoch, self._call
        stint.begin()
        self.place = this_thread()
        following: int | None = None
        while True:
            # Crossing is announced before the gate is read, as in Attempt: no start mark is set after a pause.
            self.is_crossing = True
            if not lanes.may_go_on(epoch):
                break
            try:
                index = queue.popleft() if following is None else following
            except IndexError:
                break
            self.advance += 1
            self.index = index
            status[index] = Status.RUNNING
            self.is_crossing = False
            following = call(index)
            attempts.end()
            if following is not None and ranked is not None and ranked.outranks(following):
                queue.append(following)
                following = None
            if clock() - stint.since > TURN:
                stint.step_back(lanes.reports.is_awaited)
                if lanes.wants_thread():
                    break
        self.is_crossing = False
        if following is not None:
            queue.appendleft(following)

    def _call(self, index: int) -> int | None:
        """Call one node; returns the node that goes on from it."""
        lanes, context = self.lanes, self.lanes.context
        task = context.frame.graph.task(index)
        began = None if lanes.ranked is None and not context.conditions.is_heard else self.clock()
        seconds, is_bound = None, False
        try:
            args, kwargs = context.calls.bind(index, NO_RESOURCES)
            is_bound, token = True, (self.attempts, None, index, 0)
            self.attempts.current = token
            attempt_var.set(token)
            func = task.func if self._traced is None else self._traced(index)
            value = copy_context().run(func, *args, **kwargs)
            seconds = began and self.clock() - began
            if type(value) not in LEAVES:
                is_flow = not glance(value) and self._is_flow(index, value)
                if is_flow or type(value) is CoroutineType:  # which goes on on the loop
                    bound = None if is_flow else (args, kwargs)
                    lanes.reports.add(Report(index, value, seconds=seconds, is_flow=is_flow, bound=bound))
                    return None
        except BaseException as error:  # user code may raise anything, and the node is settled with that
            if _ends_run(context, error):
                lanes.has_failed = True
            seconds = began and self.clock() - began
            bound = (args, kwargs) if is_bound else None
            took = seconds if is_bound else None
            lanes.reports.add(Report(index, None, error, took, is_bound=is_bound, bound=bound, place=self.place))
            return None
        following = lanes.following.node_after(index, value)
        lanes.reports.add((index, value, following, seconds, self.place))
        return following

    def _is_flow(self, index: int, value: Any) -> bool:
        """Whether there are calls in *value*; other threads, the loop's first, have their turn meanwhile."""
        steps = self.lanes.context.returned.find_flow(index, value)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return bool(stop.value)
            if time.perf_counter() - self.stint.since > TURN:
                self.stint.step_back(self.lanes.reports.is_awaited)


def _ends_run(context: FrameContext, error: BaseException) -> bool:
    """Whether nothing may start after *error*. Asked in any thread, so only the loop knows if it is handled."""
    if isinstance(error, AttemptCancelled):
        return context.run_context.lifecycle.is_halted  # else it is the end of that node only
    may_go_on = context.run_context.settings.on_error == "continue" or context.frame.handling.is_possible
    return not (may_go_on and isinstance(error, Exception))
