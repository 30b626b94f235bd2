"""Claims of runs inside tasks: what the tasks around them hold can never come free for them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio import from_thread, sleep
from timed_tasks import note
from virtual_time import virtual_loops

import cascade

anyio_backend = virtual_loops


async def test_a_nested_claim_for_which_the_tasks_around_it_leave_too_little_is_a_deadlock_error_at_once() -> None:
    @cascade.task(constraints={"gpu": 2})
    async def outer() -> None:
        await cascade.run(note([], "inner").with_constraints(gpu=2))

    began = anyio.current_time()
    with pytest.raises(cascade.DeadlockError) as caught:
        await cascade.run(outer(), system_resources={"gpu": 3})
    assert anyio.current_time() == began
    assert caught.value.cycle == ("outer", "note")


async def test_all_tasks_around_a_nested_run_count() -> None:
    @cascade.task(constraints={"gpu": 1})
    async def nest(depth: int) -> None:
        await cascade.run(nest(depth - 1))

    with pytest.raises(cascade.DeadlockError) as caught:
        await cascade.run(nest(9), system_resources={"gpu": 3})
    assert caught.value.cycle == ("nest",) * 4


async def test_a_nested_claim_that_fits_beside_those_around_it_is_granted() -> None:
    @cascade.task(constraints={"gpu": 2})
    async def outer() -> Any:
        return await cascade.run(note([], "inner", value="fine").with_constraints(gpu=1))

    assert await cascade.run(outer(), system_resources={"gpu": 3}) == "fine"


async def test_a_nested_claim_waits_for_what_strangers_hold() -> None:
    ran: list[str] = []

    @cascade.task(constraints={"gpu": 1})
    async def outer() -> None:
        await sleep(1)
        await cascade.run(note(ran, "inner").with_constraints(gpu=1))

    stranger = note(ran, "stranger", seconds=10).with_constraints(gpu=1)
    began = anyio.current_time()
    await cascade.run([outer(), stranger], system_resources={"gpu": 2})
    assert anyio.current_time() - began == pytest.approx(10)


async def test_a_nested_run_that_needs_the_thread_of_the_task_around_it_is_a_deadlock_error() -> None:
    @cascade.task
    def inner() -> None: ...

    @cascade.task
    def outer() -> None:
        from_thread.run(cascade.run, inner())

    with pytest.raises(cascade.DeadlockError, match="thread slot"):
        await cascade.run(outer(), max_threads=1)


async def test_a_nested_sync_task_runs_although_a_stranger_waits_for_what_the_task_around_it_holds() -> None:
    @cascade.task
    def in_thread() -> None: ...

    @cascade.task(constraints={"gpu": 1})
    async def outer() -> None:
        await sleep(1)
        await cascade.run(in_thread())

    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, outer())
        await sleep(0.5)
        with anyio.fail_after(60):
            await engine.run(in_thread().with_constraints(gpu=1))


async def test_a_claim_is_seen_through_an_engine_in_between() -> None:
    outside = cascade.Engine(system_resources={"gpu": 1})
    between = cascade.Engine()

    @cascade.task(constraints={"gpu": 1})
    async def claim(depth: int) -> None:
        if depth:
            await between.run(hop(depth))

    @cascade.task
    async def hop(depth: int) -> None:
        await outside.run(claim(depth - 1))

    with anyio.fail_after(60), pytest.raises(cascade.DeadlockError):
        await outside.run(claim(1))


async def test_lowering_the_capacity_below_what_a_nested_claim_and_those_around_it_need_is_a_deadlock_error() -> (
    None
):
    @cascade.task(constraints={"gpu": 1})
    async def outer() -> None:
        await sleep(1)
        await cascade.run(note([], "inner").with_constraints(gpu=2))

    async with cascade.Engine(system_resources={"gpu": 3}) as engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, note([], "stranger", seconds=100).with_constraints(gpu=1))

        async def lower() -> None:
            await sleep(5)
            engine.set_capacity({"gpu": 2})

        group.start_soon(lower)
        began = anyio.current_time()
        with pytest.raises(cascade.DeadlockError):
            await engine.run(outer())
        assert anyio.current_time() - began == pytest.approx(5)
        group.cancel_scope.cancel()
