"""The first failure: what it ends, and what is noted on it. How it comes out is in test_original_exceptions.py."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import get_cancelled_exc_class
from life import (
    Flaky,
    errors,
    failure_of,
    finished,
    forever,
    joined,
    just,
    raising,
    stray_cancellation,
    unfinished,
)

import cascade
from cascade.testing import record_events

# -- the note --------------------------------------------------------------------------------------------------


async def test_a_note_names_task_node_attempt_and_run(schedule: Any) -> None:
    flow = Flaky(*errors(2)).call().with_retry(2)
    (note,) = (await failure_of(flow, run_id="nightly", schedule=schedule)).__notes__
    assert "task 'flaky'" in note
    assert "node 'flaky'" in note
    assert "attempt 2 of 2" in note
    assert "run 'nightly'" in note


async def test_the_note_of_a_failing_item_names_its_index() -> None:
    @cascade.task
    async def divide(x: int) -> float:
        return 1 / x

    (note,) = (await failure_of(divide.map(x=[1, 0, 2]))).__notes__
    assert "divide[1]" in note
    assert "item 1 of the map 'divide'" in note


async def test_the_notes_of_the_user_are_kept() -> None:
    error = ValueError("bad")
    error.add_note("by the user")
    await failure_of(raising(error))
    assert error.__notes__[0] == "by the user"
    assert len(error.__notes__) == 2


async def test_an_object_that_fails_two_runs_has_a_note_of_each() -> None:
    error = ValueError("bad")
    for run_id in ("monday", "tuesday"):
        assert await failure_of(raising(error), run_id=run_id) is error
    assert [run_id for note in error.__notes__ for run_id in ("monday", "tuesday") if run_id in note] == [
        "monday",
        "tuesday",
    ]


# -- what it ends ----------------------------------------------------------------------------------------------


async def test_siblings_are_cancelled_when_one_node_fails(schedule: Any) -> None:
    cancelled: list[str] = []

    @cascade.task
    async def waits(name: str) -> None:
        try:
            await anyio.sleep_forever()
        except get_cancelled_exc_class():
            cancelled.append(name)
            raise

    @cascade.task
    async def fails() -> None:
        await anyio.wait_all_tasks_blocked()
        raise ValueError("bad")

    await failure_of([waits("a"), fails(), waits("b")], schedule=schedule)
    assert sorted(cancelled) == ["a", "b"]


async def test_nothing_starts_after_a_failure(schedule: Any) -> None:
    started: list[str] = []

    @cascade.task
    async def starts(name: str, *_: Any) -> None:
        started.append(name)

    bad = raising(ValueError("bad"))
    flow = [starts("dependant", bad), starts("successor").after(bad), starts("next stage", just(just(1)))]
    await failure_of(flow, schedule=schedule)
    assert started == []


@pytest.mark.parametrize("rows", [0, 2])
async def test_no_map_starts_that_became_ready_together_with_what_failed(rows: int, schedule: Any) -> None:
    @cascade.task(mode="inline")
    def fails(_: object) -> None:
        raise ValueError("bad")

    before = just([1] * rows)
    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded, pytest.raises(ValueError, match="bad"):
        await engine.run([fails(before), just.map(value=before)])
    kinds = [type(event) for event in recorded.events]
    failed = next(place for place, event in enumerate(recorded.events) if getattr(event, "status", "") == "Failed")
    assert cascade.TaskExecutionStarted in kinds[:failed]
    assert cascade.TaskExecutionStarted not in kinds[failed:]


async def test_items_of_a_map_are_cancelled_when_one_fails(schedule: Any) -> None:
    ended: list[int] = []

    @cascade.task
    async def item(x: int) -> None:
        if x == 1:
            await anyio.wait_all_tasks_blocked()
            raise ValueError(x)
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(x)

    error = await failure_of(item.map(x=[0, 1, 2]), schedule=schedule)
    assert error.args == (1,)
    assert sorted(ended) == [0, 2]


async def test_items_that_wait_for_their_turn_never_start_after_a_failure() -> None:
    started: list[int] = []

    @cascade.task
    async def item(x: int) -> None:
        started.append(x)
        raise ValueError(x)

    await failure_of(item.map(x=[0, 1, 2]).with_concurrency(1))
    assert started == [0]


async def test_a_failure_in_a_flow_run_in_place_ends_the_whole_run(schedule: Any) -> None:
    error = ValueError("inner")

    @cascade.task
    async def asks_for_more() -> Any:
        await anyio.wait_all_tasks_blocked()
        return just(raising(error))

    assert await failure_of(joined(asks_for_more(), forever()), schedule=schedule) is error


async def test_every_node_that_began_has_ended_according_to_its_events(schedule: Any) -> None:
    @cascade.task
    async def fails() -> None:
        await anyio.wait_all_tasks_blocked()
        raise ValueError("bad")

    @cascade.task
    async def waits(x: int) -> None:
        await anyio.sleep_forever()

    @cascade.task
    async def asks_for_more() -> Any:
        return just(waits(0))

    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded, pytest.raises(ValueError, match="bad"):
        await engine.run(joined(fails(), waits(1), waits.map(x=[1, 2]), asks_for_more()))
    assert unfinished(recorded) == set()


async def test_cancelled_siblings_are_no_failures() -> None:
    @cascade.task
    async def fails() -> None:
        await anyio.wait_all_tasks_blocked()
        raise ValueError("bad")

    engine = cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(ValueError, match="bad"):
        await engine.run([forever(), fails(), forever()])
    assert finished(recorded).failures == ("ValueError: bad",)
    assert finished(recorded).counts["cancelled"] == 2


# -- cancellations that nobody asked for -----------------------------------------------------------------------


async def test_a_stray_cancellation_is_a_failure_of_the_node(schedule: Any) -> None:
    strays: list[BaseException] = []

    @cascade.task
    async def strays_off() -> None:
        strays.append(await stray_cancellation())
        raise strays[0]

    error = await failure_of(strays_off(), schedule=schedule)
    assert isinstance(error, cascade.TaskCancelledError)
    assert isinstance(error, RuntimeError)
    assert error.node_id == "strays_off"
    assert error.__cause__ is strays[0]


async def test_a_group_of_stray_cancellations_is_a_failure_of_the_node() -> None:
    @cascade.task
    async def strays_off() -> None:
        raise BaseExceptionGroup("astray", [await stray_cancellation(), await stray_cancellation()])

    assert isinstance(await failure_of(strays_off()), cascade.TaskCancelledError)


async def test_a_stray_cancellation_beside_an_error_does_not_leave_the_run() -> None:
    error = ValueError("bad")

    @cascade.task
    async def strays_off() -> None:
        raise BaseExceptionGroup("mixed", [await stray_cancellation(), error])

    raised = await failure_of(strays_off())
    assert not isinstance(raised, BaseExceptionGroup) or raised.subgroup(get_cancelled_exc_class()) is None


async def test_a_stray_cancellation_of_an_item_is_a_failure_of_the_item() -> None:
    @cascade.task
    async def strays_off(x: int) -> None:
        raise await stray_cancellation()

    error = await failure_of(strays_off.map(x=[1]))
    assert isinstance(error, cascade.TaskCancelledError)
    assert error.node_id == "strays_off[0]"


async def test_a_stray_cancellation_with_a_timeout_is_no_timeout() -> None:
    @cascade.task(timeout=1000)
    async def strays_off() -> None:
        raise await stray_cancellation()

    assert isinstance(await failure_of(strays_off()), cascade.TaskCancelledError)


async def test_a_stray_cancellation_of_a_provider_is_a_failure() -> None:
    @cascade.resource
    async def strays_off() -> Any:
        raise await stray_cancellation()
        yield

    error = await failure_of(just(cascade.inject("strays_off")), providers=[strays_off])
    assert isinstance(error, cascade.TaskCancelledError)
