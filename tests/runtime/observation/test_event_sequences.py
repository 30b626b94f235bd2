"""Exactly which events a run makes, in which order, and what they say."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from life import finished, forever
from observed import events_of
from plain_tasks import fail, in_thread, source

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.testing import Recorded, record_events


def shown(recorded: Recorded) -> list[str]:
    """The events as short words: class, and node or stage, and outcome."""
    found = []
    for event in recorded.events:
        said = [getattr(event, name, None) for name in ("task_id", "index", "status", "reason", "attempt")]
        found.append(" ".join([type(event).__name__, *(str(word) for word in said if word is not None)]))
    return found


# -- sequences -------------------------------------------------------------------------------------------------


async def test_a_linear_success() -> None:
    recorded = await events_of(in_thread(source()))
    assert shown(recorded) == [
        "RunStarted",
        "StageStarted 0",
        "TaskExecutionStarted source",
        "TaskExecutionFinished source Succeeded 1",
        "StageFinished 0",
        "StageStarted 1",
        "TaskExecutionStarted in_thread",
        "TaskExecutionFinished in_thread Succeeded 1",
        "StageFinished 1",
        "RunFinished Succeeded",
    ]


async def test_the_eager_schedule_has_no_stages() -> None:
    recorded = await events_of(in_thread(source()), schedule="eager")
    assert shown(recorded) == [
        "RunStarted",
        "TaskExecutionStarted source",
        "TaskExecutionFinished source Succeeded 1",
        "TaskExecutionStarted in_thread",
        "TaskExecutionFinished in_thread Succeeded 1",
        "RunFinished Succeeded",
    ]


async def test_a_plain_value() -> None:
    assert shown(await events_of(5)) == ["RunStarted", "RunFinished Succeeded"]


async def test_a_failure() -> None:
    recorded = await events_of(in_thread(fail()))
    assert shown(recorded) == [
        "RunStarted",
        "StageStarted 0",
        "TaskExecutionStarted fail",
        "TaskExecutionFinished fail Failed 1",
        "RunFinished Failed",
    ]


async def test_a_failure_cancels_those_that_run(schedule: Any) -> None:
    started = anyio.Event()

    @cascade.task
    async def runs() -> None:
        started.set()
        await anyio.sleep_forever()

    @cascade.task
    async def fails() -> None:
        await started.wait()
        raise ValueError

    recorded = await events_of([runs(), fails()], schedule=schedule)
    assert [word for word in shown(recorded) if "Finished" in word] == [
        "TaskExecutionFinished fails Failed 1",
        "TaskExecutionFinished runs Cancelled 1",
        "RunFinished Failed",
    ]


async def test_a_retry_in_the_end_successful(schedule: Any) -> None:
    attempts: list[int] = []

    @cascade.task
    async def fragile() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("again")
        return "fine"

    recorded = await events_of(fragile().with_retry(5), schedule=schedule)
    assert [word for word in shown(recorded) if "fragile" in word] == [
        "TaskExecutionStarted fragile",
        "TaskRetrying fragile 1",
        "TaskRetrying fragile 2",
        "TaskExecutionFinished fragile Succeeded 3",
    ]


async def test_a_retry_in_vain(schedule: Any) -> None:
    recorded = await events_of(fail().with_retry(2), schedule=schedule)
    assert [word for word in shown(recorded) if "fail" in word] == [
        "TaskExecutionStarted fail",
        "TaskRetrying fail 1",
        "TaskExecutionFinished fail Failed 2",
    ]


async def test_a_skip(schedule: Any) -> None:
    recorded = await events_of(cascade.sequence([source(), in_thread(2).run_if(False)]), schedule=schedule)
    assert [word for word in shown(recorded) if "in_thread" in word] == ["TaskSkipped in_thread ConditionFalse"]


async def test_a_pruned_task(schedule: Any) -> None:
    flow = cascade.Router(source("a"), {"a": in_thread(1), "b": fail()})
    recorded = await events_of(flow, schedule=schedule)
    assert [word for word in shown(recorded) if "fail" in word] == ["TaskSkipped fail Pruned"]


async def test_a_cache_hit(schedule: Any) -> None:
    flow = source("kept").with_cache(InputCache(MemoryCacheStore()))
    await cascade.run(flow)
    recorded = await events_of(flow, schedule=schedule)
    assert [word for word in shown(recorded) if "source" in word] == ["TaskSkipped source CacheHit"]
    assert finished(recorded).counts["succeeded"] == 1


async def test_a_cache_miss() -> None:
    recorded = await events_of(source().with_cache(InputCache(MemoryCacheStore())), schedule="eager")
    assert shown(recorded) == [
        "RunStarted",
        "TaskExecutionStarted source",
        "TaskExecutionFinished source Succeeded 1",
        "RunFinished Succeeded",
    ]


async def test_a_map(schedule: Any) -> None:
    recorded = await events_of(source.map(value=[7, 8]).with_concurrency(1), schedule=schedule)
    assert [word for word in shown(recorded) if "source[" in word] == [
        "TaskExecutionStarted source[0]",
        "TaskExecutionFinished source[0] Succeeded 1",
        "TaskExecutionStarted source[1]",
        "TaskExecutionFinished source[1] Succeeded 1",
    ]


async def test_a_tail_call_has_the_events_of_each_turn(schedule: Any) -> None:
    @cascade.task
    async def count(n: int) -> Any:
        return count(n - 1) if n else "done"

    recorded = await events_of(count(2), schedule=schedule)
    assert [word for word in shown(recorded) if "count" in word] == [
        "TaskExecutionStarted count",
        "TaskExecutionFinished count Succeeded 1",
    ] * 3


async def test_a_failure_with_on_error_continue() -> None:
    recorded = await events_of([in_thread(fail()), source()], on_error="continue", schedule="eager")
    assert sorted(shown(recorded)[1:-1]) == [
        "TaskExecutionFinished fail Failed 1",
        "TaskExecutionFinished source Succeeded 1",
        "TaskExecutionStarted fail",
        "TaskExecutionStarted source",
        "TaskSkipped in_thread UpstreamFailed",
    ]


async def test_a_cancelled_run(schedule: Any) -> None:
    async with cascade.start(in_thread(forever()), schedule=schedule) as run:
        with record_events(run) as recorded:
            async with run.subscribe(cascade.TaskExecutionStarted) as events:
                await events.receive()
            run.cancel()
            with pytest.raises(cascade.RunCancelled):
                await run.result()
    assert [word for word in shown(recorded) if "Stage" not in word] == [
        "RunStarted",
        "TaskExecutionStarted forever",
        "TaskExecutionFinished forever Cancelled 1",
        "RunFinished Cancelled",
    ]


async def test_a_run_cancelled_while_a_task_waits_for_its_next_attempt() -> None:
    async with cascade.start(fail().with_retry(2, delay=1000)) as run:
        with record_events(run) as recorded:
            async with run.subscribe(cascade.TaskRetrying) as events:
                await events.receive()
            run.cancel()
            with pytest.raises(cascade.RunCancelled):
                await run.result()
    assert [word for word in shown(recorded) if "fail" in word] == [
        "TaskExecutionStarted fail",
        "TaskRetrying fail 1",
        "TaskExecutionFinished fail Cancelled 1",
    ]


async def test_a_run_cancelled_while_a_task_waits_for_capacity(schedule: Any) -> None:
    flow = [forever().with_constraints(gpu=1) for _ in range(2)]
    async with cascade.start(flow, system_resources={"gpu": 1}, schedule=schedule) as run:
        with record_events(run) as recorded:
            async with run.subscribe(cascade.TaskBlocked) as events:
                blocked = await events.receive()
            run.cancel()
            with pytest.raises(cascade.RunCancelled):
                await run.result()
    assert isinstance(blocked, cascade.TaskBlocked)
    assert recorded.about(blocked.task_id) == [blocked]


async def test_a_nested_run_has_events_under_its_own_id_on_the_engine_s_bus(schedule: Any) -> None:
    @cascade.task
    async def outer() -> None:
        await cascade.run(source(), run_id="inner run")

    recorded = await events_of(outer(), schedule=schedule)
    names = [(type(event).__name__, event.run_id) for event in recorded.events if "Run" in type(event).__name__]
    assert names == [
        ("RunStarted", "this run"),
        ("RunStarted", "inner run"),
        ("RunFinished", "inner run"),
        ("RunFinished", "this run"),
    ]


# -- waiting ---------------------------------------------------------------------------------------------------


async def test_a_wait_for_capacity_is_reported_once_per_wait(schedule: Any) -> None:
    attempts: list[str] = []

    @cascade.task
    async def contend(name: str) -> None:
        await anyio.wait_all_tasks_blocked()
        attempts.append(name)
        if len(attempts) <= 2:
            raise OSError

    flow = [contend("a").with_retry(2), contend("b").with_retry(2)]
    flow = [lazy.with_constraints(gpu=1) for lazy in flow]
    recorded = await events_of(flow, system_resources={"gpu": 1}, schedule=schedule)
    blocked = recorded.of(cascade.TaskBlocked)
    # The second waits for the first, then the first's next attempt for the second's, and then that one's.
    assert {event.reason for event in blocked} == {"ResourceContention"}
    assert len(blocked) == 3
    assert blocked[0].task_id == blocked[2].task_id != blocked[1].task_id


async def test_a_task_that_need_not_wait_is_not_blocked(schedule: Any) -> None:
    flow = [source().with_constraints(gpu=1) for _ in range(2)]
    recorded = await events_of(flow, system_resources={"gpu": 2}, schedule=schedule)
    assert recorded.of(cascade.TaskBlocked) == []
