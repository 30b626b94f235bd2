"""Claims of tasks: all together or none, first come first served, exact; what costs nothing, what goes back."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import anyio
import pytest
from anyio import sleep
from anyio.lowlevel import checkpoint
from observed import held
from strategies_runtime import Gauge
from virtual_time import virtual_loops

import cascade
from cascade.cache import InputCache, MemoryCacheStore

anyio_backend = virtual_loops


@cascade.task
async def work(gauge: Gauge, name: str = "", seconds: float = 1.0) -> str:
    await gauge.work(name, seconds)
    return name


@cascade.task
def work_in_thread(gauge: Gauge, name: str) -> str:
    gauge.order.append(name)
    return name


async def start_in_order(group: anyio.abc.TaskGroup, engine: cascade.Engine, *flows: Any) -> None:
    """Start runs of *flows*, each when the one before runs or waits."""
    for flow in flows:
        group.start_soon(engine.run, flow)
        await sleep(0.01)


# -- how much, and in which order ------------------------------------------------------------------------------


async def test_claims_never_hold_more_than_the_total(schedule: Any) -> None:
    gauge = Gauge()
    flow = work.partial(gauge=gauge).map(name=list("abcdefg")).with_constraints(gpu=2)
    await cascade.run(flow, system_resources={"gpu": 5}, schedule=schedule)
    assert gauge.most == 2


async def test_all_capacity_is_used(schedule: Any) -> None:
    gauge = Gauge()
    began = anyio.current_time()
    flow = [work(gauge).with_constraints(gpu=1) for _ in range(6)]
    await cascade.run(flow, system_resources={"gpu": 2}, schedule=schedule)
    assert anyio.current_time() - began == pytest.approx(3)


async def test_a_claim_holds_nothing_until_it_has_all() -> None:
    gauge = Gauge()
    async with cascade.Engine(system_resources={"gpu": 1, "cpu": 4}) as engine, anyio.create_task_group() as group:
        first, both = work(gauge).with_constraints(gpu=1), work(gauge).with_constraints(cpu=3, gpu=1)
        await start_in_order(group, engine, first, both)
        assert held(engine) == {"gpu": 1, "cpu": 0}


async def test_a_later_claim_that_would_fit_does_not_pass_an_earlier_one_of_the_same_resource() -> None:
    gauge = Gauge()
    async with cascade.Engine(system_resources={"gpu": 2}) as engine, anyio.create_task_group() as group:
        flows = [work(gauge, str(amount)).with_constraints(gpu=amount) for amount in (1, 2, 1)]
        await start_in_order(group, engine, *flows)
    assert gauge.order == ["1", "2", "1"]
    assert gauge.most == 1


async def test_a_later_claim_passes_an_earlier_one_that_waits_for_something_else() -> None:
    gauge = Gauge()
    async with cascade.Engine(system_resources={"gpu": 1, "cpu": 1}) as engine, anyio.create_task_group() as group:
        gpu = [work(gauge, f"gpu {place}").with_constraints(gpu=1) for place in (1, 2)]
        await start_in_order(group, engine, *gpu, work(gauge, "cpu").with_constraints(cpu=1))
    assert gauge.order == ["gpu 1", "cpu", "gpu 2"]


async def test_a_sync_task_without_claims_passes_a_sync_task_that_waits_for_a_resource() -> None:
    gauge = Gauge()
    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:
        await start_in_order(
            group,
            engine,
            work(gauge, "holder").with_constraints(gpu=1),
            work_in_thread(gauge, "waits for the gpu").with_constraints(gpu=1),
            work_in_thread(gauge, "wants a thread"),
        )
        assert gauge.order == ["holder", "wants a thread"]


async def test_order_holds_between_runs_of_one_engine() -> None:
    gauge = Gauge()
    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:
        await start_in_order(group, engine, *(work(gauge, name).with_constraints(gpu=1) for name in "dacb"))
    assert "".join(gauge.order) == "dacb"


async def test_engines_do_not_share_capacity() -> None:
    gauge = Gauge()
    async with anyio.create_task_group() as group:
        for _ in range(3):
            engine = cascade.Engine(system_resources={"gpu": 1})
            group.start_soon(engine.run, work(gauge).with_constraints(gpu=1))
    assert gauge.most == 3


# -- what costs nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["skip", "cache hit"])
async def test_what_does_not_run_costs_no_capacity_and_no_thread(kind: str) -> None:
    is_over = threading.Event()

    @cascade.task(constraints={"gpu": 1})
    def hold_everything() -> None:
        is_over.wait(10)

    cache = InputCache(MemoryCacheStore(), key=lambda inputs: "key")
    flow = work_in_thread(Gauge(), "x").with_constraints(gpu=1).with_cache(cache)
    async with cascade.Engine(system_resources={"gpu": 1}, max_threads=1) as engine:
        await engine.run(flow)
        if kind == "skip":
            flow = flow.run_if(False)
        async with anyio.create_task_group() as group:
            group.start_soon(engine.run, hold_everything())
            while not held(engine)["gpu"]:
                await checkpoint()
            try:
                with contextlib.suppress(cascade.DependencyMissingError):
                    await engine.run(flow)
                assert held(engine) == {"gpu": 1}
            finally:
                is_over.set()


async def test_a_back_off_sleep_holds_nothing() -> None:
    gauge = Gauge()

    @cascade.task
    async def fragile() -> None:
        gauge.order.append("attempt")
        if len(gauge.order) == 1:
            raise OSError

    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:
        flow = fragile().with_retry(2, delay=100).with_constraints(gpu=1)
        await start_in_order(group, engine, flow, work(gauge, "other").with_constraints(gpu=1))
        assert gauge.order == ["attempt", "other"]
        await sleep(10)
        assert held(engine) == {"gpu": 0}
    assert gauge.order == ["attempt", "other", "attempt"]


async def test_a_claim_ends_when_a_function_that_returned_a_lazy_has_returned(schedule: Any) -> None:
    @cascade.task(constraints={"gpu": 1})
    async def expand(depth: int) -> Any:
        return [expand(depth - 1)] if depth else "leaf"

    with anyio.fail_after(60):
        assert await cascade.run([expand(2)], system_resources={"gpu": 1}, schedule=schedule) == [[["leaf"]]]


async def test_items_of_a_map_claim_and_the_map_itself_does_not() -> None:
    async with cascade.Engine(system_resources={"gpu": 9}) as engine:

        @cascade.task
        async def look(n: int) -> Any:
            await anyio.wait_all_tasks_blocked()
            return held(engine)["gpu"]

        assert await engine.run(look.map(n=[1, 2]).with_constraints(gpu=2).with_concurrency(1)) == [2, 2]


# -- giving back -----------------------------------------------------------------------------------------------


async def _fails(gauge: Gauge) -> None:
    raise ValueError


async def _returns(gauge: Gauge) -> None:
    await sleep(1)


async def _overstays(gauge: Gauge) -> None:
    await sleep(1000)


@pytest.mark.parametrize("body", [_fails, _returns, _overstays])
async def test_what_was_claimed_is_given_back_however_an_attempt_ends(body: Any) -> None:
    attempt: Any = cascade.task(body)
    async with cascade.Engine(system_resources={"gpu": 1}) as engine:
        with contextlib.suppress(ValueError, TimeoutError):
            await engine.run(attempt(Gauge()).with_constraints(gpu=1).with_timeout(50))
        assert held(engine) == {"gpu": 0}


async def test_a_cancelled_run_gives_back_what_it_held_and_leaves_the_line(schedule: Any) -> None:
    gauge = Gauge()
    async with cascade.Engine(system_resources={"gpu": 2}, schedule=schedule) as engine:
        async with anyio.create_task_group() as group:
            flow = work.partial(gauge=gauge).map(name=list("abcdef"), seconds=[1000] * 6).with_constraints(gpu=1)
            group.start_soon(engine.run, flow)
            await sleep(1)
            assert held(engine) == {"gpu": 2}
            group.cancel_scope.cancel()
        assert held(engine) == {"gpu": 0}
        with anyio.fail_after(60):
            await engine.run(work(gauge).with_constraints(gpu=2))


async def test_a_failed_run_gives_back_what_it_held_to_those_of_other_runs_who_wait() -> None:
    gauge = Gauge()

    @cascade.task
    async def fail() -> None:
        await sleep(5)
        raise ValueError("no luck")

    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:

        async def failing() -> None:
            with pytest.raises(ValueError, match="no luck"):
                await engine.run([fail(), work(gauge, "first", 1000).with_constraints(gpu=1)])

        group.start_soon(failing)
        await sleep(0.1)
        began = anyio.current_time()
        await engine.run(work(gauge, "second").with_constraints(gpu=1))
        assert anyio.current_time() - began == pytest.approx(5.9)


@pytest.mark.parametrize("how", ["capacity", "drain"])
async def test_a_waiter_that_is_cancelled_and_turned_away_in_one_step_is_cancelled(how: str) -> None:
    began = anyio.Event()

    @cascade.task
    async def hold() -> None:
        began.set()
        await anyio.sleep_forever()

    @cascade.task
    async def wait() -> None: ...

    engine = cascade.Engine(system_resources={"gpu": 1})
    flow = [hold().with_constraints(gpu=1), *[wait().with_constraints(gpu=1) for _ in range(3)]]
    with anyio.CancelScope() as scope:
        async with engine, engine.start(flow) as run:
            await began.wait()
            for _ in range(10):
                await checkpoint()
            if how == "capacity":
                run.cancel()
                engine.set_capacity({"gpu": 0})
                with pytest.raises(cascade.RunCancelled):
                    await run.result()
            else:
                scope.cancel()
                run.drain()
                await anyio.sleep_forever()
    assert run.status().state == "Cancelled"
    assert run.status().failures == ()
