"""Rules and threads: a pause stops lanes between two nodes, whatever thread they are in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from real_time import hold_thread

import cascade
from cascade.runtime.foundation.task_context import current

pytestmark = pytest.mark.loop


class Gauge:
    """How many calls are under way, and how many began."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running = self.most = self.begun = 0

    def call(self, _: object) -> None:
        with self.changed:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
            self.changed.notify_all()
        hold_thread(0.0005)
        with self.changed:
            self.running -= 1
            self.changed.notify_all()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something about the gauge to hold."""

        def wait() -> None:
            with self.changed:
                assert self.changed.wait_for(is_so, 20)

        await anyio.to_thread.run_sync(wait)

    async def until_begun(self, count: int) -> None:
        await self.until(lambda: self.begun >= count)


async def until_settled(run: cascade.Run) -> None:
    """Attempts whose mark was set before a pause may still be on their way into the function, or out of it."""
    with anyio.fail_after(60):
        while run.status().running:
            await checkpoint()


async def let_threads_work(engine: cascade.Engine) -> None:
    """Have the threads of *engine* do enough for another run that whatever could start has."""
    probe = cascade.task(name="probe")(time.sleep)
    await engine.run([probe(0.0005) for _ in range(40)])


@pytest.mark.parametrize("observed", [False, True])
async def test_nothing_starts_in_threads_after_a_pause(schedule: Any, *, observed: bool) -> None:
    gauge = Gauge()
    tick = cascade.task(name="tick")(gauge.call)
    flow = [tick(number) for number in range(1000)]
    engine = cascade.Engine(schedule=schedule, max_threads=8)
    async with engine, engine.start(flow) as run:
        stream = run.subscribe(buffer=10_000) if observed else None
        for moment in (20, 200, 500):
            await gauge.until_begun(moment)
            await run.pause()
            await until_settled(run)
            seen = gauge.begun
            await let_threads_work(engine)
            assert gauge.begun == seen
            await run.resume()
        await run.result()
        if stream is not None:
            stream.close()
    assert gauge.begun == 1000


async def test_a_limit_is_not_exceeded_by_what_threads_had_begun() -> None:
    gauge = Gauge()
    tick = cascade.task(name="tick")(gauge.call)
    # Calls and not a map, so that the status says which of them run: also those on their way into the function.
    async with cascade.start([tick(number) for number in range(400)], max_threads=8) as run:
        await gauge.until_begun(50)
        await run.limit("task:tick", concurrency=2)
        with anyio.fail_after(60):
            while len(run.status().running) > 2:
                await checkpoint()
        gauge.most = 0
        await gauge.until_begun(200)
        assert gauge.most <= 2
        await run.limit("task:tick", concurrency=None)
        await run.result()
    assert gauge.begun == 400


async def test_a_rule_while_lanes_wait_for_threads_leaves_nothing_behind() -> None:
    began, release = threading.Event(), threading.Event()
    gauge = Gauge()

    @cascade.task
    def blocks() -> str:
        began.set()
        release.wait(20)
        return current().node_id

    quick = cascade.task(name="quick")(gauge.call)
    engine = cascade.Engine(max_threads=1)
    async with engine, engine.start([blocks(), *(quick(n) for n in range(20))]) as run:
        await anyio.to_thread.run_sync(began.wait)
        await run.pause("task:quick")
        seen = gauge.begun
        release.set()
        await let_threads_work(engine)
        assert gauge.begun == seen
        await run.resume("task:quick")
        await run.result()
        assert gauge.begun == 20
