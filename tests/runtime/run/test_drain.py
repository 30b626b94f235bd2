"""Draining: what runs ends and counts, nothing more starts, and the run says that it can go on later."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio import sleep
from anyio.lowlevel import checkpoint
from virtual_time import virtual_loops

import cascade
from cascade.testing import record_events

anyio_backend = virtual_loops


class Log(list[str]):
    """Who began and who ended."""

    def job(self, name: str, seconds: float = 10.0) -> cascade.LazyResult[str]:
        async def work() -> str:
            self.append(f"{name} begins")
            await sleep(seconds)
            self.append(f"{name} ends")
            return name

        return cascade.task(name=name)(work)()


async def drained(flow: Any, after: float, **settings: Any) -> cascade.RunFinished:
    """The last event of a run of *flow* that is drained *after* so many seconds; its result says so too."""
    engine = cascade.Engine(**settings)
    with record_events(engine) as recorded:
        async with engine.start(flow) as run:
            await sleep(after)
            run.drain()
            with pytest.raises(cascade.RunCancelled, match="was drained before"):
                await run.result()
            assert run.status().state == "Drained"
    finished = recorded.of(cascade.RunFinished)[-1]
    assert isinstance(finished, cascade.RunFinished)
    assert not engine._admission.holdings.active
    assert not list(engine._admission.queue.waiters())
    return finished


async def test_what_runs_ends_and_nothing_else_begins(schedule: Any) -> None:
    log = Log()
    flow = [log.job("next").after(log.job("a"), log.job("b", 20))]
    finished = await drained(flow, 1, schedule=schedule)
    assert sorted(log) == ["a begins", "a ends", "b begins", "b ends"]
    assert finished.status == "Drained"
    assert finished.duration == 20
    assert finished.counts["succeeded"] == 2
    assert finished.counts["pending"] == 1


async def test_who_waits_for_capacity_or_a_rule_never_begins(schedule: Any) -> None:
    log = Log()
    flow = [log.job(name).with_constraints(gpu=1) for name in "ab"]
    plane = cascade.Engine().control
    await plane.pause("task:held")
    await drained([*flow, log.job("held")], 1, schedule=schedule, system_resources={"gpu": 1}, control=plane)
    assert len(log) == 2


async def test_a_node_between_two_attempts_makes_no_other(schedule: Any) -> None:
    attempts = 0

    @cascade.task(retry=cascade.Retry(max_attempts=2, delay=1000))
    async def fails() -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError

    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        async with engine.start(fails()) as run:
            await sleep(1)
            run.drain()
    assert recorded.of(cascade.RunFinished)[0].status == "Drained"
    assert recorded.of(cascade.RunFinished)[0].duration == 1
    assert [event.status for event in recorded.of(cascade.TaskExecutionFinished)] == ["Cancelled"]
    assert attempts == 1


@pytest.mark.parametrize("window", [2, None])
async def test_items_that_run_end_and_the_map_is_left(schedule: Any, window: int | None) -> None:
    begun, ended = 0, 0

    @cascade.task
    async def item(number: int) -> None:
        nonlocal begun, ended
        begun += 1
        await sleep(number % 7)
        ended += 1

    flow = item.map(number=range(30))
    finished = await drained(
        [flow if window is None else flow.with_concurrency(window), Log().job("next").after(flow)],
        2.5,
        schedule=schedule,
    )
    assert begun == ended
    assert finished.counts["pending"] == (1 if window is None else 2)


async def test_a_loop_ends_with_the_turn_that_runs() -> None:
    @cascade.task
    async def turn(number: int) -> Any:
        await sleep(1)
        return turn(number + 1)

    assert (await drained(turn(0), 3.5)).duration == 4


async def test_a_flow_that_a_node_asked_for_is_left_too(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def middle() -> Any:
        return log.job("second", 10).after(log.job("first", 10))

    await drained([log.job("last", 1).after(middle())], 5, schedule=schedule)
    assert log == ["first begins", "first ends"]


async def test_a_nested_run_belongs_to_the_task_that_runs(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def outer() -> None:
        await cascade.run(log.job("second").after(log.job("first")))

    await drained([log.job("last").after(outer())], 5, schedule=schedule)
    assert log == ["first begins", "first ends", "second begins", "second ends"]


async def test_a_flow_of_which_all_runs_succeeds(schedule: Any) -> None:
    log = Log()
    async with cascade.start([log.job("a"), log.job("b")], schedule=schedule) as run:
        await sleep(1)
        run.drain()
        run.drain()
        assert await run.result() == ["a", "b"]
    assert run.status().state == "Succeeded"


async def test_a_failure_meanwhile_is_a_failure(schedule: Any) -> None:
    @cascade.task
    async def fails() -> None:
        await sleep(5)
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        async with cascade.start([fails(), Log().job("a").after(fails())], schedule=schedule) as run:
            await sleep(1)
            run.drain()
            await run.result()


async def test_a_drained_run_can_still_be_cancelled(schedule: Any) -> None:
    log = Log()
    async with cascade.start(log.job("b").after(log.job("a")), schedule=schedule) as run:
        await sleep(1)
        run.drain()
        await sleep(1)
        run.cancel()
    assert run.status().state == "Cancelled"
    assert log == ["a begins"]


async def test_a_full_subscriber_keeps_no_run_from_draining(schedule: Any) -> None:
    @cascade.task
    async def tick(number: int) -> int:
        return number

    run_tick = cascade.start([tick(n) for n in range(100)], schedule=schedule)
    async with run_tick as run, run.subscribe(buffer=10) as events:
        await sleep(1)
        run.drain()
        with anyio.fail_after(60), pytest.raises(cascade.RunCancelled):
            await run.result()
        assert [type(event) async for event in events][-1] is cascade.RunFinished


@pytest.mark.parametrize("freed_by", ["capacity", "resume", "limit"])
async def test_nothing_starts_that_was_admitted_in_the_step_in_which_a_run_began_to_drain(freed_by: str) -> None:
    begun: list[int] = []
    release = anyio.Event()

    @cascade.task(name="part")
    async def part(number: int) -> int:
        begun.append(number)
        await release.wait()
        return number

    engine = cascade.Engine(system_resources={"gpu": 1})
    async with engine:
        if freed_by == "resume":
            await engine.control.pause("task:part")
        if freed_by == "limit":
            await engine.control.limit("task:part", concurrency=1)
        claim = 1 if freed_by == "capacity" else 0
        flow = [part(number).with_constraints(gpu=claim) for number in range(50)]
        async with engine.start(flow) as run:
            while len(begun) < (freed_by != "resume"):
                await checkpoint()
            for _ in range(10):
                await checkpoint()
            match freed_by:
                case "capacity":
                    engine.set_capacity({"gpu": 1000})
                case "resume":
                    await engine.control.resume("task:part")
                case _:
                    await engine.control.limit("task:part", concurrency=1000)
            seen = len(begun)
            run.drain()
            for _ in range(20):
                await checkpoint()
            assert len(begun) == seen
            release.set()
            with pytest.raises(cascade.RunCancelled, match="was drained before"):
                await run.result()


@pytest.mark.parametrize("is_clumsy", [False, True])
async def test_a_node_that_was_admitted_and_has_to_ask_again_is_left(schedule: Any, *, is_clumsy: bool) -> None:
    log = Log()

    @cascade.resource(scope="task")
    async def opened() -> Any:
        await sleep(5)
        try:
            yield "open"
        finally:
            log.append("closed")
            if is_clumsy:
                raise OSError("the door is stuck")

    @cascade.task
    async def use(value: Any) -> None:
        log.append("begins")

    flow = use(cascade.inject("opened")).with_constraints(gpu=1)
    engine = cascade.Engine(providers=[opened], system_resources={"gpu": 1}, schedule=schedule)
    async with engine.start(flow) as run:
        await sleep(1)
        await run.limit("task:other", concurrency=1)  # after admission, and before it starts
        run.drain()
        with pytest.raises(OSError if is_clumsy else cascade.RunCancelled, match=r"stuck|was drained"):
            await run.result()
        assert run.status().state == ("Failed" if is_clumsy else "Drained")
    assert log == ["closed"]
    assert engine.capacity()["gpu"][0] == 0
