"""Maps whose failed items are values: with_errors, and how many have to succeed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import anyio
import pytest
from life import raising
from observed import observe
from plain_tasks import odd_ones_fail, step

import cascade
from cascade import Failed, settled


@cascade.task
def odd_ones_fail_in_threads(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


@cascade.task
async def asking(number: int) -> Any:
    return odd_ones_fail(number)


TASKS = [odd_ones_fail, odd_ones_fail_in_threads, asking]


def shown(values: list[Any]) -> list[Any]:
    """*values*, where failures are their type, text, place and attempts."""
    return [
        (type(value.error).__name__, str(value.error), value.index, value.attempts)
        if isinstance(value, Failed)
        else value
        for value in values
    ]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
async def test_failed_items_are_values_in_their_places(task: Any, schedule: Any, on_error: Any) -> None:
    flow = step(task.map(number=range(5)).with_errors("collect"))
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    assert shown(seen.value) == [0, ("ValueError", "1", 1, 1), 2, ("ValueError", "3", 3, 1), 4]
    assert seen.last.failures == ()
    failed = [event for event in seen.recorded.of(cascade.TaskExecutionFinished) if event.status == "Failed"]
    assert all(event.handled for event in failed)
    assert {f"{task.name}[1]", f"{task.name}[3]"} <= {event.task_id for event in failed}


async def test_a_collected_failure_names_its_item(schedule: Any) -> None:
    flow = asking.map(number=[0, 1]).with_errors("collect")
    assert [getattr(value, "task_id", None) for value in await cascade.run(flow, schedule=schedule)] == [
        None,
        "asking[1]/odd_ones_fail",
    ]


async def test_items_are_tried_again_before_they_are_failures(schedule: Any) -> None:
    flow = odd_ones_fail.map(number=[1]).with_retry(3).with_errors("collect")
    assert shown(await cascade.run(flow, schedule=schedule)) == [("ValueError", "1", 0, 3)]


async def test_without_failures_a_collected_map_is_like_any_other(schedule: Any) -> None:
    flow = [odd_ones_fail.map(number=numbers).with_errors("collect", 0.9) for numbers in ([0, 2], [])]
    assert await cascade.run(flow, schedule=schedule) == [[0, 2], []]


async def test_raise_takes_it_back(schedule: Any) -> None:
    flow = odd_ones_fail.map(number=[0, 1]).with_errors("collect").with_errors("raise")
    with pytest.raises(ValueError, match="1"):
        await cascade.run(flow, schedule=schedule)


async def test_failures_of_the_map_itself_are_not_collected(schedule: Any) -> None:
    flow = odd_ones_fail.map(number=raising(KeyError())).with_errors("collect")
    with pytest.raises(KeyError):
        await cascade.run(flow, schedule=schedule)


@pytest.mark.parametrize("ends", [SystemExit, KeyboardInterrupt])
async def test_only_exceptions_are_collected(ends: type[BaseException], schedule: Any) -> None:
    with pytest.raises(ends):
        await cascade.run(raising.map(error=[ends(), ValueError()]).with_errors("collect"), schedule=schedule)


@pytest.mark.parametrize("least", [4, 0.7, Decimal("0.7"), Fraction(7, 10)], ids=str)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
async def test_too_many_failures_fail_the_map(task: Any, least: Any, schedule: Any, on_error: Any) -> None:
    """Of five items, 0.7 are 3.5, so four."""
    seen = await observe(
        task.map(number=range(5)).with_errors("collect", least), schedule=schedule, on_error=on_error
    )
    (error,) = seen.failures()
    assert isinstance(error, cascade.MapFailed)
    assert {str(each) for each in error.exceptions} == {"1", "3"}
    assert error.results.items() <= {f"{task.name}[{number}]": number for number in (0, 2, 4)}.items()
    assert seen.last.failures == (f"MapFailed: {error}",)


async def test_enough_successes_are_enough(schedule: Any) -> None:
    for least in (3, 0.6):
        flow = odd_ones_fail.map(number=range(5)).with_errors("collect", min_success=least)
        assert len(await cascade.run(flow, schedule=schedule)) == 5


async def test_the_others_are_cancelled_as_soon_as_too_many_have_failed(schedule: Any) -> None:
    cancelled = list[int]()

    @cascade.task
    async def item(number: int) -> None:
        if number < 2:
            await anyio.wait_all_tasks_blocked()
            raise ValueError(number)
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(number)

    seen = await observe(settled(item.map(number=range(4)).with_errors("collect", 3)), schedule=schedule)
    assert isinstance(seen.value.error, cascade.MapFailed)
    assert sorted(cancelled) == [2, 3]
    assert {seen.finished[f"item[{number}]"] for number in (2, 3)} == {"Cancelled"}
    assert seen.last.status == "Succeeded"


async def test_what_cancelled_items_have_asked_for_is_cancelled_too(schedule: Any) -> None:
    cancelled = list[str]()

    @cascade.task
    async def forever(_value: Any = None) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(cascade.current().node_id)

    @cascade.task
    async def fail() -> None:
        await anyio.wait_all_tasks_blocked()
        raise ValueError

    makes: list[Callable[[], Any]] = [
        fail,
        lambda: step(forever()),
        lambda: forever.map(_value=[1, 2]),
        lambda: ask(lambda: step(forever())),
    ]

    @cascade.task
    async def ask(make: Callable[[], Any]) -> Any:
        return make()

    flow = [settled(ask.map(make=makes).with_errors("collect", 4)), step(5)]
    outcome, five = await cascade.run(flow, schedule=schedule)
    assert (str(outcome.error.exceptions[0]), five) == ("", 5)
    assert sorted(cancelled) == ["ask[1]/forever", "ask[2]/forever[0]", "ask[2]/forever[1]", "ask[3]/forever"]


async def test_threads_of_cancelled_items_learn_of_it_at_a_checkpoint(schedule: Any) -> None:
    waits = list[bool]()

    @cascade.task
    def item(number: int) -> None:
        if number == 0:
            while len(waits) < 2:
                cascade.checkpoint()
            raise ValueError
        waits.append(True)
        while True:
            cascade.checkpoint()

    seen = await observe(settled(item.map(number=range(3)).with_errors("collect", 3)), schedule=schedule)
    assert isinstance(seen.value.error, cascade.MapFailed)
    assert seen.finished["item[1]"] == seen.finished["item[2]"] == "Cancelled"


async def test_more_successes_than_items_are_refused_before_any_runs(schedule: Any) -> None:
    seen = await observe(odd_ones_fail.map(number=[0, 2]).with_errors("collect", 3), schedule=schedule)
    assert isinstance(seen.error, ValueError)
    assert "at least 3 items" in str(seen.error)
    assert seen.started == []


async def test_cancelling_the_run_cancels_a_map_that_has_collected_failures(schedule: Any) -> None:
    failed = anyio.Event()

    @cascade.task
    async def item(number: int) -> None:
        if number:
            await anyio.sleep_forever()
        failed.set()
        raise ValueError

    async with anyio.create_task_group() as group:
        for least in (None, 1):
            flow = settled(item.map(number=range(3)).with_errors("collect", least))
            group.start_soon(partial(cascade.run, flow, schedule=schedule))
        await failed.wait()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


async def test_a_window_of_items_holds_for_collected_ones(schedule: Any) -> None:
    flow = odd_ones_fail.map(number=range(5)).with_concurrency(2).with_errors("collect", 1)
    assert len(await cascade.run(flow, schedule=schedule)) == 5


@pytest.mark.parametrize("least", [1.0, 1.5, -1, -0.5, "3", True, float("nan")], ids=str)
def test_other_numbers_of_successes_are_refused(least: Any) -> None:
    with pytest.raises(ValueError, match="min_success"):
        odd_ones_fail.map(number=[1]).with_errors("collect", least)


def test_other_words_are_refused() -> None:
    with pytest.raises(ValueError, match="collect"):
        odd_ones_fail.map(number=[1]).with_errors("ignore")  # type: ignore[call-overload]  # that is the point
    with pytest.raises(ValueError, match="collect"):
        odd_ones_fail.map(number=[1]).with_errors("raise", 3)  # type: ignore[call-overload]  # likewise


def test_what_a_map_failed_with_can_be_taken_apart_and_pickled() -> None:
    error = cascade.MapFailed("two", [KeyError("a"), ValueError("b")], {"x[0]": 1})
    matching, rest = error.split(KeyError)
    assert isinstance(matching, cascade.MapFailed)
    assert isinstance(rest, cascade.MapFailed)
    assert matching.results == rest.results == {"x[0]": 1}
    again = pickle.loads(pickle.dumps(error))  # our own
    assert isinstance(again, cascade.MapFailed)
    assert (str(again), again.results) == (str(error), error.results)
