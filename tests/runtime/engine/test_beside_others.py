"""Runs beside other tasks and other runs: in nurseries, on one engine, and in programs on Trio."""

from __future__ import annotations

import functools
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from life import Flaky, Log, errors, forever, just, raising, turns, until
from plain_tasks import doubled_param, sums

import cascade

pytestmark = pytest.mark.loop


async def test_several_runs_go_on_beside_each_other(schedule: Any) -> None:
    arrived: list[int] = []

    @cascade.task
    async def meets(x: int) -> int:
        arrived.append(x)
        await until(lambda: len(arrived) == 5)
        return x

    results: list[int] = []

    async def collect(x: int) -> None:
        results.append(await cascade.run(meets(x), schedule=schedule))

    async with anyio.create_task_group() as group:
        for x in range(5):
            group.start_soon(collect, x)
    assert sorted(results) == [0, 1, 2, 3, 4]


async def test_one_flow_may_run_several_times_at_once() -> None:
    the_flow = sums()
    results: list[int] = []

    async def collect() -> None:
        results.append(await cascade.run(the_flow))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(collect)
    assert results == [14] * 5


async def test_a_failing_run_leaves_the_other_runs_of_its_engine_alone() -> None:
    results: list[int] = []

    async def fail() -> None:
        with pytest.raises(ValueError, match="bad"):
            await engine.run(raising(ValueError("bad")))

    async def succeed() -> None:
        results.append(await engine.run(sums()))

    async with cascade.Engine() as engine, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(fail)
            group.start_soon(succeed)
    assert results == [14] * 5


async def test_a_cancelled_run_leaves_the_other_runs_of_its_engine_alone() -> None:
    log = Log()
    async with cascade.Engine() as engine, engine.start(log.waits("a")) as first:
        await until(log.has("a starts"))
        async with engine.start(forever()) as second:
            await turns(5)
            second.cancel()
        await turns(5)
        assert first.status().state == "Running"
        first.cancel()


async def test_serve_hands_out_the_run_and_goes_on() -> None:
    async with anyio.create_task_group() as group:
        run: cascade.Run = await group.start(cascade.serve, sums())
        assert isinstance(run, cascade.Run)
        assert await run.result() == 14


async def test_serve_passes_params_and_settings_on() -> None:
    async with anyio.create_task_group() as group:
        serve = functools.partial(cascade.serve, run_id="nightly", schedule="eager")
        run: cascade.Run = await group.start(serve, doubled_param(), {"limit": 10})
        assert run.id == "nightly"
        assert await run.result() == 20


async def test_an_error_that_serve_was_not_asked_for_goes_to_the_nursery() -> None:
    error = ValueError("bad")
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            await group.start(cascade.serve, raising(error))
    assert caught.value.exceptions == (error,)


async def test_an_error_that_somebody_got_from_result_does_not_go_to_the_nursery() -> None:
    for _ in range(20):
        async with anyio.create_task_group() as group:
            run: cascade.Run = await group.start(cascade.serve, raising(ValueError("bad")))
            with pytest.raises(ValueError, match="bad"):
                await run.result()


async def test_a_flow_that_cannot_run_fails_the_start_of_serve() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            await group.start(cascade.serve, just(cascade.Param("missing")))
    assert isinstance(caught.value.exceptions[0], cascade.InputError)


async def test_cancel_ends_serve_in_silence() -> None:
    async with anyio.create_task_group() as group:
        run: cascade.Run = await group.start(cascade.serve, forever())
        await turns(3)
        run.cancel()


async def test_serve_may_be_started_without_waiting_for_it() -> None:
    log = Log()
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.serve, log.waits("a"))
        await until(log.has("a starts"))
        group.cancel_scope.cancel()
    assert log.lines == ["a starts", "a is cancelled"]


# -- Trio's own ------------------------------------------------------------------------------------------------


@pytest.mark.needs("trio")
def test_a_run_is_a_task_of_a_trio_nursery() -> None:
    import trio

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            run: cascade.Run = await nursery.start(cascade.serve, sums())
            return int(await run.result())
        raise AssertionError("not reached")

    assert trio.run(main) == 14


@pytest.mark.needs("trio")
def test_a_failing_run_cancels_its_neighbours_in_a_trio_nursery() -> None:
    import trio

    ended: list[str] = []

    async def neighbour() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("neighbour")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(neighbour)
            nursery.start_soon(cascade.run, raising(ValueError("bad")))

    with pytest.raises(ExceptionGroup) as caught:
        trio.run(main)
    assert [str(error) for error in caught.value.exceptions] == ["bad"]
    assert ended == ["neighbour"]


@pytest.mark.needs("trio")
def test_a_run_keeps_to_a_scope_of_trio() -> None:
    import trio.testing

    log = Log()

    async def main() -> bool:
        with trio.move_on_after(5) as scope:
            await cascade.run(log.waits("a"))
        return scope.cancelled_caught

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert log.lines == ["a starts", "a is cancelled"]


@pytest.mark.needs("trio")
def test_time_passes_on_a_mock_clock_of_trio() -> None:
    import trio.testing

    flaky = Flaky(*errors(2))

    async def main() -> tuple[int, float]:
        began = trio.current_time()
        return await cascade.run(flaky.call().with_retry(3, delay=1000.0)), trio.current_time() - began

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == (3, 2000.0)


@pytest.mark.needs("trio")
def test_timeouts_pass_on_a_mock_clock_of_trio() -> None:
    import trio.testing

    async def main() -> float:
        began = trio.current_time()
        with pytest.raises(cascade.TaskTimeoutError):
            await cascade.run(forever().with_timeout(1000))
        return trio.current_time() - began

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 1000


@pytest.mark.needs("trio")
def test_sync_tasks_run_under_a_mock_clock_of_trio() -> None:
    import trio.testing

    assert trio.run(cascade.run, sums(), clock=trio.testing.MockClock(autojump_threshold=0)) == 14


@pytest.mark.needs("trio")
def test_a_mock_clock_that_stands_still_does_not_hold_up_a_run() -> None:
    import trio.testing

    assert trio.run(cascade.run, sums(), clock=trio.testing.MockClock()) == 14
