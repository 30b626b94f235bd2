"""Equal calls that are cached and made at the same time: who waits for whom, and for whom nobody waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.cache import InputCache, MemoryCacheStore

anyio_backend = virtual_loops


class Computing:
    """A cached call that takes ten seconds, and how often it was made."""

    def __init__(self) -> None:
        self.count = 0
        self.cache = InputCache(MemoryCacheStore())
        self.task = cascade.task(name="compute")(self.compute)

    async def compute(self, x: int) -> int:
        self.count += 1
        await pass_time(10)
        return x

    def call(self) -> cascade.LazyResult[int]:
        return self.task(1).with_cache(self.cache)

    def claiming(self) -> cascade.LazyResult[int]:
        return self.call().with_constraints(gpu=1)


@cascade.task
async def hold() -> None:
    await pass_time(100)


@pytest.fixture
def computing() -> Computing:
    return Computing()


async def test_runs_of_several_engines_wait_for_the_one_that_computes(computing: Computing, schedule: Any) -> None:
    async with cascade.start(computing.call(), schedule=schedule, run_id="first") as first:
        await pass_time(1)
        async with cascade.start(computing.call(), schedule=schedule) as second:
            await pass_time(1)
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
        await pass_time(1)
        assert await cascade.run([computing.call(), computing.call()], schedule=schedule) == [1, 1]
        assert anyio.current_time() == 11
        await paused.resume()
        assert await paused.result() == 1


async def test_nobody_waits_for_a_run_whose_own_subscriber_does_not_read(
    computing: Computing, schedule: Any
) -> None:
    async with cascade.start(computing.call(), schedule=schedule) as held:
        async with held.subscribe(buffer=1):
            await pass_time(1)
            assert await cascade.run(computing.call(), schedule=schedule) == 1
            assert anyio.current_time() == 11
        assert await held.result() == 1


@asynccontextmanager
async def one_waits_for_capacity_and_one_for_it(computing: Computing) -> AsyncIterator[list[cascade.Run]]:
    """Two runs of one engine with the same call: that of the first waits for capacity."""
    async with (
        cascade.Engine(system_resources={"gpu": 1}) as engine,
        engine.start(hold().with_constraints(gpu=1)),
        engine.start(computing.claiming()) as first,
        engine.start(computing.call()) as second,
    ):
        await pass_time(5)
        assert second.explain()[0].blockers[0].startswith("an equal call is being computed")
        yield [first, second]
        first.cancel()


async def test_who_waited_before_the_subscriber_was_full_goes_on_without(computing: Computing) -> None:
    async with one_waits_for_capacity_and_one_for_it(computing) as (first, second), first.subscribe(buffer=1):
        await first.limit("task:other", concurrency=1)  # which is an event
        assert await second.result() == 1
        assert anyio.current_time() == 15


async def test_who_waited_before_the_pause_goes_on_without(computing: Computing) -> None:
    async with one_waits_for_capacity_and_one_for_it(computing) as (first, second):
        await first.pause()
        assert await second.result() == 1
        assert anyio.current_time() == 15


async def test_a_run_of_another_engine_does_not_wait_for_the_capacity_of_this_one(computing: Computing) -> None:
    async with (
        cascade.Engine(system_resources={"gpu": 1}) as engine,
        engine.start(hold().with_constraints(gpu=1)),
        engine.start(computing.claiming()) as first,
    ):
        await pass_time(1)
        assert await cascade.run(computing.call()) == 1
        assert anyio.current_time() == 11
        first.cancel()


async def test_who_waited_before_the_capacity_ran_out_goes_on_without(computing: Computing) -> None:
    """The call that is waited for is attempted again, and has to wait for capacity then."""

    @cascade.task(name="compute")
    async def flaky(x: int) -> int:
        computing.count += 1
        if computing.count == 1:
            await pass_time(1)
            raise ValueError("once more")
        return x

    call = flaky(1).with_cache(computing.cache).with_retry(2, delay=1)
    async with (
        cascade.Engine(system_resources={"gpu": 1}) as engine,
        engine.start(call.with_constraints(gpu=1)) as first,
        cascade.start(call) as second,
    ):
        await pass_time(1.5)
        async with engine.start(hold().with_constraints(gpu=1)):
            assert await second.result() == 1
            assert anyio.current_time() == 2
        assert await first.result() == 1


async def test_equal_calls_wait_for_one_that_waits_for_the_capacity_of_their_own_engine(
    computing: Computing,
) -> None:
    flow = [hold().with_constraints(gpu=1), *[computing.claiming() for _ in range(5)]]
    assert (await cascade.run(flow, system_resources={"gpu": 1}))[1:] == [1] * 5
    assert computing.count == 1


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
        await pass_time(1)
        async with cascade.start(computing.call(), schedule=schedule) as second:
            await pass_time(1)
            second.drain()
        assert anyio.current_time() == 2
        assert second.status().state == "Drained"
        assert await first.result() == 1
    assert computing.count == 1


async def test_a_cancelled_wait_leaves_nothing(computing: Computing, schedule: Any) -> None:
    async with cascade.start(computing.call(), schedule=schedule) as first:
        await pass_time(1)
        with anyio.move_on_after(1):
            await cascade.run(computing.call(), schedule=schedule)
        assert await first.result() == 1
    assert await cascade.run(computing.call(), schedule=schedule) == 1
    assert computing.count == 1
