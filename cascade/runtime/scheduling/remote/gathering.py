"""Which nodes go together in a batch to a worker."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import attrs
from anyio import current_effective_deadline, current_time

from cascade.graph.nodes import Node
from cascade.model.lazies import LazyResult
from cascade.model.outcomes import Status
from cascade.planning.layout import Place
from cascade.runtime.execution.attempt.remote_calls import RemoteCalls, carrier_of
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.remote_executor import AttemptInfo, Earlier, RemoteCall
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.lane_attempt import NO_RESOURCES, LaneAttempt
from cascade.runtime.scheduling.lanes.thread_lanes import thread_clock
from cascade.runtime.scheduling.ready_queue import Queue, RankedQueue
from cascade.runtime.scheduling.remote.batch import RemoteBatch

# Seconds that a batch is to take; and less than which is not worth the way, however few are ready; calls of one,
# and of a chain, whose task is not known yet; and calls of any.
_TARGET: Final = 0.1
_LEAST: Final = 0.01
_FIRST: Final = 16
_LONGEST: Final = 256
_MOST: Final = 1000
# A batch has at most one of so many parts, for each slot, of what is ready.
_PARTS: Final = 4


@attrs.define(eq=False)
class Gathering:
    """Takes nodes from a queue, batch by batch.

    Attributes:
        context: The frame whose nodes they are.
        remote: The executor.
        is_eager: Whether a node starts as soon as it is ready; else in its stage.
        settle: Takes a node that has ended as its arguments could not be put together.
        queue: The nodes that have not begun.
        alone: Nodes that make a batch each, as their batch was lost, or could not be read as a whole.
    """

    context: FrameContext
    remote: RemoteCalls
    is_eager: bool
    settle: Callable[[int, Ending], None]
    queue: Queue = attrs.field(init=False)
    alone: set[int] = attrs.field(factory=set)
    _ends_batch: bool = attrs.field(init=False)
    # For all batches: one that is lost is made anew, and its nodes have begun all the same.
    _announced: set[int] = attrs.field(factory=set)
    # Of the nodes of the present batch: seconds until the scopes around them end, and turns of the loops.
    _remaining: float = math.inf
    _turns: tuple[int, ...] = ()

    def __attrs_post_init__(self) -> None:
        frame = self.context.frame
        ranks, priorities = frame.turn.ranks, frame.layout.special.priorities
        if ranks is None and priorities is not None:
            ranks = [0.0] * len(priorities)
        self.queue = deque() if ranks is None else RankedQueue(ranks, priorities)
        goes_on = self.context.run_context.settings.on_error == "continue"
        self._ends_batch = not (goes_on or frame.handling.is_possible)

    def has_enough(self) -> bool:
        """Whether the queue has as many nodes as the next batch is to have once all that is ready is in it."""
        others = self.context.pace.others()
        return not others or len(self.queue) >= self._most(len(self.queue) + others)

    def _most(self, ready: int) -> int:
        """How many nodes the next batch has at most, of so many."""
        mean = self.remote.means.get(self.context.frame.graph.task(self.queue[0]))
        share = -(-ready // (_PARTS * self.remote.slots))
        if mean is None:
            return min(share, _FIRST)
        mean = max(mean, _TARGET / _MOST)
        return max(1, min(int(_TARGET / mean), max(share, int(_LEAST / mean))))

    def gather(self) -> RemoteBatch | None:
        """The next batch; ``None`` if there is nothing that can be called."""
        deadline = current_effective_deadline()
        self._remaining = deadline - current_time() if math.isfinite(deadline) else math.inf
        frame, queue, batch = (
            self.context.frame,
            self.queue,
            RemoteBatch(self.context, thread_clock(), self._announced),
        )
        if not queue:
            return None
        self._turns = tuple(self.context.run_context.progress.turns(frame.name(queue[0])))
        most, means = self._most(len(queue)), self.remote.means
        seconds = 0.0
        while queue and (not batch.indices or (len(batch.indices) < most and seconds < _TARGET)):
            if batch.indices and queue[0] in self.alone:
                break
            index = queue.popleft()
            if not self._add(batch, index):
                continue
            seconds += means.get(frame.graph.task(index), _TARGET / _FIRST)
            if index in self.alone:
                break
            seconds += self._add_followers(batch, index, _TARGET - seconds)
        for index in batch.indices:  # what stood in the place of values
            frame.values[index] = None
        return batch if batch.indices else None

    def _add_followers(self, batch: RemoteBatch, index: int, most: float) -> float:
        """Add the nodes that alone go on from *index*, for so many seconds at most; returns how many they take."""
        frame, seconds = self.context.frame, 0.0
        if frame.is_map or frame.gaps.exist:
            return seconds
        while seconds < most:
            found = self._follower(index)
            if found is None:
                break
            frame.values[index] = Earlier(len(batch.indices) - 1)
            batch.followers.add(len(batch.indices))
            self._add(batch, found)
            index = found
            seconds += self.remote.means.get(frame.graph.task(index), _TARGET / _LONGEST)
        return seconds

    def _add(self, batch: RemoteBatch, index: int) -> bool:
        """Add a node to *batch*, unless its arguments cannot be put together: then it has failed."""
        context, frame = self.context, self.context.frame
        try:
            args, kwargs = context.calls.bind(index, NO_RESOURCES)
        except Exception as error:  # records are put together by user code
            self.settle(index, context.settler.failure(index, error, None))
            return False
        frame.status[index] = Status.RUNNING
        batch.indices.append(index)
        batch.calls.append(self._call(batch, index, args, kwargs))
        return True

    def _call(self, batch: RemoteBatch, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RemoteCall:
        run_context, frame = self.context.run_context, self.context.frame
        name, task = frame.name(index), frame.graph.task(index)
        about = AttemptInfo(run_context.run_id, name, 1, self._turns, 0)
        call = RemoteCall(task, args, kwargs, about, remaining=self._remaining, ends_batch=self._ends_batch)
        if run_context.events.tracing is None:
            return call
        attempt = LaneAttempt(run_context, name, task, math.inf, current_time)
        batch.traced.append(attempt)
        return attrs.evolve(call, carrier=carrier_of(run_context, attempt))

    def _follower(self, index: int) -> int | None:
        """The node that alone goes on from *index* and can take the value there."""
        frame = self.context.frame
        if self.context.conditions.is_closing:
            return None
        found = self._next(index) if self.is_eager else frame.layout.links.get(index)
        if found is None or not _takes_it_whole(frame.graph.rows[found]):
            return None
        return found

    def _next(self, index: int) -> int | None:
        """A consumer that waits for nothing but *index* and runs there, too."""
        frame = self.context.frame
        if frame.routing is not None:
            return None
        for consumer in frame.graph.consumers[index]:
            if frame.readiness.pending[consumer] == 1 and frame.layout.places[consumer] == Place.REMOTE:
                return consumer
        return None


def _takes_it_whole(row: object) -> bool:
    """Whether what a call takes from others are arguments of their own, not parts of some."""
    if type(row) is LazyResult:
        return True
    node = cast("Node", row)
    return all(type(operand) is int for operand in (*node.operands, *(operand for _, operand in node.named)))
