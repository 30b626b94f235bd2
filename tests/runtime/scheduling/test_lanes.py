"""Lanes at the moments when several of them, the loop and rules meet."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from contextlib import ExitStack
from typing import Any, Literal

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from real_time import hold_thread

import cascade
from cascade.control import ControlPlane
from cascade.graph.nested import PAUSE_EVERY
from cascade.runtime.execution.attempt.timing import Timing
from cascade.runtime.scheduling.conditions import Conditions
from cascade.runtime.scheduling.lanes import loop_lane, thread_lane
from cascade.runtime.scheduling.lanes.thread_lanes import ThreadLanes
from cascade.runtime.scheduling.lanes.thread_reports import Report, Success

pytestmark = pytest.mark.loop

Mode = Literal["thread", "inline"] | None


async def test_a_lane_that_finds_nothing_left_when_it_comes_takes_no_slot(
    monkeypatch: pytest.MonkeyPatch, schedule: Any
) -> None:
    others_may_go_on = threading.Event()
    lanes: list[ThreadLanes] = []
    found: list[int] = []
    feed, until_heard = ThreadLanes.feed, Conditions.until_heard

    def notice(self: ThreadLanes, index: int) -> None:
        lanes.append(self)
        feed(self, index)

    async def until_nothing_is_left(self: Conditions) -> bool:
        found.append(len(lanes[0].queue))
        if len(found) == 2:  # the second lane, which came as the first was stuck
            others_may_go_on.set()
            while lanes[0].queue:
                await checkpoint()
        return await until_heard(self)

    monkeypatch.setattr(ThreadLanes, "feed", notice)
    monkeypatch.setattr(Conditions, "until_heard", until_nothing_is_left)

    @cascade.task
    def work(n: int) -> int:
        others_may_go_on.wait(20)
        return n

    assert await cascade.run([work(n) for n in range(50)], schedule=schedule) == list(range(50))
    assert len(found) >= 2
    assert found[1] > 0


class ReportsTakenAtOnce(deque[Report | Success]):
    """The reports of lanes; who brings the first one is stopped before it can say so."""

    def __init__(self, brought: threading.Event, go_on: threading.Event) -> None:
        super().__init__()
        self.brought, self.go_on = brought, go_on

    def append(self, report: Report | Success) -> None:
        super().append(report)
        if isinstance(report, tuple) and report[1] == "first":
            self.brought.set()
            self.go_on.wait(20)


async def test_a_report_that_is_taken_before_it_is_announced_keeps_no_later_one_from_being_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brought, go_on = threading.Event(), threading.Event()
    make = ThreadLanes.__attrs_post_init__

    def with_such_reports(self: ThreadLanes) -> None:
        make(self)
        self.reports.arrived = ReportsTakenAtOnce(brought, go_on)

    monkeypatch.setattr(ThreadLanes, "__attrs_post_init__", with_such_reports)

    @cascade.task
    def first() -> str:
        return "first"

    @cascade.task
    def second() -> str:  # whose report wakes the host, which takes that of the first one too
        brought.wait(20)
        return "second"

    @cascade.task
    def third() -> str:
        go_on.wait(20)
        return "third"

    async with cascade.start([first(), second(), third()]) as run:
        with anyio.fail_after(60):
            while run.status().counts["succeeded"] < 2:
                await checkpoint()
            go_on.set()
            assert await run.result() == ["first", "second", "third"]


@pytest.mark.parametrize("observed", [False, True])
async def test_what_threads_report_after_the_abort_counts(*, observed: bool) -> None:
    both = threading.Barrier(2, timeout=20)

    @cascade.task
    def fails() -> None:
        both.wait()
        raise ValueError("first")

    @cascade.task
    def fails_when_told() -> None:
        both.wait()
        try:
            while True:
                cascade.checkpoint()
                hold_thread(0.0001)  # until the abort
        except BaseException:
            raise KeyError("second") from None

    async with cascade.start([fails(), fails_when_told()]) as run:
        stream = run.subscribe(cascade.TaskExecutionStarted, buffer=100) if observed else None
        with pytest.raises(ValueError, match="first"):
            await run.result()
        if stream is not None:
            stream.close()
    assert run.status().counts["failed"] == 2
    assert len(run.status().failures) == 2


@pytest.mark.parametrize("change", ["rule", "subscriber"])
async def test_nodes_that_queue_behind_a_function_that_blocks_go_on_when_lanes_may_not(change: str) -> None:
    release, some = threading.Event(), threading.Event()
    done: list[int] = []

    @cascade.task
    def blocks() -> None:
        release.wait(30)

    @cascade.task
    def quick(number: int) -> None:
        some.wait(20)
        done.append(number)

    engine = cascade.Engine(max_threads=2)
    flow = [blocks(), *[quick(number) for number in range(50)]]
    async with engine, engine.start(flow) as run:
        with ExitStack() as stack, anyio.fail_after(60):
            while len(run.status().running) < 2:
                await checkpoint()
            if change == "rule":
                await engine.control.limit("task:other", concurrency=1)
            else:
                stack.callback(run.subscribe(cascade.TaskExecutionStarted, buffer=1000).close)
            some.set()
            while len(done) < 50:
                await checkpoint()
        release.set()
        await run.result()


def spinning(mode: Mode, begun: list[int]) -> cascade.LazyResult[Any]:
    """A loop without end."""

    @cascade.task(name="spin", mode=mode)
    def spin(number: int) -> Any:
        begun.append(number)
        return spin(number + 1)

    @cascade.task(name="spin")
    async def spin_on_the_loop(number: int) -> Any:
        begun.append(number)
        return spin_on_the_loop(number + 1)

    return spin_on_the_loop(0) if mode is None else spin(0)


@pytest.mark.parametrize("how", ["pause", "drain"])
@pytest.mark.parametrize("mode", [None, "inline", "thread"])
async def test_no_turn_begins_once_a_hot_loop_has_been_told_to_stop(
    mode: Mode, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lanes give way after each turn: in between is when they are told.
    monkeypatch.setattr(loop_lane, "SLICE", 0.0)
    monkeypatch.setattr(thread_lane, "TURN", 0.0)
    begun: list[int] = []
    async with cascade.start(spinning(mode, begun)) as run:
        for moment in (10, 200, 500):
            with anyio.fail_after(60):
                while len(begun) < moment:
                    await checkpoint()
            if how == "pause":
                await run.pause()
            else:
                run.drain()
            with anyio.fail_after(60):
                while run.status().running:  # whose mark was set before may still be on its way into the function
                    await checkpoint()
            seen = len(begun)
            for _ in range(20):
                await run_sync(time.sleep, 0)  # a thread has its turn, and so has the loop
            assert len(begun) == seen
            if how == "drain":
                break
            await run.resume()
        run.cancel()


@pytest.mark.parametrize("mode", [None, "thread"])
async def test_a_limit_counts_a_turn_as_the_task_that_it_calls(mode: Mode) -> None:
    release = threading.Event()
    running: list[int] = []
    most: list[int] = []

    def begin(number: int) -> None:
        running.append(number)
        most.append(len(running))

    @cascade.task(name="worker", mode="thread")
    def works(number: int) -> int:
        begin(number)
        release.wait(20)
        running.remove(number)
        return number

    @cascade.task(name="worker")
    async def works_on_the_loop(number: int) -> int:
        begin(number)
        while not release.is_set():
            await checkpoint()
        running.remove(number)
        return number

    worker: Any = works_on_the_loop if mode is None else works

    @cascade.task(name="starter", mode="thread")
    def starts(number: int) -> Any:
        return worker(number)

    @cascade.task(name="starter")
    async def starts_on_the_loop(number: int) -> Any:
        return worker(number)

    starter: Any = starts_on_the_loop if mode is None else starts
    engine = cascade.Engine()
    async with engine, engine.start(starter(1)) as first:
        with anyio.fail_after(60):
            while not running:
                await checkpoint()
            await engine.control.limit("task:worker", concurrency=1)
            async with engine.start(worker(2)) as second:
                while not any(explanation.blockers for explanation in second.explain()):
                    await checkpoint()
                release.set()
                assert await second.result() == 2
        assert await first.result() == 1
    assert max(most) == 1


async def test_nothing_starts_in_threads_while_a_subscriber_of_other_events_is_full() -> None:
    begun: list[int] = []

    @cascade.task
    def works(number: int) -> None:
        begun.append(number)
        hold_thread(0.0005)

    flow = [works(number) for number in range(2000)]
    async with cascade.start(flow, state="memory:", schedule="eager", max_threads=1) as run:
        stream = run.subscribe(cascade.StateRecorded, buffer=1)
        with anyio.fail_after(60):
            while not stream.statistics().unread or run.status().running:  # what was let through has begun
                await checkpoint()
        seen = len(begun)
        for _ in range(20):
            await run_sync(time.sleep, 0)
        assert len(begun) == seen < 2000
        stream.close()
        await run.result()
    assert len(begun) == 2000


class Odd(dict[str, Any]):
    """What a function returns, and cannot be taken apart."""

    def values(self) -> Any:
        raise RuntimeError("not to be seen")


@pytest.mark.parametrize("on_error", ["first", "continue"])
@pytest.mark.parametrize("mode", [None, "inline", "thread"])
async def test_a_value_that_cannot_be_taken_apart_is_a_failure_of_its_node(mode: Mode, on_error: Any) -> None:
    @cascade.task
    async def other() -> int:
        return 1

    @cascade.task(name="odd", mode=mode)
    def odd() -> Any:
        return Odd(x=other())

    @cascade.task(name="odd")
    async def odd_on_the_loop() -> Any:
        return Odd(x=other())

    @cascade.task
    async def uses(value: Any) -> None: ...

    flow = [uses(odd_on_the_loop() if mode is None else odd()), other()]
    async with cascade.start(flow, on_error=on_error) as run:
        with pytest.raises((RuntimeError, cascade.RunFailed)):
            await run.result()
    assert run.status().counts["failed"] == 1
    (failure,) = run.status().failures
    assert "not to be seen" in failure
    if on_error == "continue":
        assert run.status().counts["succeeded"] == 1


@pytest.mark.parametrize("mode", ["inline", "thread"])
async def test_a_value_without_calls_need_not_be_taken_apart(mode: Mode) -> None:
    @cascade.task(mode=mode)
    def odd() -> Any:
        return Odd(x=1)

    @cascade.task(mode=mode)
    def uses(value: Any) -> Any:
        return type(value)

    assert await cascade.run(uses(odd())) is Odd


class Big:
    """Something that can be watched going away."""


@pytest.mark.parametrize("mode", [None, "inline", "thread"])
async def test_very_many_results_are_gone_before_what_goes_on_from_their_consumer_starts(
    mode: Mode, schedule: Any
) -> None:
    alive: weakref.WeakSet[Big] = weakref.WeakSet()
    seen: list[int] = []

    @cascade.task(mode="inline")
    def make(number: int) -> Big:
        big = Big()
        alive.add(big)
        return big

    @cascade.task(mode="inline" if mode is None else mode)
    def combine(bigs: list[Big]) -> int:
        return len(bigs)

    @cascade.task(mode="inline" if mode is None else mode)
    def look(count: int, number: int) -> None:
        seen.append(len(alive))

    combined = combine([make(number) for number in range(3 * PAUSE_EVERY)])
    await cascade.run([look(combined, number) for number in range(20)], schedule=schedule)
    assert seen == [0] * 20


async def test_the_results_of_a_failed_run_are_those_that_somebody_wants_however_many_there_were(
    schedule: Any,
) -> None:
    @cascade.task(mode="inline")
    def make(number: int) -> int:
        return number

    @cascade.task(mode="inline")
    def fails(numbers: list[int]) -> None:
        raise ValueError

    kept = make(-1)
    flow = [kept, fails([make(number) for number in range(3 * PAUSE_EVERY)])]
    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(flow, schedule=schedule, on_error="group")
    assert list(caught.value.results.values()) == [-1]


async def test_a_thread_that_is_given_up_while_it_begins_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begins, go_on = threading.Event(), threading.Event()
    read_clock = Timing.read_in_thread
    ran: list[str] = []
    loop_thread = threading.current_thread()

    def with_a_slow_clock(self: Timing) -> Any:
        token = read_clock(self)
        clock = self.clock

        def slow() -> float:
            if threading.current_thread() is not loop_thread and self.started is None:
                begins.set()
                go_on.wait(20)
            return clock()

        self.clock = slow
        return token

    def let_go_on() -> None:
        hold_thread(0.05)  # the loop waits for the crossing by now
        go_on.set()

    monkeypatch.setattr(Timing, "read_in_thread", with_a_slow_clock)

    @cascade.task(abandon_on_cancel=True)
    def work() -> None:
        ran.append("work")

    events: list[str] = []
    engine = cascade.Engine(cleanup_timeout=5)
    async with engine:
        stream = engine.subscribe(buffer=100)
        async with engine.start(work()) as run:
            with anyio.fail_after(60):
                while not begins.is_set():
                    await checkpoint()
            threading.Thread(target=let_go_on).start()
            run.cancel()
        while stream.statistics().unread:
            events.append(type(stream.receive_nowait()).__name__)
        stream.close()
    told = ("TaskExecutionStarted", "TaskExecutionFinished", "RunFinished")
    assert [name for name in events if name in told] == list(told)
    with anyio.fail_after(60):
        while not ran:  # nobody waits for that thread any more
            await checkpoint()


@pytest.mark.parametrize("place", ["loop", "thread"])
async def test_what_follows_a_node_that_sets_a_rule_is_held_by_it(place: str, schedule: Any) -> None:
    plane, started = ControlPlane(), []

    @cascade.task
    async def pauses_on_the_loop() -> int:
        await plane.pause("task:follows")
        return 1

    @cascade.task
    def pauses_in_a_thread() -> int:
        anyio.from_thread.run(plane.pause, "task:follows")
        return 1

    @cascade.task(name="follows")
    async def follows_on_the_loop(value: int) -> int:
        started.append(value)
        return value

    @cascade.task(name="follows")
    def follows_in_a_thread(value: int) -> int:
        started.append(value)
        return value

    if place == "loop":
        flow = follows_on_the_loop(pauses_on_the_loop())
    else:
        flow = follows_in_a_thread(pauses_in_a_thread())
    with anyio.fail_after(60):
        async with cascade.start(flow, control=plane, schedule=schedule) as run:
            while run.status().counts["succeeded"] < 1:
                await checkpoint()
            while not any(why.startswith("paused by") for node in run.explain() for why in node.blockers):
                await checkpoint()
            assert started == []
            await plane.resume("task:follows")
            assert await run.result() == 1


async def test_a_rule_that_comes_while_a_lane_waits_for_a_thread_holds_its_nodes(schedule: Any) -> None:
    plane, started = ControlPlane(), []
    began, release = threading.Event(), threading.Event()

    @cascade.task
    def blocks() -> None:
        began.set()
        release.wait(20)

    @cascade.task
    def quick(n: int) -> int:
        started.append(n)
        return n

    engine = cascade.Engine(max_threads=1, control=plane, schedule=schedule)
    async with engine, engine.start(blocks()) as first:
        await anyio.to_thread.run_sync(began.wait)
        async with engine.start([quick(n) for n in range(3)]) as second:
            while len(list(engine._admission.queue.waiters())) < 1:
                await checkpoint()
            await plane.pause("task:quick")
            release.set()
            await first.result()
            while not any("pause" in why for node in second.explain() for why in node.blockers):
                await checkpoint()
            assert started == []
            await plane.resume("task:quick")
            assert await second.result() == [0, 1, 2]


async def test_of_many_who_run_only_those_are_reported_as_late_who_have_a_timeout(schedule: Any) -> None:
    release, has_waited = threading.Event(), anyio.Event()

    @cascade.task(timeout=0.001)
    def late() -> None:
        release.wait(20)

    @cascade.task
    def takes_its_time() -> None:
        release.wait(20)

    @cascade.task
    async def waits() -> None:
        await has_waited.wait()

    engine = cascade.Engine(cleanup_timeout=0.01, schedule=schedule)
    flow = [waits(), takes_its_time(), late()]
    with anyio.fail_after(60):
        async with engine, engine.start(flow) as run:
            async with run.subscribe(cascade.EngineWarning) as warnings:
                warning = await warnings.receive()
            release.set()
            has_waited.set()
            with pytest.raises(cascade.TaskTimeoutError):
                await run.result()
    assert isinstance(warning, cascade.EngineWarning)
    assert "'late' still runs although its timeout was 0.001 s" in warning.message


async def test_a_thread_leaves_a_chain_for_what_is_more_urgent_than_its_next_link() -> None:
    order: list[str] = []

    @cascade.task
    def link(name: str, _: object = None) -> None:
        order.append(name)

    long = link("long 4", link("long 3", link("long 2", link("long 1"))))
    short = link("short 2", link("short 1"))
    await cascade.run([long, short], max_threads=1, schedule="eager")
    assert order[:4] == ["long 1", "long 2", "long 3", "short 1"]
