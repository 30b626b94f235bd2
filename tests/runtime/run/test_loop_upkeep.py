"""What long loops leave behind: nothing; and what the engine says about resources it does not know."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
from observed import Observed, observe
from plain_tasks import give

import cascade
from cascade.model.policies import MISS


class Tracked:
    """Something that can be watched going away."""

    alive: weakref.WeakSet[Tracked]

    def __init__(self) -> None:
        self.alive.add(self)


Tracked.alive = weakref.WeakSet()


# -- memory ----------------------------------------------------------------------------------------------------


@cascade.task(mode="inline")
def make(_: Any = None) -> Tracked:
    return Tracked()


async def test_the_results_of_a_turn_are_gone_before_the_next_one_runs(schedule: Any) -> None:
    most = 0

    @cascade.task(mode="inline")
    def turn(n: int, *_: Any) -> Any:
        nonlocal most
        del _
        gc.collect()
        most = max(most, len(Tracked.alive))
        return turn(n - 1, give([make(make())]), make()) if n else "end"

    assert await cascade.run(turn(4), schedule=schedule) == "end"
    # The two arguments of the turn that is running: the engine calls it with them.
    assert most <= 2


@pytest.mark.parametrize("is_heard", [False, True], ids=["unheard", "heard"])
async def test_thousands_of_turns_take_no_more_memory_than_hundreds(is_heard: bool, schedule: Any) -> None:
    objects: list[int] = []
    size = 2_500

    @cascade.task(mode="inline")
    def turn(n: int, _: Any = None) -> Any:
        if n in (size - 500, 1):
            gc.collect()
            objects.append(len(gc.get_objects()))
        return turn(n - 1, give(n)) if n else "end"

    async def read(stream: Any) -> None:
        async for _ in stream:
            pass

    observers = [read] if is_heard else []
    assert await cascade.run(turn(size), schedule=schedule, observers=observers) == "end"
    early, late = objects
    # What the interpreter and others keep may move a little; a loop that leaks keeps an object per turn or more.
    assert late - early < 1000


class Forgetful:
    """A cache that finds nothing, and counts what it is to save."""

    def __init__(self) -> None:
        self.saved: list[int] = []

    async def check(self, task_id: str, inputs: Any) -> Any:
        return MISS

    async def save(self, task_id: str, inputs: Any, result: Any) -> None:
        assert result == "end"
        self.saved.append(inputs["n"])


@pytest.mark.parametrize("place", ["target", "inside"])
async def test_a_long_loop_of_cached_calls_keeps_the_first_and_the_last_of_them(place: str, schedule: Any) -> None:
    cache, most = Forgetful(), 0

    @cascade.task(cache=cache, mode="inline")
    def turn(n: int, _: Tracked) -> Any:
        nonlocal most
        if not n % 50:
            gc.collect()
            most = max(most, len(Tracked.alive))
        return turn(n - 1, Tracked()) if n else "end"

    flow = turn(300, Tracked())
    assert await cascade.run(flow if place == "target" else give(flow), schedule=schedule) == "end"
    # The call with which a loop inside a flow begins is a node of that flow.
    assert cache.saved == [*range(17), *range(285 if place == "target" else 284, 301)]
    assert most < 50


def defined_anew(mode: Any, n: int) -> Any:
    """A task that holds something of its own, and goes on as another one."""
    held = Tracked()

    def go_on(k: int) -> Any:
        if k < 300:
            return defined_anew(mode, k + 1)(k + 1)
        gc.collect()
        return [held, len(Tracked.alive)][1]

    async def in_task(k: int) -> Any:
        return go_on(k)

    def in_thread(k: int) -> Any:
        return go_on(k)

    decorate: Any = cascade.task() if mode == "async" else cascade.task(mode=mode)
    return decorate(in_task if mode == "async" else in_thread)


@pytest.mark.parametrize("mode", ["async", "thread", "inline"])
@pytest.mark.parametrize("observers", [0, 1], ids=["unheard", "heard"])
async def test_a_loop_may_define_its_tasks_anew_in_each_turn(mode: Any, observers: int, schedule: Any) -> None:
    async def read(stream: Any) -> None:
        async for _ in stream:
            pass

    gc.collect()
    alive = await cascade.run(defined_anew(mode, 0)(0), schedule=schedule, observers=[read] * observers)
    assert alive < 100


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["async", "thread", "inline"])
def test_a_million_turns_take_no_more_memory_than_a_thousand(mode: str, backend_name: str) -> None:
    blocks: list[int] = []
    size = 1_000_000

    def look(n: int) -> None:
        if n in (size - 1_000, 1):
            gc.collect()
            blocks.append(sys.getallocatedblocks())

    async def async_turn(n: int) -> Any:
        look(n)
        return again(n - 1) if n else "end"

    def turn(n: int) -> Any:
        look(n)
        return again(n - 1) if n else "end"

    decorate: Any = cascade.task(mode="inline") if mode == "inline" else cascade.task
    again = decorate(async_turn if mode == "async" else turn)
    assert cascade.run_sync(again(size), backend=backend_name) == "end"
    early, late = blocks
    # A loop that leaks a byte a turn keeps a million blocks.
    assert late - early < 5_000


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})])
async def test_tens_of_thousands_of_turns_need_no_stack(anyio_backend: Any) -> None:
    @cascade.task(mode="inline")
    def countdown(n: int) -> Any:
        return countdown(n - 1) if n else "end"

    assert await cascade.run(countdown(20_000), schedule="eager") == "end"


def warnings(seen: Observed) -> list[cascade.StaticAnalysisWarning]:
    """The warnings of unknown resources."""
    return [event for event in seen.recorded.of(cascade.StaticAnalysisWarning) if event.warning_code == "CS-W002"]


# -- CS-W002 ---------------------------------------------------------------------------------------------------


async def test_a_resource_without_total_is_unlimited_with_one_warning_per_name_and_run(schedule: Any) -> None:
    flow = [
        *[give(n).with_constraints(gpu=n + 1, cpu=1) for n in range(3)],
        give.map(value=[1, 2]).with_constraints(gpu=5),
        give(4).with_constraints(tape=give(2)),
    ]
    for _ in range(2):
        seen = await observe(flow, schedule=schedule, system_resources={"cpu": 1})
        assert seen.value == [0, 1, 2, [1, 2], 4]
        found = warnings(seen)
        assert sorted("gpu" if "'gpu'" in warning.message else "tape" for warning in found) == ["gpu", "tape"]
        assert all(warning.task_name == "give" for warning in found)


async def test_turns_of_a_loop_and_flows_in_flows_do_not_repeat_the_warning(schedule: Any) -> None:
    @cascade.task(mode="inline", constraints={"gpu": 1})
    def turn(n: int, _: Any = None) -> Any:
        return turn(n - 1, [turn(0)]) if n else "end"

    seen = await observe(turn(5), schedule=schedule)
    assert seen.value == "end"
    assert len(warnings(seen)) == 1


async def test_a_resource_that_is_managed_is_not_warned_of(schedule: Any) -> None:
    seen = await observe(give(1).with_constraints(gpu=1), schedule=schedule, system_resources={"gpu": 1})
    assert warnings(seen) == []
