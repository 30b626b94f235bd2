"""Runs inside tasks: in the same scope tree and on the same engine; and where run_sync is refused."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.from_thread
import pytest
from anyio import to_thread
from life import Log, cancelled_when, failure_of, finished, joined, just, raising, turns

import cascade
from cascade.testing import record_events


async def test_a_nested_run_gives_its_value(schedule: Any) -> None:
    @cascade.task
    async def outer() -> Any:
        return await cascade.run(joined(just(1), just(2)))

    assert await cascade.run(outer(), schedule=schedule) == [1, 2]


async def test_a_nested_run_is_a_run_of_its_own(schedule: Any) -> None:
    @cascade.task
    async def outer() -> Any:
        return await cascade.run(just(1), run_id="inner")

    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        await engine.run(outer(), run_id="outer")
    ends = [(event.run_id, event.status) for event in recorded.of(cascade.RunFinished)]
    assert ends == [("inner", "Succeeded"), ("outer", "Succeeded")]


async def test_a_nested_run_has_the_params_that_it_is_given_and_no_others() -> None:
    @cascade.task
    async def outer(x: Any) -> Any:
        return await cascade.run(just(cascade.Param("name", default="default")))

    assert await cascade.run(outer(cascade.Param("name")), {"name": "given"}) == "default"


async def test_a_nested_run_shares_the_capacity_of_the_engine_around_it() -> None:
    held: list[int] = []

    @cascade.task(constraints={"gpu": 1})
    async def inner() -> None:
        held.append(engine.capacity()["gpu"][0])

    @cascade.task(constraints={"gpu": 1})
    async def outer() -> None:
        await cascade.run(inner())

    async with cascade.Engine(system_resources={"gpu": 2}) as engine:
        await engine.run(outer())
    assert held == [2]


async def test_a_nested_run_uses_the_providers_of_the_engine_around_it() -> None:
    @cascade.resource
    async def laboratory() -> AsyncIterator[str]:
        yield "open"

    @cascade.task
    async def outer() -> Any:
        return await cascade.run(just(cascade.inject("laboratory")))

    assert await cascade.run(outer(), providers=[laboratory]) == "open"


async def test_a_nested_run_with_settings_has_a_capacity_of_its_own() -> None:
    @cascade.task
    async def outer() -> Any:
        return await cascade.run(just(1).with_constraints(gpu=3), system_resources={"gpu": 3})

    assert await cascade.run(outer().with_constraints(gpu=1), system_resources={"gpu": 1}) == 1


async def test_a_nested_claim_that_the_task_around_it_makes_impossible_is_an_error_at_once() -> None:
    @cascade.task(constraints={"gpu": 1})
    async def outer() -> Any:
        return await cascade.run(just(1).with_constraints(gpu=1))

    with pytest.raises(cascade.DeadlockError):
        await cascade.run(outer(), system_resources={"gpu": 1})


async def test_a_nested_run_can_be_started_and_followed() -> None:
    @cascade.task
    async def outer() -> Any:
        async with cascade.start(just(1)) as run:
            return await run.result()

    assert await cascade.run(outer()) == 1


async def test_a_sync_task_runs_a_flow_through_the_loop(schedule: Any) -> None:
    @cascade.task
    def outer() -> Any:
        return anyio.from_thread.run(cascade.run, joined(just(1), just(2)))

    assert await cascade.run(outer(), schedule=schedule) == [1, 2]


async def test_runs_may_nest_deeply() -> None:
    @cascade.task
    async def level(n: int) -> Any:
        return n if n == 30 else await cascade.run(level(n + 1))

    assert await cascade.run(level(0)) == 30


# -- one scope tree --------------------------------------------------------------------------------------------


async def test_cancelling_the_outer_run_cancels_the_inner_one(schedule: Any) -> None:
    log, engine = Log(), cascade.Engine(schedule=schedule)

    @cascade.task
    async def outer() -> None:
        await cascade.run(log.waits("inner"))

    with record_events(engine) as recorded:
        assert await cancelled_when(log.has("inner starts"), lambda: engine.run(outer()))
    assert log.lines == ["inner starts", "inner is cancelled"]
    assert [event.status for event in recorded.of(cascade.RunFinished)] == ["Cancelled", "Cancelled"]


async def test_a_failing_sibling_of_the_task_around_it_cancels_a_nested_run(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def outer() -> None:
        await cascade.run(log.waits("inner"))

    @cascade.task
    async def fails() -> None:
        while not log.lines:
            await turns(1)
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await cascade.run([outer(), fails()], schedule=schedule)
    assert log.lines == ["inner starts", "inner is cancelled"]


async def test_a_task_may_cancel_its_nested_run_and_go_on() -> None:
    log = Log()

    @cascade.task
    async def outer() -> str:
        await cancelled_when(log.has("inner starts"), lambda: cascade.run(log.waits("inner")))
        return "went on"

    assert await cascade.run(outer()) == "went on"
    assert log.lines == ["inner starts", "inner is cancelled"]


async def test_a_task_may_handle_the_failure_of_its_nested_run() -> None:
    @cascade.task
    async def outer() -> str:
        try:
            await cascade.run(raising(ValueError("inner")))
        except ValueError as error:
            return f"handled {error}"
        return "nothing to handle"

    engine = cascade.Engine()
    with record_events(engine) as recorded:
        assert await engine.run(outer(), run_id="outer") == "handled inner"
    statuses = {event.run_id == "outer": event.status for event in recorded.of(cascade.RunFinished)}
    assert statuses == {True: "Succeeded", False: "Failed"}


async def test_the_failure_of_a_nested_run_is_that_of_the_task_and_has_a_note_of_each() -> None:
    error = ValueError("inner")

    @cascade.task
    async def outer() -> None:
        await cascade.run(raising(error), run_id="inner run")

    assert await failure_of(outer(), run_id="outer run") is error
    assert ["inner run" in note for note in error.__notes__] == [True, False]
    assert ["'outer'" in note and "outer run" in note for note in error.__notes__] == [False, True]


async def test_nested_runs_of_several_tasks_go_on_beside_each_other() -> None:
    arrived: list[str] = []

    @cascade.task
    async def inner(name: str) -> None:
        arrived.append(name)
        while len(arrived) < 3:
            await turns(1)

    @cascade.task
    async def outer(name: str) -> None:
        await cascade.run(inner(name))

    await cascade.run(outer.map(name=["a", "b", "c"]))
    assert sorted(arrived) == ["a", "b", "c"]


async def test_a_task_may_run_several_flows_at_once() -> None:
    @cascade.task
    async def outer() -> list[Any]:
        results: list[Any] = []

        async def collect(x: int) -> None:
            results.append(await cascade.run(just(x)))

        async with anyio.create_task_group() as group:
            for x in range(3):
                group.start_soon(collect, x)
        return sorted(results)

    assert await cascade.run(outer()) == [0, 1, 2]


async def test_the_engine_stays_open_for_a_run_that_outlives_another() -> None:
    is_running, may_end = anyio.Event(), anyio.Event()

    @cascade.task
    async def waits() -> Any:
        is_running.set()
        await may_end.wait()
        return await cascade.run(just("done"))

    results: list[str] = []

    async def run_first() -> None:
        results.append(await engine.run(waits()))

    engine = cascade.Engine()
    with record_events(engine) as recorded:
        async with anyio.create_task_group() as group:
            group.start_soon(run_first)
            await is_running.wait()
            await engine.run(just("second"))
            may_end.set()
    assert results == ["done"]
    assert len(recorded.of(cascade.RunFinished)) == 3


# -- run_sync --------------------------------------------------------------------------------------------------


async def test_run_sync_is_refused_on_the_loop() -> None:
    with pytest.raises(RuntimeError, match=r"await cascade\.run"):
        cascade.run_sync(just(1))


@pytest.mark.parametrize("settings", [{}, {"mode": "inline"}, {"abandon_on_cancel": True}], ids=str)
async def test_run_sync_is_refused_in_sync_tasks_with_the_remedy(settings: dict[str, Any]) -> None:
    @cascade.task(**settings)
    def blocks() -> str:
        try:
            return str(cascade.run_sync(just(1)))
        except RuntimeError as error:
            return str(error)

    message = await cascade.run(blocks())
    assert "run_sync cannot be used" in message
    assert "cascade.run" in message.replace("run_sync", "")


async def test_run_sync_is_refused_in_an_async_task() -> None:
    @cascade.task
    async def blocks() -> None:
        cascade.run_sync(just(1))

    with pytest.raises(RuntimeError, match="run_sync cannot be used"):
        await cascade.run(blocks())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_run_sync_works_in_worker_threads_of_anyio_as_in_sync_endpoints_of_fastapi(backend: str) -> None:
    run_sync = functools.partial(cascade.run_sync, backend=backend)
    assert await to_thread.run_sync(run_sync, just(1)) == 1
    with pytest.raises(ValueError, match="no luck"):
        await to_thread.run_sync(run_sync, raising(ValueError("no luck")))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_sync_works_in_threads_to_which_asyncio_copies_the_context(backend: str) -> None:
    async def main() -> Any:
        return await asyncio.to_thread(cascade.run_sync, just(1), backend=backend)

    assert anyio.run(main) == 1
    assert asyncio.run(main()) == 1


@pytest.mark.needs("trio")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_sync_works_in_worker_threads_of_trio(backend: str) -> None:
    import trio

    run_sync = functools.partial(cascade.run_sync, backend=backend)

    async def main() -> Any:
        return await trio.to_thread.run_sync(run_sync, just(1))

    assert trio.run(main) == 1


async def test_run_sync_is_refused_in_a_thread_that_a_task_waits_for() -> None:
    @cascade.task
    async def waits() -> Any:
        return await to_thread.run_sync(cascade.run_sync, just(1))

    with pytest.raises(RuntimeError, match="run_sync cannot be used inside a task"):
        await cascade.run(waits())


async def test_run_sync_is_refused_in_a_task_of_a_nested_run() -> None:
    @cascade.task
    def blocks() -> None:
        cascade.run_sync(just(1))

    @cascade.task
    async def outer() -> None:
        await cascade.run(blocks())

    with pytest.raises(RuntimeError, match="run_sync cannot be used"):
        await cascade.run(outer())


async def test_a_refused_run_sync_runs_nothing() -> None:
    log = Log()
    with pytest.raises(RuntimeError):
        cascade.run_sync(log.waits("a"))
    assert log.lines == []


def test_run_sync_is_refused_where_asyncio_runs_without_anyio() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="run_sync cannot be used"):
            cascade.run_sync(just(1))

    asyncio.run(main())


def test_run_sync_works_in_a_thread_that_serves_no_loop(backend_name: str) -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(cascade.run_sync(just(1), backend=backend_name)))
    thread.start()
    thread.join(30)
    assert results == [1]


async def test_a_nested_run_of_a_cancelled_task_does_not_begin() -> None:
    log = Log()
    engine = cascade.Engine()

    @cascade.task
    async def runs_in_clean_up() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            await cascade.run(log.waits("inner"))

    with record_events(engine) as recorded:
        assert await cancelled_when(log.has("starts"), lambda: engine.run(runs_in_clean_up()))
    assert log.lines == ["starts"]
    assert finished(recorded).status == "Cancelled"


async def test_a_nested_run_under_a_shield_may_clean_up() -> None:
    log = Log()

    @cascade.task
    async def runs_in_clean_up() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                log.lines.append(await cascade.run(just("cleaned up")))

    assert await cancelled_when(log.has("starts"), lambda: cascade.run(runs_in_clean_up()))
    assert log.lines == ["starts", "cleaned up"]
