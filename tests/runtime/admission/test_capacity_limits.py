"""Claims that cannot be granted, totals that change, slots, and claims of runs inside tasks."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import anyio
import pytest
from anyio import from_thread, sleep
from anyio.lowlevel import checkpoint
from observed import held
from timed_tasks import note
from virtual_time import virtual_loops

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.testing import record_events

anyio_backend = virtual_loops


# -- more than there is ----------------------------------------------------------------------------------------


async def test_a_static_claim_above_the_total_is_an_error_before_anything_runs(schedule: Any) -> None:
    ran: list[str] = []
    flow = note(ran, "greedy", note(ran, "first")).with_constraints(gpu=3)
    with pytest.raises(cascade.CapacityError, match="exceeds total system capacity"):
        await cascade.run(flow, system_resources={"gpu": 2}, schedule=schedule)
    assert ran == []


async def test_a_capacity_error_says_who_wants_how_much_of_what() -> None:
    with pytest.raises(ValueError, match="capacity") as caught:
        await cascade.run(note([], "x").with_constraints(gpu=2.5), system_resources={"gpu": 2})
    error = caught.value
    assert isinstance(error, cascade.CapacityError)
    assert (error.node_id, error.resource, str(error.amount), str(error.total)) == ("note", "gpu", "2.5", "2")
    assert str(error).startswith("claim of 2.5 'gpu' by 'note' exceeds total system capacity (2)")


async def test_a_static_claim_of_a_consumer_of_a_cached_task_is_checked_before_anything_runs() -> None:
    ran: list[str] = []
    cached = note(ran, "cached").with_cache(InputCache(MemoryCacheStore(), key=lambda inputs: "key"))
    with pytest.raises(cascade.CapacityError):
        await cascade.run(note(ran, "greedy", cached).with_constraints(gpu=3), system_resources={"gpu": 2})
    assert ran == []


@pytest.mark.parametrize("kind", ["condition", "route", "empty map", "cache hit", "computed empty map"])
async def test_a_claim_above_the_total_does_not_matter_if_the_task_does_not_run(kind: str) -> None:
    ran: list[str] = []
    cache = InputCache(MemoryCacheStore(), key=lambda inputs: "key")
    await cascade.run(note(ran, "before").with_cache(cache))
    greedy = note(ran, "greedy").with_constraints(gpu=3)
    condition = note(ran, "no", value=False)
    flows = {
        "condition": cascade.sequence([note(ran, "x"), greedy.run_if(condition)]),
        "route": cascade.Router(note(ran, "key", value="a"), {"a": note(ran, "a"), "b": greedy}),
        "empty map": note.partial(ran=ran).map(name=[]).with_constraints(gpu=3),
        "computed empty map": note.partial(ran=ran).map(name=note(ran, "none", value=[])).with_constraints(gpu=3),
        "cache hit": greedy.with_cache(cache),
    }
    with contextlib.suppress(cascade.DependencyMissingError):
        await cascade.run(flows[kind], system_resources={"gpu": 2})
    assert "greedy" not in ran


async def test_a_claim_above_the_total_that_might_not_run_is_an_error_when_it_would() -> None:
    ran: list[str] = []
    flow = note(ran, "greedy").with_constraints(gpu=3).run_if(note(ran, "condition", value=True))
    with pytest.raises(cascade.CapacityError, match="exceeds total system capacity"):
        await cascade.run(flow, system_resources={"gpu": 2})
    assert ran == ["condition"]


async def test_a_computed_claim_above_the_total_is_an_error_at_admission(schedule: Any) -> None:
    ran: list[str] = []
    flow = note(ran, "greedy").with_constraints(gpu=note(ran, "amount", value=3))
    with pytest.raises(cascade.CapacityError, match="exceeds total system capacity"):
        await cascade.run(flow, system_resources={"gpu": 2}, schedule=schedule)
    assert ran == ["amount"]


@pytest.mark.parametrize("amount", [-1, -0.5, float("nan"), float("inf"), "2", True, None, [1]])
class TestAnAmountThatIsNone:
    async def test_cannot_be_said(self, amount: Any) -> None:
        with pytest.raises(ValueError, match="'gpu'"):
            note([], "x").with_constraints(gpu=amount)

    async def test_cannot_be_the_default_of_a_task(self, amount: Any) -> None:
        with pytest.raises(ValueError, match="'gpu'"):
            cascade.task(constraints={"gpu": amount})(test_a_capacity_error_says_who_wants_how_much_of_what)

    async def test_cannot_be_a_total(self, amount: Any) -> None:
        with pytest.raises(ValueError, match="'gpu'"):
            await cascade.run(note([], "x"), system_resources={"gpu": amount})

    async def test_fails_the_task_that_computes_its_claim(self, amount: Any) -> None:
        ran: list[str] = []
        with pytest.raises(ValueError, match="'gpu'"):
            await cascade.run(note(ran, "x").with_constraints(gpu=note(ran, "amount", value=amount)))
        assert ran == ["amount"]

    async def test_changes_nothing_as_a_new_total(self, amount: Any) -> None:
        engine = cascade.Engine(system_resources={"gpu": 2, "cpu": 1})
        with pytest.raises(ValueError, match="'gpu'"):
            engine.set_capacity({"cpu": 5, "gpu": amount})
        assert engine.capacity() == {"gpu": (0, 2), "cpu": (0, 1)}


# -- totals that change ----------------------------------------------------------------------------------------


async def test_raising_the_capacity_wakes_waiters_at_once() -> None:
    ran: list[str] = []
    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, [note(ran, name, seconds=10).with_constraints(gpu=1) for name in "abc"])
        await sleep(1)
        engine.set_capacity({"gpu": 3})
        await anyio.wait_all_tasks_blocked()
        assert sorted(ran) == ["a", "b", "c"]


async def test_lowering_the_capacity_stops_nobody_and_holds_up_the_next() -> None:
    ran: list[str] = []
    async with cascade.Engine(system_resources={"gpu": 2}) as engine, anyio.create_task_group() as group:
        for name, seconds in {"short": 10, "long": 20, "next": 1}.items():
            group.start_soon(engine.run, note(ran, name, seconds=seconds).with_constraints(gpu=1))
            await sleep(0.01)
        engine.set_capacity({"gpu": 1})
        await sleep(15)
        assert ran == ["short", "long"]
        await sleep(10)
        assert ran == ["short", "long", "next"]


async def test_lowering_the_capacity_below_a_waiting_claim_fails_that_run_only() -> None:
    ran: list[str] = []
    async with cascade.Engine(system_resources={"gpu": 3}) as engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, note(ran, "holder", seconds=10).with_constraints(gpu=2))
        await sleep(1)

        async def greedy() -> None:
            with pytest.raises(cascade.CapacityError, match="exceeds total system capacity"):
                await engine.run(note(ran, "greedy").with_constraints(gpu=3))
            ran.append("refused")

        group.start_soon(greedy)
        await sleep(1)
        engine.set_capacity({"gpu": 2})
        await anyio.wait_all_tasks_blocked()
        assert ran == ["holder", "refused"]


async def test_a_resource_may_get_its_first_total_while_runs_go_on() -> None:
    ran: list[str] = []
    async with cascade.Engine() as engine, anyio.create_task_group() as group:
        group.start_soon(engine.run, note(ran, "early", seconds=10).with_constraints(gpu=2))
        await sleep(1)
        engine.set_capacity({"gpu": 2})
        group.start_soon(engine.run, note(ran, "late").with_constraints(gpu=1))
        await sleep(1)
        assert ran == ["early"]


async def test_a_claim_above_a_total_that_was_lowered_meanwhile_is_an_error_at_admission() -> None:
    ran: list[str] = []
    engine = cascade.Engine(system_resources={"gpu": 3})
    async with engine.start(note(ran, "greedy", note(ran, "first", seconds=5)).with_constraints(gpu=3)) as run:
        await sleep(1)
        engine.set_capacity({"gpu": 2})
        with pytest.raises(cascade.CapacityError):
            await run.result()
    assert ran == ["first"]


# -- slots -----------------------------------------------------------------------------------------------------


async def test_no_more_sync_tasks_run_at_once_than_there_are_threads(schedule: Any) -> None:
    lock, running, seen = threading.Lock(), [0], []

    @cascade.task
    def count() -> None:
        with lock:
            running[0] += 1
            seen.append(running[0])
        from_thread.run(checkpoint)
        with lock:
            running[0] -= 1

    await cascade.run([count() for _ in range(12)], max_threads=2, schedule=schedule)
    assert max(seen) <= 2


async def test_a_claim_that_lacks_only_a_thread_holds_nothing() -> None:
    is_over = threading.Event()

    @cascade.task
    def block() -> None:
        is_over.wait(10)

    async with cascade.Engine(system_resources={"gpu": 1}, max_threads=1) as engine:
        with record_events(engine) as recorded:
            async with anyio.create_task_group() as group:
                group.start_soon(engine.run, block())
                while not recorded.about("block"):
                    await checkpoint()
                group.start_soon(engine.run, block().with_constraints(gpu=1))
                while not recorded.of(cascade.TaskBlocked):
                    await checkpoint()
                try:
                    assert held(engine) == {"gpu": 0}
                finally:
                    is_over.set()


@pytest.mark.parametrize("mode", ["inline", "async"])
async def test_what_runs_on_the_loop_needs_no_thread(mode: str) -> None:
    is_over = threading.Event()

    @cascade.task
    def block() -> None:
        is_over.wait(10)

    @cascade.task(mode="inline")
    def trivial() -> None: ...

    flow: Any = trivial() if mode == "inline" else note([], "x")
    async with (
        cascade.start([block(), flow], max_threads=1) as run,
        run.subscribe(cascade.TaskExecutionFinished) as events,
    ):
        try:
            first = await events.receive()
            assert isinstance(first, cascade.TaskExecutionFinished)
            assert first.task_name != "block"
        finally:
            is_over.set()


async def test_a_thread_that_is_left_behind_keeps_its_claim_until_it_ends() -> None:
    may_end = threading.Event()

    @cascade.task(abandon_on_cancel=True, constraints={"gpu": 1})
    def stubborn() -> None:
        may_end.wait(10)

    async with cascade.Engine(system_resources={"gpu": 1}) as engine:
        async with engine.start(stubborn()) as run:
            async with run.subscribe(cascade.TaskExecutionStarted) as events:
                await events.receive()
            run.cancel()
        assert held(engine) == {"gpu": 1}
        may_end.set()
        while held(engine)["gpu"]:
            await checkpoint()
