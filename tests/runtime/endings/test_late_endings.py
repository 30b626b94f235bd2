"""What counts when: nodes that end after the run, stages of a plan of one's own, inputs that still run."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import get_cancelled_exc_class
from anyio.lowlevel import checkpoint
from life import cancelled_when, give_way_never, joined, just

import cascade
from cascade.planning.solve import Plan
from cascade.testing import record_events

pytestmark = pytest.mark.loop


@pytest.mark.parametrize("count", [1, 3])
async def test_what_a_thread_gives_after_the_run_has_failed_does_not_count(count: int, schedule: Any) -> None:
    is_in, may_end = threading.Event(), threading.Event()

    @cascade.task
    def work(number: int) -> int:
        is_in.set()
        may_end.wait(20)
        return number

    @cascade.task
    async def fails() -> None:
        while not is_in.is_set():
            await checkpoint()
        threading.Timer(0.01, may_end.set).start()
        raise ValueError("bad")

    flow = [*[work(number) for number in range(count)], fails()]
    async with cascade.start(flow, schedule=schedule, max_threads=1) as run:
        with pytest.raises(ValueError, match="bad"):
            await run.result()
    counts = run.status().counts
    assert (counts["succeeded"], counts["failed"]) == (0, 1)


async def test_what_a_coroutine_gives_though_it_was_cancelled_does_not_count(schedule: Any) -> None:
    begun = anyio.Event()

    @cascade.task
    async def swallows() -> int:
        begun.set()
        with suppress(get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return 1

    @cascade.task
    async def fails() -> None:
        await begun.wait()
        raise ValueError("bad")

    async with cascade.start([swallows(), fails()], schedule=schedule) as run:
        with pytest.raises(ValueError, match="bad"):
            await run.result()
    assert run.status().counts == {"pending": 0, "succeeded": 0, "skipped": 0, "failed": 1, "cancelled": 1}


async def test_what_a_node_gives_though_its_run_was_cancelled_does_not_count(schedule: Any) -> None:
    begun = anyio.Event()

    @cascade.task(mode="task")
    async def swallows() -> str:
        begun.set()
        with suppress(get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return "done"

    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        assert await cancelled_when(begun.is_set, partial(engine.run, swallows()))
    (finished,) = recorded.of(cascade.TaskExecutionFinished)
    assert finished.status == "Cancelled"


@pytest.mark.parametrize("mode", ["inline", None])
async def test_no_turn_follows_the_one_that_cancels_its_run(
    mode: Any, schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_way_never(monkeypatch)
    made: list[int] = []
    runs: list[cascade.Run] = []

    def turn(number: int) -> Any:
        made.append(number)
        if number == 7:
            runs[0].cancel()
        return again(number + 1) if number < 100 else "end"

    async def async_turn(number: int) -> Any:
        return turn(number)

    again: Any = cascade.task(mode=mode)(turn if mode == "inline" else async_turn)
    async with cascade.start(again(0), schedule=schedule) as run:
        runs.append(run)
        with pytest.raises(cascade.RunCancelled):
            await run.result()
    assert made == list(range(8))


async def test_a_node_behind_a_skipped_one_is_skipped_though_its_last_input_came_in_a_lane(schedule: Any) -> None:
    ran: list[object] = []

    @cascade.task
    async def uses(*values: Any) -> None:
        ran.append(values)

    skipped = joined(just(1), just(2)).run_if(False)
    with pytest.raises(cascade.DependencyMissingError):
        await cascade.run(uses(skipped, just(just(just(3)))), schedule=schedule)
    assert not ran


async def test_what_a_router_lets_go_by_failing_is_left(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def key() -> str:
        return "nowhere"

    @cascade.task
    async def way() -> None: ...

    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded, pytest.raises(cascade.RouteNotFoundError):
        await engine.run(cascade.Router(key(), {"a": way(), "b": way()}))
    assert recorded.of(cascade.TaskSkipped) == []
    (finished,) = recorded.of(cascade.RunFinished)
    assert finished.counts == {"pending": 2, "succeeded": 1, "skipped": 0, "failed": 0, "cancelled": 0}


async def test_a_node_starts_in_the_stage_that_a_plan_puts_it_in_though_it_is_ready_before() -> None:
    order: list[str] = []

    @cascade.task
    async def first() -> None:
        await checkpoint()
        order.append("first")

    @cascade.task
    async def second() -> None:
        order.append("second")

    def one_by_one(graph: Any) -> Plan:
        return Plan(graph, tuple((node.index,) for node in graph.nodes))

    engine = cascade.Engine(solver=one_by_one)
    with record_events(engine) as recorded:
        await engine.run([first(), second()])
    assert order == ["first", "second"]
    names = [name for name in recorded.names() if name in ("StageStarted", "TaskExecutionStarted")]
    assert names == ["StageStarted", "TaskExecutionStarted"] * 2


@pytest.mark.parametrize("key", [0, 1])
async def test_no_stage_begins_when_a_run_is_drained_in_one_that_is_tried_again(key: int) -> None:
    runs: list[cascade.Run] = []

    @cascade.task
    async def drains() -> int:
        runs[0].drain()
        return 1

    # Each may decide about the other: in one of the two ways the order of the stages is the wrong one.
    first, second = (drains(), just(1)) if key else (just(1), drains())
    ways = {0: cascade.Router(first, {1: joined(second)}), 1: cascade.Router(second, {1: joined(first)})}
    engine = cascade.Engine(schedule="stages")
    with record_events(engine) as recorded:
        async with engine.start(cascade.Router(just(key), ways)) as run:
            runs.append(run)
            with pytest.raises(cascade.RunCancelled):
                await run.result()
    names = recorded.names()
    last = max(place for place, name in enumerate(names) if name == "TaskExecutionFinished")
    assert "StageStarted" not in names[last:]


async def test_an_input_that_runs_has_not_settled(schedule: Any) -> None:
    runs, may_end = anyio.Event(), anyio.Event()

    @cascade.task
    async def source() -> None:
        runs.set()
        await may_end.wait()

    @cascade.task
    async def uses(value: Any) -> None: ...

    async with cascade.start(uses(source()), schedule=schedule) as run:
        await runs.wait()
        assert [(found.node_id, found.blockers) for found in run.explain()] == [
            ("uses", ("input 'source' has not settled",))
        ]
        may_end.set()
        await run.result()
