"""Thread lanes: sync nodes, called by as many worker threads as are needed to keep them from waiting.

While all threads are stuck in functions that block, more are added.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import attrs
from anyio import current_effective_deadline, current_time

from cascade.model.calls.callee import Callee
from cascade.runtime.admission.claims import Claim
from cascade.runtime.admission.pool import Slot
from cascade.runtime.foundation.task_context import Token
from cascade.runtime.foundation.threads import in_thread
from cascade.runtime.scheduling.frame_context import FrameContext
from cascade.runtime.scheduling.lanes.following import Following
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.lanes.lane_slot import slot_for
from cascade.runtime.scheduling.lanes.owner import Owner
from cascade.runtime.scheduling.lanes.stuck import wait_until_stuck
from cascade.runtime.scheduling.lanes.thread_lane import ThreadLane
from cascade.runtime.scheduling.lanes.thread_reports import ThreadReports
from cascade.runtime.scheduling.ready_queue import Queue, RankedQueue


@attrs.define(eq=False)
class ThreadLanes:
    """Drains sync nodes in worker threads, each of which holds a thread slot.

    Attributes:
        context: The frame whose nodes they are.
        owner: Its scheduler.
        following: Which node goes on from another.
        queue: The nodes that have not begun.
        ranked: The same, if some of them are more urgent than others.
        reports: What threads have to say.
        has_failed: Whether a node has failed in a way that ends the run.
    """

    context: FrameContext
    owner: Owner
    following: Following
    queue: Queue = attrs.field(init=False)
    ranked: RankedQueue | None = attrs.field(init=False)
    reports: ThreadReports = attrs.field(init=False)
    has_failed: bool = False
    _lanes: set[ThreadLane] = attrs.field(factory=set)
    _wanted: int = 0
    _is_watched: bool = False

    def __attrs_post_init__(self) -> None:
        frame = self.context.frame
        ranks, priorities = frame.turn.ranks, frame.layout.special.priorities
        if ranks is None and priorities is not None:
            ranks = [0.0] * len(priorities)
        self.ranked = None if ranks is None else RankedQueue(ranks, priorities)
        self.reports = ThreadReports(self.context, self.owner)
        self.queue = deque() if self.ranked is None else self.ranked

    def feed(self, index: int) -> None:
        """Take a node that is ready."""
        self.queue.append(index)
        if not self._wanted:
            self._add(1)
        elif not self._is_watched:
            self._is_watched = True
            self.context.run_context.tasks.spawn(self.context.group, self._watch)

    def _add(self, count: int) -> None:
        for _ in range(count):
            self._wanted += 1
            self.context.run_context.tasks.spawn(self.context.group, self._tend)

    async def _tend(self) -> None:
        """Be a lane, slot by slot, while there is anything to do."""
        conditions = self.context.conditions
        try:
            while self.queue and conditions.may_use_threads() and not self.has_failed:
                await conditions.until_heard()
                claim = await slot_for(self.context, self.owner, self.queue, {Slot.THREAD: 1})
                if claim is None:
                    return
                if not conditions.may_use_threads():
                    claim.release()  # a rule has come while it waited for the slot
                    return
                await self._be_lane(claim)
        finally:
            self._wanted -= 1
            if not self._wanted or not conditions.may_use_threads():
                self.owner.take_back(self.queue)

    async def _be_lane(self, claim: Claim) -> None:
        """Run nodes in a thread, as long as it may have the slot."""
        run_context = self.context.run_context
        gate, watch = run_context.gate, run_context.tasks.watch
        clock = thread_clock()
        attempts = LaneAttempts(run_context, self._identify, clock, current_effective_deadline(), claim)
        lane = ThreadLane(self, claim, attempts, clock)
        self._lanes.add(lane)
        gate.crossers.add(lane)
        watch.add(lane)
        gate.lanes.add(lane)
        try:
            base = run_context.tasks.base.copy()
            await in_thread(lambda: base.run(lane.run), run_context.shared.lane_limiter)
        finally:
            self._lanes.remove(lane)
            watch.remove(lane)
            gate.crossers.remove(lane)
            gate.lanes.remove(lane)
            claim.release()
            if lane.adopted is not None:
                lane.adopted.release()
            if run_context.lifecycle.is_halted or self.context.conditions.is_cut_off:
                self.reports.settle_late()

    def _identify(self, token: Token) -> tuple[str, Callee]:
        frame, index = self.context.frame, token[2]
        return frame.name(index), frame.graph.task(index)

    def may_go_on(self, epoch: int) -> bool:
        """Whether a lane that was admitted under *epoch* may begin another node. Asked in its thread."""
        run_context = self.context.run_context
        is_open = run_context.gate.epoch == epoch and not run_context.lifecycle.is_halted and not self.has_failed
        # What has been reported, and nobody has settled yet, is on its way to the journal.
        return is_open and not self.context.conditions.is_behind(len(self.reports.arrived))

    def wants_thread(self) -> bool:
        """Whether somebody else could start with the slot of one of these threads. Asked in any thread."""
        return self.context.run_context.admission.queue.lacks_only(Slot.THREAD)

    async def _watch(self) -> None:
        """Add threads while all there are stuck, up to what the engine has."""
        try:
            most = self.context.run_context.settings.max_threads
            while self.queue and self._wanted and self._wanted < most:
                if await in_thread(self._wait_until_stuck, self.context.run_context.shared.lane_limiter):
                    self._add(min(self._wanted, most - self._wanted, len(self.queue)))
        finally:
            self._is_watched = False

    def _wait_until_stuck(self) -> bool:
        """In a thread, as time is virtual in some loops: whether all lanes are stuck while others could work."""
        if not self.queue:  # by now: the end of short work must not wait for a sleep
            return False
        return wait_until_stuck(self._advance, time.sleep)

    def _advance(self) -> object:
        if not self.queue or not self._wanted or self.has_failed:
            return None
        lanes = tuple(self._lanes)
        if len(lanes) != self._wanted or any(lane.stint.is_aside for lane in lanes):
            return object()
        return [(lane, lane.advance) for lane in lanes]


def thread_clock() -> Callable[[], float]:
    """The event loop's clock, as it can be read in threads."""
    offset = current_time() - time.perf_counter()
    return lambda: time.perf_counter() + offset
