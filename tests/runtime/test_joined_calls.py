"""Equal calls that are cached and made at the same time: who waits for whom, and for whom nobody waits."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.testing import virtual_backends


@pytest.fixture(params=virtual_backends(), ids=lambda backend: backend[0])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


class Computing:
    """A cached call that takes ten seconds, and how often it was made."""

    def __init__(self) -> None:
        self.count = 0
        self.cache = InputCache(MemoryCacheStore())
        self.task = cascade.task(name="compute")(self.compute)

    async def compute(self, x: int) -> int:
        self.count += 1
        await anyio.sleep(10)
        return x

    def call(self) -> cascade.LazyResult[int]:
        return self.task(1).with_cache(self.cache)


@pytest.fixture
def computing() -> Computing:
    return Computing()


async def test_runs_of_several_engines_wait_for_the_one_that_computes(computing: Computing, schedule: Any) -> None:
    async with cascade.start(computing.call(), schedule=schedule, run_id="first") as first:
        await anyio.sleep(1)
        async with cascade.start(computing.call(), schedule=schedule) as second:
            await anyio.sleep(1)
            (found,) = second.explain()
            assert found.node_id == "compute"
            assert found.blockers == ("an equal call is being computed for the cache: 'compute' of run 'first'",)
            assert second.status().running == ()
            assert first.status().running == ("compute",)
            assert await second.result() == 1
            assert second.explain() == ()
    assert computing.count == 1


async def test_nobody_waits_for_a_run_that_is_paused(computing: Computing, schedule: Any) -> None:
    async with cascade.start(computing.call(), schedule=schedule) as paused:
        await paused.pause()
        await anyio.sleep(1)
        assert await cascade.run([computing.call(), computing.call()], schedule=schedule) == [1, 1]
        assert anyio.current_time() == 11
        await paused.resume()
        assert await paused.result() == 1


async def test_who_waited_before_the_pause_was_seen_goes_on_without(computing: Computing, schedule: Any) -> None:
    plane = cascade.control.ControlPlane()
    await plane.pause("run:held")
    engine = cascade.Engine(control=plane, schedule=schedule)
    async with engine, engine.start(computing.call(), run_id="held"), engine.start(computing.call()) as free:
        assert await free.result() == 1
        await plane.resume("run:held")
    assert computing.count <= 2


async def test_a_run_that_drains_waits_for_nobody(computing: Computing, schedule: Any) -> None:
    async with cascade.start(computing.call(), schedule=schedule) as first:
        await anyio.sleep(1)
        async with cascade.start(computing.call(), schedule=schedule) as second:
            await anyio.sleep(1)
            second.drain()
        assert anyio.current_time() == 2
        assert second.status().state == "Drained"
        assert await first.result() == 1
    assert computing.count == 1


async def test_a_cancelled_wait_leaves_nothing(computing: Computing, schedule: Any) -> None:
    async with cascade.start(computing.call(), schedule=schedule) as first:
        await anyio.sleep(1)
        with anyio.move_on_after(1):
            await cascade.run(computing.call(), schedule=schedule)
        assert await first.result() == 1
    assert await cascade.run(computing.call(), schedule=schedule) == 1
    assert computing.count == 1
