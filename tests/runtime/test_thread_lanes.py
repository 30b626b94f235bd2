"""Thread lanes at the moments when several of them and the loop meet."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

import cascade
from cascade.control import ControlPlane
from cascade.runtime.crew import Crew
from cascade.runtime.lanes import ThreadLanes


async def test_a_lane_that_finds_nothing_left_when_it_comes_takes_no_slot(
    monkeypatch: pytest.MonkeyPatch, schedule: Any
) -> None:
    others_may_go_on = threading.Event()
    lanes: list[ThreadLanes] = []
    found: list[int] = []
    feed, until_heard = ThreadLanes.feed, Crew.until_heard

    def notice(self: ThreadLanes, index: int) -> None:
        lanes.append(self)
        feed(self, index)

    async def until_nothing_is_left(self: Crew) -> bool:
        found.append(len(lanes[0].queue))
        if len(found) == 2:  # the second lane, which came as the first was stuck
            others_may_go_on.set()
            while lanes[0].queue:
                await checkpoint()
        return await until_heard(self)

    monkeypatch.setattr(ThreadLanes, "feed", notice)
    monkeypatch.setattr(Crew, "until_heard", until_nothing_is_left)

    @cascade.task
    def work(n: int) -> int:
        others_may_go_on.wait(20)
        return n

    assert await cascade.run([work(n) for n in range(50)], schedule=schedule) == list(range(50))
    assert len(found) >= 2
    assert found[1] > 0


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
    with anyio.fail_after(20):
        async with cascade.start(flow, control=plane, schedule=schedule) as run:
            while run.status().counts["succeeded"] < 1:
                await checkpoint()
            while not any(why.startswith("held by pause") for node in run.explain() for why in node.blockers):
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
            while len(list(engine._admission.waiters())) < 1:
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
    with anyio.fail_after(20):
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
