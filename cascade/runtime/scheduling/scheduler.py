"""Scheduler of one frame: starts ready nodes in lanes or tasks, and settles what they give.

A node takes one of three ways: it is settled without running (skipped, or replayed from the store), it goes to a
lane, or it gets a task of its own. The schedules differ only in which nodes they hand over, and when.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import attrs
from anyio import current_time
from anyio.lowlevel import checkpoint

from cascade.model.outcomes import Done, Status
from cascade.planning.layout import Place
from cascade.runtime.cancelling.live import key_of
from cascade.runtime.cancelling.scopes import NodeScopes
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.execution.saves import Saves
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.fairness import SLICE, give_way
from cascade.runtime.frame.frame import Ended, Frame
from cascade.runtime.scheduling.chains.chains import Chains
from cascade.runtime.scheduling.chains.pace import Pace
from cascade.runtime.scheduling.conditions import Conditions
from cascade.runtime.scheduling.frame_context import Calls, FrameContext, NodeCalls
from cascade.runtime.scheduling.item_frames import ItemFrame
from cascade.runtime.scheduling.keeping import Keeping
from cascade.runtime.scheduling.lanes.following import Following
from cascade.runtime.scheduling.lanes.loop_lane import LoopLane
from cascade.runtime.scheduling.lanes.thread_lanes import ThreadLanes
from cascade.runtime.scheduling.live_frame import LiveFrame
from cascade.runtime.scheduling.map_items import Items
from cascade.runtime.scheduling.ready_queue import Queue, most_urgent_first
from cascade.runtime.scheduling.remote.remote_lanes import RemoteLanes
from cascade.runtime.scheduling.returned_values import ReturnedValues
from cascade.runtime.scheduling.settler import Settler, look_at_wanted, look_behind, settle_router
from cascade.runtime.scheduling.signal_waits import SignalWaits, under_way
from cascade.runtime.scheduling.tasks.node_tasks import NodeTasks


@attrs.define(eq=False)
class Scheduler:
    """Runs nodes of one frame.

    Attributes:
        context: The frame. Its ``group`` is entered by whoever calls :meth:`run`, for each call.
        is_eager: Whether a node is launched as soon as it is ready.
        saves: What is to be done with the final value of the flow.
        loop_lane: Runs async and inline nodes.
        live: Cancels nodes.
    """

    context: FrameContext
    is_eager: bool
    saves: Saves
    _queue: deque[int] = attrs.field(factory=deque)
    # Nodes that have been given to a task or a lane and not settled.
    _in_flight: int = 0
    _news: anyio.Event = attrs.field(factory=anyio.Event)
    loop_lane: LoopLane = attrs.field(init=False)
    _threads: ThreadLanes = attrs.field(init=False)
    # By place.
    _lanes: tuple[Any, ...] = attrs.field(init=False)
    _tasks: NodeTasks = attrs.field(init=False)
    live: LiveFrame = attrs.field(init=False)
    # Real seconds, from some moment on.
    _elapsed: Callable[[], float] = attrs.field(init=False)

    @classmethod
    def of(
        cls,
        run_context: RunContext,
        frame: Frame,
        saves: Saves,
        calls: Calls | None = None,
        *,
        is_eager: bool = False,
        window: int | None = None,
    ) -> Scheduler:
        """A scheduler of *frame*; *calls* are those of its nodes, by default."""
        # Each node waits for its own record, or is counted: then it needs a task that can wait.
        is_recorded = run_context.store.journal is not None and run_context.settings.durability == "task"
        is_local = isinstance(run_context.shared.executor, LocalExecutor)
        # In a simulation chance chooses who goes first, not a lane, and how long things take has no say in it.
        can_use_lanes = is_local and not is_recorded and run_context.shared.pacer is None and window is None
        conditions = Conditions(run_context, can_use_lanes, frame.turn.ranks is not None)
        settler = Settler(run_context, frame, conditions)
        # Where the run goes on after failures, what is below a map that fails does not run.
        may_follow = is_eager and not run_context.failures.goes_on
        keeps_all = run_context.store.journal is not None
        scopes = NodeScopes(lambda index: run_context.lifecycle.nodes.is_marked(frame, index))
        context = FrameContext(
            run_context,
            frame,
            NodeCalls(frame) if calls is None else calls,
            conditions,
            settler,
            ReturnedValues(run_context, frame, scopes),
            Chains(frame, frame.layout.special.chains if may_follow else {}, keeps_all),
            Pace(window),
            scopes,
            Keeping(run_context, frame, isinstance(frame, ItemFrame) and frame.may_stay),
            SignalWaits.of(run_context, frame, settler),
        )
        scheduler = cls(context, is_eager, saves)
        scheduler.live.enter()
        return scheduler

    def __attrs_post_init__(self) -> None:
        context = self.context
        pacer = context.run_context.shared.pacer
        context.returned.settle = self.settle
        following = Following(context.frame, context.conditions, self.is_eager)
        self.loop_lane = LoopLane(context, self, following)
        self._threads = ThreadLanes(context, self, following)
        self._lanes = (None, self.loop_lane, self._threads, *_remote_lanes(self))
        self._tasks = NodeTasks(context, self.saves, _run_items, self._start_again, self.left)
        self._elapsed = time.perf_counter if pacer is None else pacer.elapsed
        if context.waits is not None:
            context.waits.count_in_flight = lambda: self._in_flight
            context.waits.settled, context.waits.tell = partial(self.left, 0), self.tell
        context.chains.tell = context.pace.wake = self.tell
        queues: list[Queue] = [lane.queue for lane in self._lanes[1:]]
        context.pace.lanes = queues
        self.live = LiveFrame(context, self, self._tasks, queues)
        tracing = context.run_context.events.tracing
        if tracing is not None:
            tracing.watch(context.pace)
        readiness = context.frame.readiness
        context.pace.others = lambda: len(self._queue) + len(readiness.news.ready) + self._tasks.waiting()

    def let_go(self) -> None:
        """Forget the frame, of which nothing more is to come.

        Scheduler and lanes know each other: all values would stay until garbage is collected.
        """
        del self.context, self.loop_lane, self._threads, self._lanes, self._tasks, self.live

    # -- the loop ------------------------------------------------------------------------------------------

    async def run(self, indices: Iterable[int]) -> None:
        """Run those of *indices* that are ready, and in the eager schedule all that becomes ready by that.

        If cancelled, nothing of the run starts any more; what was started is left to the group.
        """
        self._queue.extend(most_urgent_first(indices, self.context.frame.layout.special.priorities))
        try:
            while True:
                self.absorb()
                work = self._next_work()
                if work is not None:
                    await (give_way() if work() else checkpoint())
                    continue
                if not self._queue and not self._in_flight and not self.context.is_open(is_eager=self.is_eager):
                    break
                self.context.pace.relieve()
                await self._until_work()
        except BaseException:
            if self.context.conditions.is_cut_off:
                self._threads.has_failed = True
            else:
                self.context.run_context.lifecycle.halt()
            raise

    def _next_work(self) -> Callable[[], bool] | None:
        """What is to be done first, for a slice at most; it says whether it took that long."""
        if self.context.frame.demand.backlog:  # before anything starts, as it may be large
            until = self._elapsed() + SLICE
            return lambda: self.context.frame.demand.let_go_until(lambda: self._elapsed() > until)
        if self._threads.reports.arrived:
            return self._threads.reports.settle_some
        if (
            self._queue
            and self.context.pace.has_room(self._in_flight)
            and not self.context.conditions.is_behind(0)
        ):
            return self._start_some
        return None

    async def _until_work(self) -> None:
        """Wait until there may be something to do: until the journal has room, or somebody tells of something."""
        journal = self.context.run_context.store.journal
        if self._queue and journal is not None and journal.is_full:
            await journal.until_room()
            await checkpoint()
            return
        self._news = anyio.Event()
        if self.context.waits is None:
            await self._news.wait()
        else:
            await self.context.waits.wait_for(self._news)

    def tell(self) -> None:
        """There is something to do for :meth:`run`."""
        self._news.set()

    def absorb(self) -> None:
        """Deal with what settling has led to, until nothing follows any more."""
        context, frame = self.context, self.context.frame
        run_context = context.run_context
        while frame.readiness.news:
            news = frame.readiness.take_news()
            for index, _ in news.faults:
                settle_router(run_context, frame, index)
            for index in news.without:
                look_behind(run_context, frame, index)
            look_at_wanted(run_context, frame, news.wanted)
            if run_context.lifecycle.is_halted:
                frame.readiness.unsettled += len(news.pruned)  # left, as all that had not begun
                return
            for index in news.pruned:
                context.settler.prune(index)
            if news.lost:
                self.live.lose(news.lost)
            if self.is_eager:
                self._queue.extend(most_urgent_first(news.ready, frame.layout.special.priorities))

    # -- starting ------------------------------------------------------------------------------------------

    def _start_some(self) -> bool:
        """Start nodes from the queue, for a slice at most; returns whether it took that long."""
        frame, queue, conditions = self.context.frame, self._queue, self.context.conditions
        conditions.look()
        until, pace, is_late = self._elapsed() + SLICE, self.context.pace, False
        is_free = pace.is_free
        while queue and not is_late and (is_free or pace.has_room(self._in_flight)):
            if conditions.is_closing:
                queue.clear()
                return False
            index = queue.popleft()
            if frame.status[index] == Status.PENDING and not frame.readiness.pending[index]:
                self._start(index)
            is_late = self._elapsed() > until
        if not queue:
            self._tasks.take_back_those_alone()
        return is_late

    def _start(self, index: int) -> None:
        context, frame = self.context, self.context.frame
        place = frame.layout.places[index]
        if place == Place.OWN and not context.chains.may_begin(index):
            return
        may_settle_now = place == Place.OWN or frame.gaps.exist or frame.turn.recorded
        if may_settle_now and context.settler.settle_without_running(index):
            return
        if context.conditions.may_use_place(place):
            self._in_flight += 1
            frame.status[index] = Status.QUEUED
            self._lanes[place].feed(index)
        elif index in frame.layout.special.signals and context.waits is not None:
            context.waits.wait(index)
        elif self._tasks.start(index):
            self._in_flight += 1

    def _start_again(self, indices: Sequence[int]) -> None:
        """Start nodes that have waited behind others, before the rest of the queue."""
        self._queue.extendleft(reversed(indices))
        self.tell()

    def take_back(self, queue: Queue) -> None:
        """A lane has stopped: decide anew about what it has not begun."""
        frame = self.context.frame
        if not queue and not frame.readiness.news and self._in_flight:
            return
        with suppress(IndexError):  # threads may take some of it, or give some back, at the same time
            while True:
                index = queue.popleft()
                frame.status[index] = Status.PENDING
                self._in_flight -= 1
                self._queue.append(index)
        self.tell()

    def take_over(self, values: Iterable[tuple[int, Any]], running: int | None) -> None:
        """Nodes have been called elsewhere before any is run here: all of the first stages, some of the next.

        Args:
            values: Those that have ended, and what they gave.
            running: One that has not, and will be settled here.
        """
        self.context.conditions.look()
        now = current_time()
        ended: list[Ended] = [(index, value, now, now, None) for index, value in values]
        if self.context.run_context.lifecycle.nodes:  # one of them may be cancelled, and has only now ended
            for index, value, _, _, _ in ended:
                self.context.settler.settle(index, Ending(Done(value), 1, now))
        else:
            self.context.settler.note(len(ended), ended if self.context.conditions.is_heard else ())
            self.context.frame.succeed_all(ended)
        self.context.frame.turn.settled_before += len(ended)
        if running is not None:
            self._in_flight += 1
            self.context.frame.status[running] = Status.RUNNING

    # -- settling ------------------------------------------------------------------------------------------

    def done(self, ended: Sequence[Ended], followed: int, known: int = 0) -> None:
        """Nodes have succeeded in a lane: see :class:`Owner`."""
        self._in_flight += followed
        if known:
            self.context.settler.note(known, ended)
        else:
            self.context.settler.succeed(ended)
        self.left(known or len(ended))

    def settle(self, index: int, ending: Ending) -> None:
        """A node has ended."""
        self.context.settler.settle(index, ending)
        self.left()

    def left(self, count: int = 1) -> None:
        """Nodes have settled, or were left; what follows from them is to be started."""
        self._in_flight -= count
        if self.context.waits is not None:
            self.context.run_context.signals.look_up()  # nothing but signals may be left to wait for
        # A queue that is longer is up to `run`, which gives way and heeds the journal: else each of many nodes
        # that settle at once would start others for a slice.
        pace = self.context.pace
        may_start = pace.window is not None or not self._queue
        frame = self.context.frame
        news = frame.readiness.news
        if news:
            self.absorb()
        if may_start and self._queue and pace.has_room(self._in_flight) and not frame.demand.backlog:
            self._start_some()
        pace.relieve()
        if self._queue or not self._in_flight or frame.readiness.news or frame.demand.backlog:
            self.tell()


def _remote_lanes(scheduler: Scheduler) -> Iterable[RemoteLanes]:
    """The lanes of the remote executor, if there is one."""
    executor = scheduler.context.run_context.shared.executor
    if isinstance(executor, LocalExecutor) and executor.remote is not None:
        yield RemoteLanes(scheduler.context, scheduler, executor.remote, scheduler.is_eager)


async def _run_items(run_context: RunContext, items: Items, frame: ItemFrame) -> None:
    window, is_fed = items.node.terms.concurrency, frame.intake is not None
    scheduler = Scheduler.of(run_context, frame, Saves(), items, is_eager=is_fed, window=window)
    scheduler.context.pace.follow(frame.supply, frame.intake)
    try:
        async with anyio.create_task_group() as scheduler.context.group:
            with under_way(scheduler.context.waits):
                await scheduler.run(() if is_fed else range(items.size))
    finally:
        run_context.lifecycle.nodes.leave(key_of(frame))
