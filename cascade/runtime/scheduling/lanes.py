"""Lanes: plain nodes, one after another, in a task or a thread that they share.

A plain node needs nothing but a place to run, so it needs no task of its own and no hop of its own either. The
*loop lane* is a task that calls one function after another; when a coroutine really waits, that task stays with it
and another goes on with the rest. A *thread lane* is a worker thread that does the same for sync functions; while
all of them are stuck in functions that block, more are added.

Lanes change nothing in what a run means. Each node sees context variables of its own; before each one a lane looks
whether the run goes on and the gate is as it was, and if not, gives what is left back to the crew.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import attrs
from anyio import current_effective_deadline, current_time, get_cancelled_exc_class
from anyio.lowlevel import EventLoopToken, current_token

from cascade.graph.nested import LEAVES, glance
from cascade.model.errors import AttemptCancelled, CascadeError
from cascade.model.lazies import LazyResult
from cascade.model.outcomes import Status
from cascade.model.tasks import Task
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.claims import Claim, Holdings
from cascade.runtime.admission.pool import Slot
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.fairness import SLICE, give_way, step_back
from cascade.runtime.foundation.step_in_context import as_coroutine, resume
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.foundation.threads import in_thread, wake_soon
from cascade.runtime.scheduling.ready_queue import Queue, RankedQueue

if TYPE_CHECKING:
    from cascade.runtime.scheduling.scheduler import Crew

# Seconds for which a thread keeps the interpreter from others.
TURN: Final = 0.001
# Seconds without a node being begun, after which the threads there are count as stuck; and the same if somebody
# else may have kept the interpreter from them.
STUCK: Final = 0.0005
STUCK_AT_LAST: Final = 0.005
NO_RESOURCES: Final[Mapping[str, Any]] = {}


@attrs.define(eq=False)
class LaneAttempt:
    """The one attempt of a plain node."""

    surroundings: Any
    node_id: str
    task: Task[..., Any]
    ends_by: float
    clock: Callable[[], float]
    claim: Claim | None = None
    is_over: bool = False
    number: int = 1

    @property
    def is_running(self) -> bool:
        """Whether its function has been called and has not ended."""
        return not self.is_over

    @property
    def run_id(self) -> str:
        """The run."""
        return str(self.surroundings.run_id)

    @property
    def turns(self) -> Sequence[int]:
        """Numbers of the turns that the loops around its node are in, the run's own first."""
        turns: Sequence[int] = self.surroundings.progress.turns(self.node_id)
        return turns

    def why_late(self) -> str | None:
        """Nothing: a plain node has no timeout."""
        return None

    def remaining(self) -> float:
        """Seconds to the effective deadline."""
        return self.ends_by - self.clock() if math.isfinite(self.ends_by) else self.ends_by

    def check(self) -> None:
        """Raise if it is cancelled."""
        if self.surroundings.lifecycle.is_halted:
            raise AttemptCancelled


@attrs.define(eq=False)
class LoopLane:
    """Drains async and inline nodes on the event loop.

    Attributes:
        crew: Whose nodes they are.
        queue: The nodes that have not begun.
    """

    crew: Crew
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
        self.crew.execution.tasks.spawn(self.crew.group, self._drain)

    async def _drain(self) -> None:
        """Run what is queued, until it is all begun; or until one waits, and then that one to its end."""
        crew, queue = self.crew, self.queue
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
            if not crew.may_drain():
                break
            if following is None and not queue:
                break
            if crew.is_heard and await crew.until_heard():
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
        crew.take_back(queue)

    async def _give_way(self, index: int) -> None:
        try:
            await give_way()
        except get_cancelled_exc_class() as error:
            # The node that ran last may have cancelled the task that it found itself in.
            if not self.crew.is_disturbed(index, error):
                raise
        self._since = time.perf_counter()

    async def _run(self, index: int, deadline: float, *, is_tending: bool) -> tuple[int | None, bool]:
        """Run one node; returns the node that goes on from it, and whether it waited."""
        crew = self.crew
        execution, turns = crew.execution, crew.turns
        task = crew.begin(index)
        has_waited = False
        started = execution.beginning.clock() if crew.is_heard else 0.0
        attempt: LaneAttempt | None = None
        name = crew.frame.name(index)
        try:
            args, kwargs = crew.bind(index, NO_RESOURCES)
            while True:
                attempt = LaneAttempt(execution, name, task, deadline, current_time)
                context = execution.tasks.base.copy()
                context.run(attempt_var.set, attempt)
                value = context.run(task.func, *args, **kwargs)
                if task.is_async or type(value) is CoroutineType:
                    coroutine = as_coroutine(value)
                    try:
                        yielded = context.run(coroutine.send, None)
                    except StopIteration as stop:
                        value = stop.value
                    else:
                        if is_tending and not has_waited:
                            self._hand_over()
                        has_waited = True
                        value = await self._wait(index, attempt, resume(context, coroutine, yielded))
                attempt.is_over = True
                if type(value) is not LazyResult:
                    break
                if time.perf_counter() - self._since > SLICE:
                    turns.count()
                    await give_way()
                    self._since = time.perf_counter()
                args = value.args
                if not turns.may_follow(value, args):
                    break
                name = turns.follow(value)
                task, kwargs = value.task, value.kwargs
            turns.count()
            is_flow = type(value) not in LEAVES and await crew.is_flow(index, value)
        except BaseException as error:
            self._failed(index, attempt, error, started)
            return None, has_waited
        if is_flow:
            crew.run_in_place(index, value, started)
            return None, has_waited
        return crew.done(index, value, started), has_waited

    def _failed(self, index: int, attempt: LaneAttempt | None, error: BaseException, started: float) -> None:
        if attempt is not None:
            attempt.is_over = True
        self.crew.turns.count()
        self.crew.failed(index, error, started)

    async def _wait(self, index: int, attempt: LaneAttempt, rest: Awaitable[Any]) -> Any:
        """The value of a coroutine that waits; it can be counted meanwhile."""
        execution = self.crew.execution
        execution.tasks.watch.add(attempt)
        if not self._waiting:
            execution.admission.gate.lanes.add(self)
        self._waiting[attempt] = None
        try:
            value = await rest
        finally:
            execution.tasks.watch.remove(attempt)
            claim = self._waiting.pop(attempt)
            if not self._waiting:
                execution.admission.gate.lanes.discard(self)
            if claim is not None:
                claim.release()
        if is_cancelled():
            raise AttemptCancelled  # swallowed, or not seen yet: the result does not count
        return value

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give each node that waits a claim."""
        for attempt, claim in self._waiting.items():
            if claim is None:
                applicant = self.crew.execution.applicant(attempt.node_id, attempt.task)
                self._waiting[attempt] = holdings.adopted(applicant, epoch)

    def _hand_over(self) -> None:
        """This task stays with a node that waits; another goes on with the rest."""
        self._is_tended = False
        if self.queue:
            self._tend()


@attrs.frozen
class Report:
    """How a node ended in a thread.

    Attributes:
        index: The node.
        value: What it returned.
        error: What it raised.
        following: The node that goes on from it in the thread.
        seconds: How long it took, if that matters.
        is_flow: Whether there are calls in the value that are to be run in its place.
    """

    index: int
    value: Any
    error: BaseException | None = None
    following: int | None = None
    seconds: float | None = None
    is_flow: bool = False


# Not about a node: turns have been made, and may be counted.
TURNED: Final = Report(-1, None)


@attrs.define(eq=False)
class ThreadLane:
    """One thread at work on the queue of :class:`ThreadLanes`.

    Attributes:
        advance: Counts the nodes it has begun; when that stands still, the thread is stuck in one.
        is_crossing: Whether it is between the gate and a function.
        is_aside: Whether it lets others run.
        index: The node it has begun last.
        turn: What it has gone on to call in place of that node, turn by turn.
        adopted: A claim for that node, if somebody has asked for one.
    """

    lanes: ThreadLanes
    claim: Claim
    ends_by: float
    clock: Callable[[], float]
    advance: int = 0
    is_crossing: bool = False
    is_aside: bool = False
    attempt: LaneAttempt | None = None
    index: int | None = None
    turn: Task[..., Any] | None = None
    adopted: Claim | None = None
    # When others had their turn, and the processor time of the thread when it let them.
    _since: float = 0.0
    _worked: float = 0.0

    @property
    def node_id(self) -> str:
        """The node that it runs."""
        return "" if self.attempt is None else self.attempt.node_id

    @property
    def is_running(self) -> bool:
        """Whether it runs a node."""
        return self.attempt is not None and self.attempt.is_running

    def why_late(self) -> str | None:
        """Nothing: plain nodes have no timeout."""
        return None

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give the node that runs a claim; called with the gate closed, so none follows it."""
        if self.adopted is None and self.index is not None:
            crew, task = self.lanes.crew, self.turn
            if task is None:
                applicant = crew.applicant(self.index)
            else:
                applicant = crew.execution.applicant(crew.frame.prefix + task.name, task)
            self.adopted = holdings.adopted(applicant, epoch)

    def run(self) -> None:
        """Run nodes until there are none, the gate changes, the run ends or somebody else wants the slot."""
        lanes = self.lanes
        queue = lanes.queue
        self._since, self._worked = time.perf_counter(), time.thread_time()
        following: int | None = None
        while True:
            # Crossing is announced before the gate is read, as in Attempt: no function begins after a pause.
            self.is_crossing = True
            if not lanes.may_go_on(self.claim.epoch):
                break
            try:
                index = queue.popleft() if following is None else following
            except IndexError:
                break
            self.advance += 1
            self.index, self.turn = index, None
            lanes.crew.frame.status[index] = Status.RUNNING
            self.is_crossing = False
            following = self._run(index)
            if following is not None and lanes.ranked is not None and lanes.ranked.outranks(following):
                queue.append(following)
                following = None
            if time.perf_counter() - self._since > TURN:
                self._step_back()
                if self.lanes.wants_thread():
                    break
        self.is_crossing = False
        if following is not None:
            queue.appendleft(following)

    def _run(self, index: int) -> int | None:
        """Run one node; returns the node that goes on from it."""
        lanes = self.lanes
        crew, execution, turns = lanes.crew, lanes.crew.execution, lanes.crew.turns
        task = crew.task(index)
        name = crew.frame.name(index)
        attempt: LaneAttempt | None = None
        began = None if lanes.ranked is None and not crew.is_heard else self.clock()
        try:
            args, kwargs = crew.bind(index, NO_RESOURCES)
            while True:
                self.attempt = attempt = LaneAttempt(execution, name, task, self.ends_by, self.clock, self.claim)
                context = execution.tasks.base.copy()
                context.run(attempt_var.set, attempt)
                value = context.run(task.func, *args, **kwargs)
                attempt.is_over = True
                if type(value) is not LazyResult:
                    break
                args = value.args
                if not turns.may_follow(value, args) or not self._may_turn(value.task):
                    break
                name = turns.follow(value)
                task, kwargs = value.task, value.kwargs
            taken = began and self.clock() - began
            is_flow = type(value) not in LEAVES and not glance(value) and self._is_flow(index, value)
        except BaseException as error:
            if attempt is not None:
                attempt.is_over = True
            if crew.ends_run(error):
                lanes.has_failed = True
            lanes.report(Report(index, None, error, seconds=began and self.clock() - began))
            return None
        is_over = not is_flow and type(value) is not CoroutineType  # the crew goes on with what a coroutine gives
        following = crew.follower(index, value) if is_over else None
        lanes.report(Report(index, value, None, following, taken, is_flow))
        return following

    def _is_flow(self, index: int, value: Any) -> bool:
        """Whether there are calls in *value*; other threads, the loop's first, have their turn meanwhile."""
        steps = self.lanes.crew.find_flow(index, value)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return bool(stop.value)
            if time.perf_counter() - self._since > TURN:
                self._step_back()

    def _step_back(self) -> None:
        # A thread that has only waited has kept the interpreter from nobody.
        if time.thread_time() - self._worked > TURN / 2:
            self.is_aside = True
            step_back(self.lanes.is_awaited)
            self.is_aside = False
            self._worked = time.thread_time()
        self._since = time.perf_counter()

    def _may_turn(self, task: Task[..., Any]) -> bool:
        """Whether to make another turn right here, a call of *task*: what :meth:`run` asks before another node."""
        if time.perf_counter() - self._since > TURN:
            self._step_back()
            self.lanes.report(TURNED)
            if self.lanes.wants_thread():
                return False
        self.is_crossing = True
        is_open = self.lanes.may_go_on(self.claim.epoch)
        if is_open:
            self.turn = task
        self.is_crossing = False
        return is_open


@attrs.define(eq=False)
class ThreadLanes:
    """Drains sync nodes in worker threads, each of which holds a thread slot.

    Attributes:
        crew: Whose nodes they are.
        queue: The nodes that have not begun.
        ranked: The same, if some of them are more urgent than others.
        reports: What threads have to say, for the crew.
        has_failed: Whether a node has failed in a way that ends the run.
    """

    crew: Crew
    queue: Queue = attrs.field(init=False)
    ranked: RankedQueue | None = attrs.field(init=False)
    reports: deque[Report] = attrs.field(factory=deque)
    has_failed: bool = False
    _token: EventLoopToken = attrs.field(factory=current_token)
    _lanes: set[ThreadLane] = attrs.field(factory=set)
    _wanted: int = 0
    _is_watched: bool = False
    _is_told: bool = False

    def __attrs_post_init__(self) -> None:
        ranks = self.crew.frame.ranks
        self.ranked = None if ranks is None else RankedQueue(ranks)
        self.queue = deque() if self.ranked is None else self.ranked

    def feed(self, index: int) -> None:
        """Take a node that is ready."""
        self.queue.append(index)
        if not self._wanted:
            self._add(1)
        elif not self._is_watched:
            self._is_watched = True
            self.crew.execution.tasks.spawn(self.crew.group, self._watch)

    def _add(self, count: int) -> None:
        for _ in range(count):
            self._wanted += 1
            self.crew.execution.tasks.spawn(self.crew.group, self._tend)

    async def _tend(self) -> None:
        """Be a lane, slot by slot, while there is anything to do."""
        execution = self.crew.execution
        gate = execution.admission.gate
        try:
            while self.queue and self.crew.may_use_threads():
                await self.crew.until_heard()
                claim = await self._slot()
                if claim is None:
                    return
                if not self.crew.may_use_threads():
                    claim.release()  # a rule has come while it waited for the slot
                    return
                lane = ThreadLane(self, claim, current_effective_deadline(), thread_clock())
                self._lanes.add(lane)
                gate.crossers.add(lane)
                execution.tasks.watch.add(lane)
                gate.lanes.add(lane)
                try:
                    await in_thread(lane.run, execution.shared.lane_limiter)
                finally:
                    self._lanes.remove(lane)
                    execution.tasks.watch.remove(lane)
                    gate.crossers.remove(lane)
                    gate.lanes.remove(lane)
                    claim.release()
                    if lane.adopted is not None:
                        lane.adopted.release()
                    if execution.lifecycle.is_halted:
                        self.crew.settle_late()
                if self.has_failed:
                    return
        finally:
            self._wanted -= 1
            if not self._wanted or not self.crew.may_use_threads():
                self.crew.take_back(self.queue)

    async def _slot(self) -> Claim | None:
        """A thread slot; none if nothing is left, or if there can be none: then all that is queued fails."""
        crew = self.crew
        try:
            first = self.queue[0]
        except IndexError:  # another lane's thread has taken it in this very moment
            return None
        try:
            applicant = crew.lane_applicant(first)
            return await admit(crew.execution.admission, applicant, {Slot.THREAD: 1}, _say_nothing)
        except DrainedError:
            return None
        except CascadeError as error:
            for index in self._taken():
                crew.failed(index, error, None)
            return None

    def _taken(self) -> Iterator[int]:
        """What is queued, taken node by node; threads may take some of it at the same time."""
        with suppress(IndexError):
            while True:
                yield self.queue.popleft()

    def may_go_on(self, epoch: int) -> bool:
        """Whether a lane that was admitted under *epoch* may begin another node. Asked in its thread."""
        execution = self.crew.execution
        may_start = (
            execution.admission.gate.epoch == epoch and not execution.lifecycle.is_halted and not self.has_failed
        )
        return may_start and not self.crew.is_behind()

    def wants_thread(self) -> bool:
        """Whether somebody else could start with the slot of one of these threads. Asked in any thread."""
        return self.crew.execution.admission.queue.lacks_only(Slot.THREAD)

    def report(self, report: Report) -> None:
        """Tell the crew, from a thread: it is woken once for many reports."""
        self.reports.append(report)
        if not self._is_told:
            self._is_told = True
            wake_soon(self._token, self._tell)

    def is_awaited(self) -> bool:
        """Whether the loop has been woken, and has not gone on yet."""
        return self._is_told

    def _tell(self) -> None:
        # Here and nowhere else, so that as long as it is set, this is still to come.
        self._is_told = False
        self.crew.tell()

    async def _watch(self) -> None:
        """Add threads while all there are stuck, up to what the engine has."""
        try:
            most = self.crew.execution.settings.max_threads
            while self.queue and self._wanted and self._wanted < most:
                if await in_thread(self._wait_until_stuck, self.crew.execution.shared.lane_limiter):
                    self._add(min(self._wanted, most - self._wanted, len(self.queue)))
        finally:
            self._is_watched = False

    def _wait_until_stuck(self) -> bool:
        """In a thread, as time is virtual in some loops: whether all lanes are stuck while others could work."""
        seen: dict[ThreadLane, int] = {}
        since = 0.0
        while self.queue and self._wanted and not self.has_failed:
            before = time.perf_counter()
            time.sleep(STUCK)
            after = time.perf_counter()
            now = {lane: lane.advance for lane in tuple(self._lanes)}
            if now != seen or len(now) != self._wanted or any(lane.is_aside for lane in now):
                seen, since = now, after
            elif after - before < 2 * STUCK or after - since > STUCK_AT_LAST:
                return True
        return False


def thread_clock() -> Callable[[], float]:
    """The event loop's clock, as it can be read in threads."""
    offset = current_time() - time.perf_counter()
    return lambda: time.perf_counter() + offset


def _say_nothing(_: object) -> None:
    """A lane that waits for a slot is no node that waits."""
