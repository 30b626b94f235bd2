"""Those who do the work of a frame: they start nodes, each where it belongs, and settle what these give."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from types import CoroutineType
from typing import Any

import anyio
import attrs
from anyio import current_effective_deadline, current_time
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from cascade.graph.nested import PAUSE_EVERY, Hold, Steps
from cascade.graph.nodes import MapNode, Node
from cascade.model.errors import AttemptCancelled
from cascade.model.events import TaskBlocked, TaskExecutionStarted
from cascade.model.outcomes import Cancelled, Done, Failed, Skipped, SkipReason, Status
from cascade.model.tasks import Task
from cascade.planning.layout import Place
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.blockers import Blockers
from cascade.runtime.admission.claims import Applicant
from cascade.runtime.admission.pool import Amount
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.binding import Arguments, amounts, arguments_of, judge, passed_by
from cascade.runtime.execution.executor import LocalExecutor
from cascade.runtime.execution.node_run import Job, Saves, classify, live
from cascade.runtime.execution.returned import find_flow, is_flow
from cascade.runtime.execution.settle import Ending, Settled, leave, record, record_silently
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.fairness import SLICE, give_way
from cascade.runtime.foundation.frame import Frame
from cascade.runtime.foundation.replay import for_several
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.scheduling.antechamber import Antechamber
from cascade.runtime.scheduling.hot_loop import Turns
from cascade.runtime.scheduling.lanes import TURNED, LaneAttempt, LoopLane, ThreadLanes
from cascade.runtime.scheduling.map_items import Items, live_map
from cascade.runtime.scheduling.ready_queue import Queue

Bind = Callable[[int, Mapping[str, Any]], Arguments]


@attrs.define(eq=False)
class Crew:
    """Runs nodes of one frame.

    Attributes:
        execution: The run.
        frame: What is run.
        is_eager: Whether a node is launched as soon as it is ready.
        saves: What is to be done with the final value of the flow.
        window: How many nodes may be under way at once, if that is limited.
        bind: Gives the arguments of a node, with these resources open.
        claimed: Gives what a node claims.
        is_heard: Whether somebody is told of the nodes, so that events have to be made.
        group: Where nodes are started at present: entered by whoever has the crew run, for each time that it does.
    """

    execution: RunContext
    frame: Frame
    is_eager: bool
    saves: Saves
    window: int | None = None
    bind: Bind = attrs.field(kw_only=True)
    claimed: Callable[[Node], Mapping[str, Amount]] = attrs.field(kw_only=True)
    is_heard: bool = False
    group: TaskGroup = attrs.field(init=False)
    _queue: deque[int] = attrs.field(factory=deque)
    # Nodes that have been given to a task or a lane and not settled.
    _in_flight: int = 0
    _news: anyio.Event = attrs.field(factory=anyio.Event)
    _loop_lane: LoopLane = attrs.field(init=False)
    _threads: ThreadLanes = attrs.field(init=False)
    _antechamber: Antechamber = attrs.field(init=False)
    turns: Turns = attrs.field(init=False)
    _drains: bool = attrs.field(init=False)
    # Real seconds, from some moment on.
    _elapsed: Callable[[], float] = attrs.field(init=False)
    _admission: Admission = attrs.field(init=False)
    # As of the epoch: whether lanes may be used.
    _may_drain: bool = False
    _epoch: int = -1

    @bind.default
    def _bind_from_frame(self) -> Bind:
        return functools.partial(arguments_of, self.frame)

    @claimed.default
    def _claimed_in_frame(self) -> Callable[[Node], Mapping[str, Amount]]:
        return functools.partial(amounts, self.frame)

    def __attrs_post_init__(self) -> None:
        execution = self.execution
        self._admission = execution.admission
        self.turns = Turns(execution, self.frame)
        self._loop_lane = LoopLane(self)
        self._threads = ThreadLanes(self)
        self._antechamber = Antechamber(self.frame.ranks)
        # Each node waits for its own record, or is counted: then it needs a task that can wait.
        is_recorded = execution.store.journal is not None and execution.settings.durability == "task"
        is_local = isinstance(execution.shared.executor, LocalExecutor)
        pacer = execution.shared.pacer
        # In a simulation chance chooses who goes first, not a lane, and how long things take has no say in it.
        self._drains = is_local and not is_recorded and pacer is None and self.window is None
        self._elapsed = time.perf_counter if pacer is None else pacer.elapsed

    def node(self, index: int) -> Node:
        """The call *index*; routers are settled by the frame and come to no crew."""
        return self.frame.graph.node(index)  # type: ignore[return-value]

    def task(self, index: int) -> Task[..., Any]:
        """What the node calls."""
        return self.frame.graph.task(index)

    # -- the host ------------------------------------------------------------------------------------------

    async def run(self, indices: Iterable[int]) -> None:
        """Run those of *indices* that are ready, and in the eager schedule all that becomes ready by that.

        If cancelled, nothing of the run starts any more; what was started is left to the group.
        """
        self._queue.extend(indices)
        try:
            while True:
                self.absorb()
                journal = self.execution.store.journal
                is_slice = False
                if self.frame.backlog:  # before anything starts: it may be large, what nobody needs any more
                    is_slice = self._let_go_some()
                elif self._threads.reports:
                    is_slice = self._settle_some()
                elif self._queue and journal is not None and journal.is_full:
                    await journal.until_room()
                elif self._queue and self._has_room():
                    is_slice = self._start_some()
                elif self._in_flight:
                    self._news = anyio.Event()
                    await self._news.wait()
                    continue
                else:
                    break
                await (give_way() if is_slice else checkpoint())
        except BaseException:
            self.execution.lifecycle.halt()
            raise

    def tell(self) -> None:
        """There is something to do for the host."""
        self._news.set()

    def absorb(self) -> None:
        """Deal with what settling has led to, until nothing follows any more."""
        frame = self.frame
        while frame.news:
            news = frame.take_news()
            for index, error in news.faults:
                note = f"raised by {frame.name(index)!r} while it chose a route in run {self.execution.run_id!r}"
                self.execution.failures.fail_node(error, frame.name(index), note)
            if self.execution.lifecycle.is_halted:
                frame.unsettled += len(news.pruned)  # left, as all that had not begun
                return
            for index in news.pruned:
                record(self.execution, self._settled(index), Ending(Skipped(SkipReason.PRUNED)))
            if self.is_eager:
                self._queue.extend(news.ready)

    def _let_go_some(self) -> bool:
        """Let go of what nobody needs, for a slice at most; returns whether it took that long."""
        until = self._elapsed() + SLICE
        while self.frame.backlog:
            self.frame.let_go_some()
            if self._elapsed() > until:
                return True
        return False

    def _has_room(self) -> bool:
        return self.window is None or self._in_flight < self.window

    def _start_some(self) -> bool:
        """Start nodes from the queue, for a slice at most; returns whether it took that long."""
        frame, queue = self.frame, self._queue
        self._look_around()
        until = self._elapsed() + SLICE
        while queue and self._has_room():
            if self.execution.lifecycle.is_closing:
                queue.clear()
                return False
            index = queue.popleft()
            if frame.status[index] == Status.PENDING and not frame.pending[index]:
                self._start(index)
            if self._elapsed() > until:
                return True
        return False

    def _settle_some(self) -> bool:
        """Settle what threads have reported, for a slice at most; returns whether it took that long."""
        reports = self._threads.reports
        until = time.perf_counter() + SLICE
        while reports:
            report = reports.popleft()
            self.turns.count()
            if report is TURNED:
                continue
            self._in_flight += report.following is not None
            if report.seconds is not None and not self.is_heard:
                self.execution.shared.durations.learn(self.task(report.index).name, report.seconds)
            started = current_time() - (report.seconds or 0.0)
            if report.error is not None:
                self.failed(report.index, report.error, started)
            elif type(report.value) is CoroutineType:
                self.execution.tasks.spawn(self.group, self._await, report.index, report.value, started)
            elif report.is_flow:
                self.run_in_place(report.index, report.value, started)
            else:
                self._succeeded(report.index, report.value, started)
            if time.perf_counter() > until:
                return True
        return False

    # -- starting ------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        frame = self.frame
        place = frame.layout.places[index]
        if (place == Place.OWN or frame.has_gaps or frame.recorded) and self._settles_by_itself(index):
            return
        if self._may_use_lane(place):
            self._in_flight += 1
            frame.status[index] = Status.QUEUED
            lane = self._loop_lane if place == Place.LOOP else self._threads
            lane.feed(index)
            return
        if place != Place.OWN:
            task = self.task(index)
            if self._is_crowded(task):
                self._wait_behind(index, task)
                return
            self._antechamber.ask(task, index)
        self._in_flight += 1
        frame.status[index] = Status.RUNNING
        self.execution.tasks.spawn(self.group, self._live, index)

    def _settles_by_itself(self, index: int) -> bool:
        """Settle a node that is not to run: one that ended in an earlier run, or is skipped; whether it is one."""
        row = self.frame.graph.rows[index]
        if not (self.frame.has_gaps or self.frame.recorded or (isinstance(row, Node) and row.terms.conditions)):
            return False
        node = self.node(index)
        if index in self.frame.recorded:
            self._replay(index, node)
            return True
        try:
            skip = judge(self.frame, node)
        except Exception as error:  # a condition's truth is user code
            self._settle(index, Ending(Failed(error)))
            return True
        if skip is not None:
            record(self.execution, self._settled(index), Ending(Skipped(skip.reason)))
            self.frame.skip(index, skip.reason, skip.passed)
        return skip is not None

    def _may_use_lane(self, place: int) -> bool:
        if place == Place.LOOP:
            return self.may_drain()
        return place == Place.THREAD and self.may_use_threads()

    # -- waiting behind others -----------------------------------------------------------------------------

    def _is_crowded(self, task: Task[..., Any]) -> bool:
        # Without rules all who ask stand in one line, where the most urgent goes first, whatever its task.
        is_one_line = self.frame.ranks is not None and not self.execution.admission.holding.rules
        return not is_one_line and self._antechamber.is_full(task)

    def _wait_behind(self, index: int, task: Task[..., Any]) -> None:
        """Leave a node without a task as long as enough others of its kind ask for admission."""
        self.frame.status[index] = Status.QUEUED
        self._antechamber.wait(task, index)
        if index not in self._antechamber.told and self.execution.events.wants(TaskBlocked):
            admission, applicant = self.execution.admission, self.applicant(index)
            reason = admission.holding.reason(applicant, {})
            if reason is not None:
                self._antechamber.told.add(index)
                detail = Blockers(admission).first(applicant, {})
                self.execution.events.emit_node(TaskBlocked, self._settled(index), reason=reason, detail=detail)

    def _has_asked(self, index: int) -> None:
        """A node has been admitted, or asks no longer: let others ask."""
        task, place = self.task(index), self.frame.layout.places[index]
        all_at_once = self.execution.lifecycle.is_closing or self._may_use_lane(place)
        following = self._antechamber.leave(task, index, all_at_once=all_at_once)
        if following:
            for other in following:
                self.frame.status[other] = Status.PENDING
            self._queue.extendleft(reversed(following))
            self.tell()

    def _replay(self, index: int, node: Node) -> None:
        """Settle a node as it ended when the run was executed before; that is recorded, and no news."""
        frame = self.frame
        recalled = frame.recorded.pop(index)
        if recalled.reason is None:
            self.execution.progress.counts[Status.SUCCEEDED] += 1
            frame.succeed(index, recalled.value)
        else:
            self.execution.progress.counts[Status.SKIPPED] += 1
            frame.skip(index, recalled.reason, passed_by(frame, node, recalled.reason))

    async def _live(self, index: int) -> None:
        try:
            ending = await self._ending(index)
        except BaseException as error:  # pragma: no cover  # an interrupt between two steps
            ending = Ending(classify(error, self.frame.name(index)))
        self._has_asked(index)
        if self._is_left(index, ending):
            self._left()
            return
        ending = self._counted(ending)
        record(self.execution, self._settled(index), ending)
        journal = self.execution.store.journal
        if journal is not None and self.execution.settings.durability == "task":
            await journal.flush()
        self._enter(index, ending)
        self._left()

    async def _ending(self, index: int) -> Ending:
        node = self.node(index)
        job = self._job(index, node)
        if isinstance(node, MapNode):
            return await live_map(self.execution, self.frame, node, job, _run_items)
        ending = await live(self.execution, job)
        if index in self.frame.layout.tails and isinstance(ending.outcome, Done):
            await self.is_flow(index, ending.outcome.value)
        return ending

    def _job(self, index: int, node: Node) -> Job:
        layout = self.frame.layout
        name, digest = self.frame.name(index), self.frame.digest(index)
        recovery, retry = self.execution.store.recovery, node.terms.retry
        if retry is not None or isinstance(node, MapNode):  # by each attempt, or by each item
            self.frame.read_again(node.data)
        return Job(
            name,
            node.task,
            node.terms,
            bind=functools.partial(self.bind, index),
            amounts=functools.partial(self.claimed, node),
            resources=layout.injecting.get(index, ()),
            rank=0.0 if self.frame.ranks is None else self.frame.ranks[index],
            save_later=self.saves.add if index in layout.tails else None,
            digest=digest,
            is_told_of=index in self._antechamber.told,
            on_admission=functools.partial(self._has_asked, index),
            keep=self._keeper(index),
            attempts=0 if recovery is None or retry is None else recovery.attempts(name, digest, retry),
        )

    # -- lanes ---------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Note what is in force; whoever begins to listen, changes a rule, or ends the run, changes the epoch."""
        execution = self.execution
        if self._epoch != self._admission.gate.epoch:
            self._epoch = self._admission.gate.epoch
            self.is_heard = not execution.is_silent()
            self._may_drain = (
                self._drains and not execution.lifecycle.is_closing and not self._admission.holding.rules
            )

    def may_drain(self) -> bool:
        """Whether plain nodes may run in lanes: the run goes on, and no rule stands."""
        if self._epoch != self._admission.gate.epoch:
            self._look_around()
        return self._may_drain

    def may_use_threads(self) -> bool:
        """Whether they may run in thread lanes, which are too quick for anybody who is told of each node."""
        return self.may_drain() and not self.execution.events.wants_attempts()

    def is_behind(self) -> bool:
        """Whether so much waits to be recorded that nothing should start; asked in any thread."""
        journal = self.execution.store.journal
        # What threads have reported and nobody has settled yet is on its way there.
        return journal is not None and journal.is_full_with(len(self._threads.reports))

    async def until_heard(self) -> bool:
        """Wait until no subscriber is full, and the journal is not; whether that took any waiting."""
        journal = self.execution.store.journal
        has_waited = journal is not None and journal.is_full
        if journal is not None:
            await journal.until_room()
        if self.execution.bus.full() is None:
            return has_waited
        await self.execution.admission.until_heard(self.execution.bus)
        return True

    def take_back(self, queue: Queue) -> None:
        """A lane has stopped: decide anew about what it has not begun."""
        if not queue and not self.frame.news and self._in_flight:
            return
        with suppress(IndexError):  # threads may take some of it, or give some back, at the same time
            while True:
                index = queue.popleft()
                self.frame.status[index] = Status.PENDING
                self._in_flight -= 1
                self._queue.append(index)
        self.tell()

    def settle_late(self) -> None:
        """Settle what threads have reported after the run was aborted, when the host waits for the group."""
        while self._threads.reports:
            self._settle_some()

    def lane_applicant(self, index: int) -> Applicant:
        """Who asks for a thread slot, on behalf of *index* and many other nodes."""
        execution = self.execution
        return Applicant(
            self.frame.name(index),
            "",
            "",
            execution.run_id,
            execution.bus,
            execution.beginning.ancestors,
            is_lane=True,
        )

    def applicant(self, index: int) -> Applicant:
        """Who a node is to those that count attempts."""
        return self.execution.applicant(self.frame.name(index), self.task(index))

    def begin(self, index: int) -> Task[..., Any]:
        """A lane begins with a node, on the loop."""
        self.frame.status[index] = Status.RUNNING
        if self.is_heard and self.execution.events.wants(TaskExecutionStarted):
            self.execution.events.emit_node(TaskExecutionStarted, self._settled(index))
        return self.task(index)

    async def is_flow(self, index: int, value: Any) -> bool:
        """Whether there are lazies in *value*, returned by the node *index*, that are to be run in its place."""
        return self._is_in_place(index, await is_flow(self.execution, value, self._keeper(index)))

    def find_flow(self, index: int, value: Any) -> Steps[bool]:
        """What :meth:`is_flow` says, found in steps; for threads."""
        return self._is_in_place(index, (yield from find_flow(self.execution, value, self._keeper(index))))

    def _is_in_place(self, index: int, has_lazies: bool) -> bool:
        if has_lazies and index in self.frame.layout.tails:
            self.frame.flow = index  # which goes on in place of the flow
            return False
        return has_lazies

    def _keeper(self, index: int) -> Callable[[Hold], None]:
        return functools.partial(self.frame.holds.keep, index)

    def run_in_place(self, index: int, value: Any, started: float) -> None:
        """Run the lazies in *value*, which the node *index* returned, and settle the node with what they give."""
        self.execution.tasks.spawn(self.group, self._run_in_place, index, value, started)

    async def _await(self, index: int, coroutine: Coroutine[Any, Any, Any], started: float) -> None:
        """Go on with a node whose function, called in a thread, gave a coroutine."""
        execution = self.execution
        attempt = LaneAttempt(
            execution, self.frame.name(index), self.task(index), current_effective_deadline(), current_time
        )
        attempt_var.set(attempt)
        execution.tasks.watch.add(attempt)
        try:
            value = await coroutine
            if is_cancelled():
                raise AttemptCancelled  # swallowed, or not seen yet: the result does not count
        except BaseException as error:
            self.failed(index, error, started)
            return
        finally:
            attempt.is_over = True
            execution.tasks.watch.remove(attempt)
        if await self.is_flow(index, value):
            await self._run_in_place(index, value, started)
        else:
            self._succeeded(index, value, started)

    async def _run_in_place(self, index: int, value: Any, started: float) -> None:
        try:
            ending = Ending(Done(await self.execution.run_flow(value, self.frame.name(index))), 1, started)
        except BaseException as error:
            ending = Ending(classify(error, self.frame.name(index)), 1, started)
        self._settle(index, ending)
        self._left()

    def follower(self, index: int, value: Any) -> int | None:
        """The node that alone goes on from *index*, whose value this is, in the same lane; asked in any thread.

        The value is no flow, or nobody waits for it.

        Nobody else starts it from then on.
        """
        frame = self.frame
        found = self._next(index) if self.is_eager else frame.layout.links.get(index)
        if found is None or frame.has_gaps or self.is_heard or self.execution.lifecycle.is_closing:
            return None
        if len(frame.graph.sources[index]) > PAUSE_EVERY:
            return None  # what it used is let go of first
        if frame.uses[index] > 1 and for_several(value) is not value:
            return None  # it becomes something that several can read, first
        frame.values[index] = value
        frame.status[found] = Status.QUEUED
        return found

    def _next(self, index: int) -> int | None:
        """A consumer that waits for nothing but *index* and has the same place."""
        frame = self.frame
        if frame.choices:
            return None
        places = frame.layout.places
        for consumer in frame.graph.consumers[index]:
            if frame.pending[consumer] == 1 and places[consumer] == places[index]:
                return consumer
        return None

    def ends_run(self, error: BaseException) -> bool:
        """Whether nothing may start after *error*; asked in any thread."""
        goes_on = self.execution.settings.on_error == "continue" and isinstance(error, Exception)
        return not goes_on or isinstance(error, AttemptCancelled)

    def done(self, index: int, value: Any, started: float) -> int | None:
        """A node has run in the loop lane; returns the node that goes on from it there."""
        following = self.follower(index, value)
        if following is not None:
            self._in_flight += 1
        self._succeeded(index, value, started)
        return following

    def failed(self, index: int, error: BaseException, started: float | None) -> None:
        """A node has failed in a lane, or (``started=None``) before it came to run."""
        attempts = 0 if started is None else 1
        self._settle(index, Ending(classify(error, self.frame.name(index)), attempts, started))
        self._left()

    def is_disturbed(self, index: int, error: BaseException) -> bool:
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

    # -- settling ------------------------------------------------------------------------------------------

    def _succeeded(self, index: int, value: Any, started: float) -> None:
        execution = self.execution
        is_told = self.is_heard and (execution.settings.strict_state or not execution.bus.is_silent())
        if is_told or execution.lifecycle.is_halted:
            self._settle(index, Ending(Done(value), 1, started))
        elif self.is_heard:
            record_silently(execution, self.frame, index, value, started)
            self.frame.succeed(index, value)
        else:
            execution.progress.counts[Status.SUCCEEDED] += 1
            self.frame.succeed(index, value)
        self._left()

    def _left(self) -> None:
        """A node has settled, and what follows from it is to be started."""
        self._in_flight -= 1
        # A queue that is longer is the host's, who gives way and heeds the journal: else each of many nodes that
        # settle at once would start others for a slice.
        may_start = self.window is not None or not self._queue
        news = self.frame.news
        if news.ready or news.pruned or news.faults:
            self.absorb()
        if may_start and self._queue and self._has_room() and not self.frame.backlog:
            self._start_some()
        if self._queue or not self._in_flight or self.frame.news or self.frame.backlog:
            self.tell()

    def _counted(self, ending: Ending) -> Ending:
        """*ending* as it counts: what succeeds after the run has ended is cancelled."""
        if not isinstance(ending.outcome, Done):
            return ending
        if self.execution.lifecycle.is_halted:
            return attrs.evolve(ending, outcome=Cancelled())
        if self.execution.settings.strict_state and self.execution.store.journal is not None:
            error = self.execution.store.journal.refusal(ending.outcome.value)
            return ending if error is None else attrs.evolve(ending, outcome=Failed(error))
        return ending

    def _is_left(self, index: int, ending: Ending) -> bool:
        """Whether the node is left unsettled, because the run drains."""
        execution = self.execution
        if (
            not execution.lifecycle.is_draining
            or execution.lifecycle.is_halted
            or not isinstance(ending.outcome, Cancelled)
        ):
            return False
        self.frame.status[index] = Status.PENDING
        leave(execution, self._settled(index), ending)
        return True

    def _settle(self, index: int, ending: Ending) -> None:
        if self._is_left(index, ending):
            return
        ending = self._counted(ending)
        record(self.execution, self._settled(index), ending)
        self._enter(index, ending)

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

    def _settled(self, index: int) -> Settled:
        frame = self.frame
        row = frame.graph.rows[index]
        retry = row.terms.retry if isinstance(row, Node) else None
        return Settled(
            frame.name(index), self.task(index), 1 if retry is None else retry.max_attempts,
            frame.digest(index), frame.is_recorded, index == frame.flow,
        )  # fmt: skip


async def _run_items(execution: RunContext, items: Items, frame: Frame) -> None:
    claimed = dict(amounts(items.frame, items.node))
    crew = Crew(
        execution, frame, is_eager=False, saves=Saves(), window=items.node.terms.concurrency,
        bind=items.bind, claimed=lambda _: claimed,
    )  # fmt: skip
    async with anyio.create_task_group() as crew.group:
        await crew.run(range(items.size))
