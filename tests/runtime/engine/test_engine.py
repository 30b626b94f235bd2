"""An engine: shared by runs, used on one loop after another, never on two at once."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from plain_tasks import in_thread, step

import cascade
from cascade.testing import record_events

DB = cascade.inject("db")


@cascade.resource
async def db() -> AsyncIterator[str]:
    yield "db"


@cascade.task
async def everything(value: Any = None, db: Any = DB) -> Any:
    return [value, db]


def everywhere() -> cascade.Engine:
    """An engine with all that an engine can have."""
    return cascade.Engine(
        system_resources={"gpu": 1}, providers=[db], state="memory:", observers=[_read], max_threads=2
    )


async def _read(events: Any) -> None:
    async for _ in events:
        pass


def flow() -> Any:
    return everything(in_thread.map(value=[1, 2, 3]).with_constraints(gpu=1))


# -- loops -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backends", [("asyncio", "trio"), ("trio", "asyncio"), ("asyncio", "asyncio", "trio", "trio")]
)
def test_an_engine_serves_one_loop_after_another_of_either_backend(backends: tuple[str, ...]) -> None:
    engine = everywhere()
    for backend in backends:
        assert anyio.run(engine.run, flow(), backend=backend) == [[1, 2, 3], "db"]


@pytest.mark.needs("trio")
def test_an_engine_serves_another_loop_after_a_run_on_the_first_one_failed(backend_name: str) -> None:
    @cascade.task
    async def fail() -> None:
        raise ValueError("no luck")

    engine = everywhere()
    with pytest.raises(ValueError, match="no luck"):
        anyio.run(engine.run, fail(), backend=backend_name)
    assert anyio.run(engine.run, flow(), backend="trio") == [[1, 2, 3], "db"]


def test_an_engine_can_be_opened_on_one_loop_after_another(backend_name: str) -> None:
    engine = everywhere()

    async def use() -> Any:
        async with engine:
            return [await engine.run(step(1)), await engine.run(step(2))]

    assert anyio.run(use, backend="asyncio") == anyio.run(use, backend=backend_name) == [1, 2]


def test_an_engine_on_two_loops_at_once_is_refused(backend_name: str) -> None:
    engine = everywhere()
    is_open, may_close = threading.Event(), threading.Event()

    async def occupy() -> None:
        async with engine:
            is_open.set()
            while not may_close.is_set():
                await checkpoint()

    thread = threading.Thread(target=anyio.run, args=[occupy])
    thread.start()
    try:
        assert is_open.wait(10)
        with pytest.raises(RuntimeError, match="another event loop"):
            anyio.run(engine.run, step(), backend=backend_name)
    finally:
        may_close.set()
        thread.join(10)


def test_an_engine_refused_on_a_second_loop_still_serves_the_first(backend_name: str) -> None:
    engine = everywhere()
    refused = threading.Event()
    results: list[Any] = []

    async def serve() -> None:
        async with engine:
            await anyio.to_thread.run_sync(try_elsewhere)
            results.append(await engine.run(flow()))

    def try_elsewhere() -> None:
        try:
            anyio.run(engine.run, step(), backend="asyncio")
        except RuntimeError:
            refused.set()

    anyio.run(serve, backend=backend_name)
    assert refused.is_set()
    assert results == [[[1, 2, 3], "db"]]


def test_an_engine_that_has_not_been_opened_holds_nothing_of_anyio() -> None:
    pending: list[object] = [everywhere()]
    seen: set[int] = set()
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType, FunctionType, BuiltinFunctionType)):
            continue
        seen.add(id(thing))
        assert not type(thing).__module__.startswith(("anyio", "asyncio", "trio"))
        pending.extend(gc.get_referents(thing))


@pytest.mark.needs("trio")
def test_one_engine_can_be_a_global_of_several_programs_in_threads_one_after_another() -> None:
    engine = everywhere()
    results: list[Any] = []
    for backend in ("asyncio", "trio"):
        thread = threading.Thread(
            target=lambda name=backend: results.append(anyio.run(engine.run, step(5), backend=name))
        )
        thread.start()
        thread.join(20)
    assert results == [5, 5]


def test_who_subscribes_before_a_loop_runs_sees_everything(backend_name: str) -> None:
    engine = everywhere()
    stream = engine.subscribe()
    anyio.run(engine.run, step(), backend=backend_name)
    assert isinstance(stream.receive_nowait(), cascade.RunStarted)
    stream.close()


# -- runs beside each other ------------------------------------------------------------------------------------


async def test_runs_beside_each_other_get_their_own_results() -> None:
    results: dict[int, Any] = {}

    async def run(number: int) -> None:
        results[number] = await engine.run(step(in_thread(number)))

    async with cascade.Engine() as engine, anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(run, number)
    assert results == {number: number for number in range(10)}


async def test_a_run_that_fails_leaves_the_others_alone() -> None:
    may_go_on = anyio.Event()

    @cascade.task
    async def wait() -> str:
        await may_go_on.wait()
        return "fine"

    @cascade.task
    async def fail() -> None:
        raise ValueError("no luck")

    async with cascade.Engine() as engine, engine.start(wait()) as other:
        with pytest.raises(ValueError, match="no luck"):
            await engine.run(fail())
        may_go_on.set()
        assert await other.result() == "fine"


async def test_a_run_that_is_cancelled_leaves_the_others_alone() -> None:
    may_go_on = anyio.Event()

    @cascade.task
    async def wait() -> str:
        await may_go_on.wait()
        return "fine"

    async with cascade.Engine() as engine, engine.start(wait()) as other:
        async with engine.start(wait()) as one:
            await anyio.wait_all_tasks_blocked()
            one.cancel()
        may_go_on.set()
        assert await other.result() == "fine"


async def test_runs_share_the_engine_s_threads() -> None:
    lock, running, seen = threading.Lock(), [0], []

    @cascade.task
    def count() -> None:
        with lock:
            running[0] += 1
            seen.append(running[0])
        anyio.from_thread.run(checkpoint)
        with lock:
            running[0] -= 1

    async with cascade.Engine(max_threads=2) as engine, anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(engine.run, [count() for _ in range(4)])
    assert max(seen) <= 2


async def test_one_flow_can_run_beside_itself() -> None:
    flow = step(in_thread(step(1)))
    results: list[Any] = []

    async def run() -> None:
        results.append(await engine.run(flow))

    async with cascade.Engine() as engine, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(run)
    assert results == [1] * 5


async def test_without_being_opened_an_engine_is_open_for_as_long_as_its_runs_are() -> None:
    engine = cascade.Engine()
    async with engine.subscribe(cascade.RunFinished) as events:
        await engine.run(step(), run_id="only")
        assert [event.run_id async for event in events] == ["only"]


async def test_runs_beside_each_other_keep_an_engine_open_that_was_not_opened() -> None:
    may_go_on = anyio.Event()

    @cascade.task
    async def wait() -> None:
        await may_go_on.wait()

    engine = cascade.Engine()
    async with engine.subscribe(cascade.RunFinished) as events:
        async with engine.start(wait(), run_id="long"):
            await engine.run(step(), run_id="short")
            may_go_on.set()
        assert [event.run_id async for event in events] == ["short", "long"]


async def test_two_blocks_may_open_one_engine() -> None:
    engine = cascade.Engine()
    async with engine:
        async with engine:
            await engine.run(step())
        with record_events(engine) as recorded:
            await engine.run(step())
    assert recorded.of(cascade.RunFinished)


async def test_a_nested_run_without_settings_is_on_the_engine_around_it() -> None:
    @cascade.task
    async def outer() -> None:
        await cascade.run(step())

    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            await engine.run(outer())
    assert len(recorded.of(cascade.RunFinished)) == 2


async def test_a_nested_run_with_settings_tells_the_engine_around_it_nothing() -> None:
    @cascade.task
    async def outer() -> None:
        await cascade.run(step(), max_threads=1)

    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            await engine.run(outer())
    assert len(recorded.of(cascade.RunFinished)) == 1


async def test_capacity_shows_what_is_held_and_the_total() -> None:
    async with cascade.Engine(system_resources={"gpu": 3}) as engine:

        @cascade.task
        async def look() -> Any:
            return engine.capacity()

        assert await engine.run(look().with_constraints(gpu=2)) == {"gpu": (2, 3)}
        assert engine.capacity() == {"gpu": (0, 3)}
