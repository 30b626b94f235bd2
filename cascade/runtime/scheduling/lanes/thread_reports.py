"""Reports of worker threads on nodes, on their way to the event loop, where the nodes are settled.

They come in batches, with one wake-up for many. After an abort the scheduler no longer runs, and the task of each
lane settles what its thread has reported.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

import attrs
from anyio import current_effective_deadline, current_time
from anyio.lowlevel import EventLoopToken, current_token

from cascade.model.errors import AttemptCancelled
from cascade.model.outcomes import Done
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.fairness import SLICE
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.foundation.threads import wake_soon
from cascade.runtime.frame.frame import Ended
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.lane_attempt import LaneAttempt
from cascade.runtime.scheduling.lanes.owner import Owner

# Nodes that are settled at once.
_BATCH: Final = 64

# A node that has simply succeeded in a thread: its number, its value, the node that goes on from it in the thread,
# how many seconds it took, if that matters, and the thread, in words.
Success = tuple[int, Any, int | None, float | None, str]


@attrs.define(eq=False)
class Report:
    """How a node ended in a thread, if it has not simply succeeded.

    Attributes:
        index: The node.
        value: What it returned.
        error: What it raised.
        seconds: How long it took, if that matters.
        is_flow: Whether there are calls in the value that are to be run in its place.
        is_bound: Whether its arguments could be put together; else it never began.
        bound: These, if it failed or may yet.
        place: The thread in which it failed.
    """

    index: int
    value: Any
    error: BaseException | None = None
    seconds: float | None = None
    is_flow: bool = False
    is_bound: bool = True
    bound: Arguments | None = None
    place: str | None = None


@attrs.define(eq=False)
class ThreadReports:
    """Takes the reports of all threads that work for a scheduler, and settles the nodes on the event loop.

    Attributes:
        context: The frame whose nodes they are.
        owner: Its scheduler.
        arrived: The reports that are to be settled, oldest first.
    """

    context: FrameContext
    owner: Owner
    arrived: deque[Report | Success] = attrs.field(factory=deque)
    _token: EventLoopToken = attrs.field(factory=current_token)
    _is_told: bool = False

    def add(self, report: Report | Success) -> None:
        """Tell the owner, from a thread: it is woken once for many reports."""
        self.arrived.append(report)
        if not self._is_told:
            self._is_told = True
            wake_soon(self._token, self._tell)

    def is_awaited(self) -> bool:
        """Whether the loop has been woken, and has not gone on yet."""
        return self._is_told

    def _tell(self) -> None:
        # Here and nowhere else, so that as long as it is set, this is still to come.
        self._is_told = False
        self.owner.tell()

    def settle_some(self) -> bool:
        """Settle what has arrived, for a slice at most; returns whether it took that long."""
        arrived, until = self.arrived, time.perf_counter() + SLICE
        self.context.conditions.look()
        while arrived:
            if isinstance(arrived[0], Report):
                self._settle(arrived.popleft())  # type: ignore[arg-type]  # it is the one
            else:
                self._settle_successes()
            if time.perf_counter() > until:
                return True
        return False

    def _settle_successes(self) -> None:
        """Settle nodes that have simply succeeded, so many that it takes no slice."""
        arrived, now = self.arrived, current_time()
        ended: list[Ended] = []
        followed, nodes = 0, self.context.run_context.lifecycle.nodes
        is_cancelling = bool(nodes)  # which changes on the loop only, and so not in here
        while arrived and len(ended) < _BATCH and type(arrived[0]) is tuple:
            index, value, following, seconds, place = arrived.popleft()  # type: ignore[misc]  # no report
            followed += following is not None
            if is_cancelling and following is not None:
                nodes.has_gone_on(self.context.frame.name(index))
            ended.append((index, value, now - (seconds or 0.0), now, place))
        self.owner.done(ended, followed)

    def settle_late(self) -> None:
        """Settle all that has arrived, after the run was halted, when the scheduler does so no more."""
        while self.arrived:
            self.settle_some()

    def _settle(self, report: Report) -> None:
        context, index, value = self.context, report.index, report.value
        started = current_time() - (report.seconds or 0.0)
        if report.error is not None:
            began = started if report.is_bound else None
            self.owner.settle(
                index, context.settler.failure(index, report.error, began, report.bound, report.place)
            )
        elif not report.is_flow:  # a coroutine
            context.run_context.tasks.spawn(context.group, self._go_on, report, started)
        else:
            context.returned.run_in_place(context.group, index, value, started)

    async def _go_on(self, report: Report, started: float) -> None:
        """Go on with a node whose function, called in a thread, gave a coroutine."""
        context, index = self.context, report.index
        coroutine: Coroutine[Any, Any, Any] = report.value
        run_context, name, task = context.run_context, context.frame.name(index), context.frame.graph.task(index)
        attempt = LaneAttempt(run_context, name, task, current_effective_deadline(), current_time)
        attempt_var.set(attempt)
        run_context.tasks.watch.add(attempt)
        failure: Ending | None = None
        with run_context.lifecycle.nodes.scope() as scope:
            context.scopes.enter(index, scope)
            try:
                value = await coroutine
                if is_cancelled():
                    raise AttemptCancelled  # swallowed, or not seen yet: the result does not count
            except BaseException as error:  # user code may raise anything, and the node is settled with that
                failure = context.settler.failure(index, error, started, report.bound)
        context.scopes.leave(index)
        attempt.is_over = True
        run_context.tasks.watch.remove(attempt)
        if failure is not None:
            self.owner.settle(index, failure)
        elif await context.returned.is_flow(index, value):
            context.returned.run_in_place(context.group, index, value, started)
        else:
            self.owner.settle(index, Ending(Done(value), 1, started))
