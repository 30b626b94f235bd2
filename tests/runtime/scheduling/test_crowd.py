"""Many plain nodes that a rule holds: few of them ask for admission, and all are held, told of and let go."""

from __future__ import annotations

import tracemalloc
from contextlib import nullcontext
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.control import ControlPlane
from cascade.runtime.scheduling.crowd import MOST_ASKING, Crowd
from cascade.testing import record_events

NODES = 5 * MOST_ASKING


anyio_backend = virtual_loops


class Counter:
    """Counts the calls of a task, and how many are under way at most."""

    def __init__(self) -> None:
        self.begun = self.running = self.most = 0

    async def count(self, number: int) -> int:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await pass_time(1)
        self.running -= 1
        return number

    def nodes(self) -> list[cascade.LazyResult[int]]:
        task = cascade.task(name="count")(self.count)
        return [task(number) for number in range(NODES)]


def tasks() -> int:
    return len(anyio.get_running_tasks())


@pytest.mark.parametrize("is_heard", [False, True])
async def test_paused_nodes_are_few_tasks_and_all_of_them_are_explained(schedule: Any, *, is_heard: bool) -> None:
    counter, plane = Counter(), ControlPlane()
    await plane.pause("task:count", author="ada")
    engine = cascade.Engine(schedule=schedule, control=plane)
    with record_events(engine) if is_heard else nullcontext() as record:
        before = tasks()
        async with engine.start(counter.nodes()) as run:
            await pass_time(10)
            assert tasks() - before <= MOST_ASKING + 10
            explained = run.explain()
            assert len({one.node_id for one in explained}) == NODES
            assert all("'ada'" in one.blockers[0] for one in explained)
            assert run.status().running == ()
            await plane.resume("task:count")
            assert await run.result() == list(range(NODES))
        if record is not None:
            blocked = record.of(cascade.TaskBlocked)
            assert len(blocked) == NODES
            assert len({event.task_id for event in blocked}) == NODES


async def peak_of_memory(nodes: int, *, is_paused: bool) -> int:
    """Bytes that a run of so many nodes takes at most."""
    plane = ControlPlane()
    if is_paused:
        await plane.pause()

    @cascade.task
    async def echo(number: int) -> int:
        return number

    flow = [echo(number) for number in range(nodes)]
    tracemalloc.start()
    try:
        async with cascade.start(flow, control=plane) as run:
            if is_paused:
                await pass_time(1)
                assert run.status().counts["succeeded"] == 0
                await plane.resume()
            assert await run.result() == list(range(nodes))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_paused_node_takes_hardly_more_memory_than_one_that_runs_at_once() -> None:
    few, many = 2 * MOST_ASKING, 6 * MOST_ASKING
    await peak_of_memory(few, is_paused=True)  # what is imported when it is first used
    bytes_per_node = {
        is_paused: (
            await peak_of_memory(many, is_paused=is_paused) - await peak_of_memory(few, is_paused=is_paused)
        )
        / (many - few)
        for is_paused in (False, True)
    }
    # Some 310 at once and up to 480 after a pause. With a task it would be ten thousand.
    assert bytes_per_node[True] <= bytes_per_node[False] + 200


async def test_a_limit_lets_one_after_the_other_through(schedule: Any) -> None:
    counter, plane = Counter(), ControlPlane()
    await plane.limit("task:count", concurrency=7)
    assert await cascade.run(counter.nodes(), control=plane, schedule=schedule) == list(range(NODES))
    assert counter.most == 7


async def test_raising_a_limit_above_those_who_ask_lets_all_of_that_run(schedule: Any) -> None:
    counter, plane = Counter(), ControlPlane()
    await plane.limit("task:count", concurrency=1)
    async with cascade.start(counter.nodes(), control=plane, schedule=schedule) as run:
        await pass_time(3)
        await plane.limit("task:count", concurrency=3 * MOST_ASKING)
        await run.result()
    assert counter.most == 3 * MOST_ASKING


async def test_a_rule_about_others_holds_nobody(schedule: Any) -> None:
    counter, plane = Counter(), ControlPlane()
    await plane.pause("task:other")
    await cascade.run(counter.nodes(), control=plane, schedule=schedule)
    assert counter.most == NODES


@pytest.mark.parametrize("how", ["cancel", "drain"])
async def test_nodes_that_wait_are_left_when_the_run_ends(schedule: Any, how: str) -> None:
    counter, plane = Counter(), ControlPlane()
    await plane.limit("task:count", concurrency=2)
    with anyio.fail_after(100):
        async with cascade.start(counter.nodes(), control=plane, schedule=schedule) as run:
            await pass_time(2.5)
            assert counter.begun == 6
            getattr(run, how)()
            with pytest.raises(cascade.RunCancelled):
                await run.result()
    assert counter.begun == 6
    assert run.status().counts["pending"] >= NODES - 6 - MOST_ASKING


async def test_a_pause_that_comes_again_while_they_are_let_go_holds_the_rest(schedule: Any) -> None:
    counter, plane = Counter(), ControlPlane()
    await plane.pause()
    await plane.limit("task:count", concurrency=NODES)
    async with cascade.start(counter.nodes(), control=plane, schedule=schedule) as run:
        for _ in range(20):
            await plane.resume()
            await checkpoint()
            await plane.pause()
            seen = counter.begun
            await pass_time(2)
            assert counter.begun == seen
        await plane.resume()
        assert await run.result() == list(range(NODES))


def test_those_behind_are_let_go_once_nobody_asks_any_more() -> None:
    crowd, counter = Crowd(None), Counter()
    task, other = cascade.task(counter.count), cascade.task(name="other")(counter.count)
    for asked in (task, other):
        crowd.ask(asked, 0)
        for index in range(1, 5):
            crowd.wait(asked, index)
    assert crowd.left_alone() == []
    assert crowd.leave(task, 0, all_at_once=False) == [1]  # which a lane takes
    assert crowd.left_alone() == [2, 3, 4]
    assert len(crowd) == 4  # behind the other
