"""Rules and threads: a pause stops lanes between two nodes, whatever thread they are in."""

from __future__ import annotations

import threading
import time
from typing import Any

import anyio
import pytest

import cascade
from cascade.runtime.current import current


class Gauge:
    """How many calls are under way, and how many began."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = self.most = self.begun = 0

    def call(self, _: object) -> None:
        with self.lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.0005)
        with self.lock:
            self.running -= 1


async def until_begun(gauge: Gauge, count: int) -> None:
    with anyio.fail_after(20):
        while gauge.begun < count:
            await anyio.sleep(0.001)


@pytest.mark.parametrize("observed", [False, True])
async def test_nothing_starts_in_threads_after_a_pause(schedule: Any, *, observed: bool) -> None:
    gauge = Gauge()
    tick = cascade.task(name="tick")(gauge.call)
    flow = tick.map(_=range(1000))
    async with cascade.start(flow, schedule=schedule, max_threads=8) as run:
        stream = run.subscribe(buffer=10_000) if observed else None
        for moment in (20, 200, 500):
            await until_begun(gauge, moment)
            await run.pause()
            await until_idle(gauge)
            seen = gauge.begun
            await anyio.sleep(0.02)
            assert gauge.begun == seen
            await run.resume()
        await run.result()
        if stream is not None:
            stream.close()
    assert gauge.begun == 1000


async def until_idle(gauge: Gauge) -> None:
    """Attempts whose mark was set before the pause may still be on their way into the function."""
    with anyio.fail_after(20):
        quiet = 0
        while quiet < 5:
            quiet = 0 if gauge.running else quiet + 1
            await anyio.sleep(0.002)


async def test_a_limit_is_not_exceeded_by_what_threads_had_begun() -> None:
    gauge = Gauge()
    tick = cascade.task(name="tick")(gauge.call)
    async with cascade.start(tick.map(_=range(400)), max_threads=8) as run:
        await until_begun(gauge, 50)
        await run.limit("task:tick", concurrency=2)
        await until_idle_or_two(gauge)
        gauge.most = 0
        await until_begun(gauge, 200)
        assert gauge.most <= 2
        await run.limit("task:tick", concurrency=None)
        await run.result()
    assert gauge.begun == 400


async def until_idle_or_two(gauge: Gauge) -> None:
    with anyio.fail_after(20):
        while gauge.running > 2:
            await anyio.sleep(0.001)


async def test_a_rule_while_lanes_wait_for_threads_leaves_nothing_behind() -> None:
    release = threading.Event()

    @cascade.task
    def blocks() -> str:
        release.wait(20)
        return current().node_id

    @cascade.task
    def quick(number: int) -> int:
        return number

    async with cascade.start([blocks(), *(quick(n) for n in range(20))], max_threads=1) as run:
        await anyio.sleep(0.01)
        await run.pause("task:quick")
        release.set()
        await anyio.sleep(0.02)
        assert run.status().counts["succeeded"] <= 21
        await run.resume("task:quick")
        assert (await run.result())[1:] == list(range(20))
