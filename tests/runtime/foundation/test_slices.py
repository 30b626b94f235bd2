"""Who has the interpreter when a loop and threads both want it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from real_time import hold_thread

import cascade
from cascade.runtime.foundation import fairness
from cascade.runtime.scheduling.lanes import stuck, thread_lane, thread_lanes
from cascade.runtime.scheduling.lanes.stuck import STUCK, STUCK_AT_LAST
from cascade.runtime.scheduling.lanes.thread_lane import Stint
from cascade.runtime.scheduling.lanes.thread_lanes import ThreadLanes

pytestmark = pytest.mark.loop


class Clock:
    """Time that passes only when somebody sleeps, and then for as long as *overslept* says in addition."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.overslept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.overslept

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (fairness, stuck, thread_lane, thread_lanes):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def other_thread() -> Iterator[None]:
    """A thread that does nothing."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()


@pytest.mark.parametrize("works", [True, False], ids=["works", "waits"])
async def test_a_thread_steps_back_for_having_worked_and_not_for_having_waited(
    works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = 0

    def step_back(is_awaited: object) -> None:
        nonlocal times
        times += 1

    monkeypatch.setattr(thread_lane, "step_back", step_back)

    @cascade.task
    def work(number: int) -> None:
        if works:
            until = time.thread_time() + 2 * thread_lane.TURN
            while time.thread_time() < until:
                pass
        else:
            hold_thread(2 * thread_lane.TURN)

    await cascade.run([work(number) for number in range(20)], max_threads=1)
    assert times > 10 if works else times < 10


def test_a_thread_that_nobody_waits_for_goes_on_at_once(clock: Clock) -> None:
    fairness.step_back(lambda: False)
    assert clock.slept == [0]


def test_a_thread_steps_back_until_the_loop_that_it_has_woken_goes_on(clock: Clock) -> None:
    answers = iter([True, True, False])
    fairness.step_back(lambda: next(answers))
    assert len(clock.slept) == 3
    assert min(clock.slept[1:]) > 0


def test_a_thread_does_not_step_back_for_long(clock: Clock) -> None:
    fairness.step_back(lambda: True)
    assert sum(clock.slept) <= 0.002


@pytest.mark.usefixtures("other_thread")
async def test_a_thread_steps_back_for_a_loop_that_gives_way_until_that_goes_on(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_it_waits: list[float] = []

    def sleep(seconds: float) -> None:
        monkeypatch.setattr(clock, "sleep", while_it_waits.append)
        fairness.step_back(lambda: False)
        monkeypatch.undo()

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(fairness, "time", clock)
    await fairness.give_way()
    assert len(while_it_waits) > 1

    slept: list[float] = []
    monkeypatch.setattr(fairness, "time", SimpleNamespace(sleep=slept.append))
    fairness.step_back(lambda: False)
    assert slept == [0]


@pytest.mark.usefixtures("other_thread")
async def test_a_loop_whose_task_is_cancelled_while_it_gives_way_waits_no_more(clock: Clock) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await fairness.give_way()
    fairness.step_back(lambda: False)
    assert clock.slept == [0, 0]


async def test_a_loop_without_threads_gives_way_without_sleeping(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    await fairness.give_way()
    assert clock.slept == []


# -- lanes that are stuck --------------------------------------------------------------------------------------


def stuck_or_not(*lanes_there: Any) -> Any:
    """Lanes as they see each other: with something to do, and as many threads as these."""
    wait: Any = ThreadLanes._wait_until_stuck  # what it waits for cannot be brought about in time
    there = SimpleNamespace(queue=[1], _wanted=len(lanes_there), has_failed=False, _lanes=set(lanes_there))
    advance: Any = ThreadLanes._advance
    there._advance = lambda: advance(there)
    there.is_stuck = lambda: wait(there)
    return there


class Lane:
    """A thread that has begun *advance* nodes."""

    def __init__(self, advance: Iterator[int], is_aside: bool = False) -> None:
        self._advance = advance
        self.stint = Stint(is_aside=is_aside)

    @property
    def advance(self) -> int:
        return next(self._advance)


def stands_still() -> Iterator[int]:
    return itertools.repeat(1)


def test_threads_that_begin_nothing_are_stuck(clock: Clock) -> None:
    assert stuck_or_not(Lane(stands_still()), Lane(stands_still())).is_stuck()
    assert clock.now <= 3 * STUCK


def test_one_thread_that_goes_on_is_enough(clock: Clock) -> None:
    there = stuck_or_not(Lane(stands_still()), Lane(iter([1, 2, 3, 4, 4, 4, 4, 4])))
    assert there.is_stuck()
    assert clock.now >= 5 * STUCK


def test_threads_that_may_not_have_had_the_interpreter_are_not_stuck_yet(clock: Clock) -> None:
    clock.overslept = 2 * STUCK
    assert stuck_or_not(Lane(stands_still())).is_stuck()
    assert STUCK_AT_LAST <= clock.now <= 2 * STUCK_AT_LAST


def test_a_thread_that_lets_others_run_is_not_stuck(clock: Clock) -> None:
    lane = Lane(stands_still(), is_aside=True)
    there = stuck_or_not(lane)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now > 1:
            there.queue.clear()

    clock.sleep = sleep  # type: ignore[method-assign]
    assert not there.is_stuck()
