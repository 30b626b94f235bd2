"""How a call ended, as a value: what settled gives, and that a failure somebody takes so ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from life import Halt, forever, just, raising
from observed import Observed, observe
from plain_tasks import give, in_thread, step

import cascade
from cascade import Done, Failed, Skipped, settled


@cascade.task
def raising_in_thread(error: BaseException) -> Any:
    raise error


@cascade.task(mode="inline")
def raising_in_place(error: BaseException) -> Any:
    raise error


@cascade.task
async def asking_for(make: Callable[[], Any]) -> Any:
    return make()


@cascade.task
def odd_ones_fail(number: int) -> int:
    if number % 2:
        raise ValueError(number)
    return number


def handled(seen: Observed) -> dict[str, bool]:
    """The nodes that failed, and whether that was handled."""
    ended = seen.recorded.of(cascade.TaskExecutionFinished)
    return {event.task_id: event.handled for event in ended if event.status == "Failed"}


# -- the value -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [raising, raising_in_thread, raising_in_place], ids=lambda task: task.name)
async def test_a_failure_is_a_value(fails: Any, schedule: Any, on_error: Any) -> None:
    error = ValueError("no")
    seen = await observe(give(settled(fails(error))), schedule=schedule, on_error=on_error)
    assert seen.value == Failed(error, fails.name, 1)
    assert seen.value.error is error
    assert handled(seen) == {fails.name: True}
    assert (seen.last.status, seen.last.failures) == ("Succeeded", ())
    assert (seen.last.counts["failed"], seen.last.counts["succeeded"]) == (1, 1)


async def test_a_value_is_done_also_one_that_is_false(schedule: Any) -> None:
    flow = [settled(just(value)) for value in (None, False, 0, "x")]
    assert await cascade.run(flow, schedule=schedule) == [Done(None), Done(False), Done(0), Done("x")]


async def test_a_skip_is_a_value_with_its_reason(schedule: Any) -> None:
    outcome = await cascade.run(settled(just(1).run_if(False)), schedule=schedule)
    assert outcome == Skipped(cascade.SkipReason.CONDITION_FALSE)
    assert (outcome.reason, outcome.task_id) == ("ConditionFalse", "just")


async def test_a_skip_that_passes_a_value_on_is_still_a_skip(schedule: Any) -> None:
    outcome = await cascade.run(settled(step(just(1)).run_if(False)), schedule=schedule)
    assert outcome == Skipped(cascade.SkipReason.CONDITION_FALSE)


async def test_of_a_chain_the_failure_is_that_of_the_call_that_failed(schedule: Any, on_error: Any) -> None:
    error = ValueError("no")
    seen = await observe(settled(step(in_thread(raising(error)))), schedule=schedule, on_error=on_error)
    assert seen.value == Failed(error, "raising", 1)
    assert seen.skipped == {"step": "UpstreamFailed", "in_thread": "UpstreamFailed"}


async def test_of_several_failures_the_one_that_stands_first_counts(schedule: Any) -> None:
    first, second = ValueError("first"), ValueError("second")
    flow = settled(cascade.gather(step(raising(first)), raising_in_place(second)))
    seen = await observe(flow, schedule=schedule)
    assert seen.value.error is first
    assert handled(seen) == {"raising": True, "raising_in_place": True}


async def test_attempts_are_counted_and_retries_come_first(schedule: Any) -> None:
    seen = await observe(settled(raising(ValueError()).with_retry(3)), schedule=schedule)
    assert (seen.value.attempts, seen.value.task_id) == (3, "raising")
    assert [event.attempt for event in seen.recorded.of(cascade.TaskRetrying)] == [1, 2]


async def test_outcomes_of_outcomes_are_done(schedule: Any) -> None:
    error = ValueError()
    flow = settled(settled(raising(error)))
    assert await cascade.run(flow, schedule=schedule) == Done(Failed(error, "raising", 1))


async def test_a_failure_knows_its_node_when_it_comes_from_a_flow_that_a_node_returned(
    schedule: Any, on_error: Any
) -> None:
    error = ValueError()
    flow = settled(step(asking_for(lambda: step(asking_for(lambda: [step(raising(error)), just(1)])))))
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    inner = "asking_for/asking_for/raising"
    assert seen.value == Failed(error, inner, 1)
    assert handled(seen) == {inner: True, "asking_for/asking_for": True, "asking_for": True}
    assert "asking_for/asking_for/just" in seen.ran
    assert seen.last.failures == ()
    assert len(getattr(error, "__notes__", [])) == 1


async def test_a_failure_in_a_returned_flow_that_settles_it_stays_there(schedule: Any) -> None:
    error = ValueError()
    seen = await observe(step(asking_for(lambda: settled(raising(error)))), schedule=schedule)
    assert seen.value == Failed(error, "asking_for/raising", 1)
    assert handled(seen) == {"asking_for/raising": True}


async def test_the_outcome_of_a_map_is_that_of_the_whole_and_all_items_run(schedule: Any, on_error: Any) -> None:
    flow = settled(odd_ones_fail.map(number=[0, 1, 2, 4, 6]))
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    assert isinstance(seen.value, Failed)
    assert (seen.value.task_id, str(seen.value.error)) == ("odd_ones_fail[1]", "1")
    assert handled(seen) == {"odd_ones_fail[1]": True, "odd_ones_fail": True}
    assert sum(status == "Succeeded" for status in seen.finished.values()) == 4
    assert await cascade.run(settled(odd_ones_fail.map(number=[0, 2]))) == Done([0, 2])


async def test_a_router_without_a_route_is_an_outcome_too(schedule: Any, on_error: Any) -> None:
    flow = settled(cascade.Router(just("x"), {"y": just(1)}))
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    assert isinstance(seen.value, Failed)
    assert isinstance(seen.value.error, cascade.RouteNotFoundError)
    assert seen.value.task_id == "router"
    assert seen.last.failures == ()


async def test_the_outcome_of_a_router_is_that_of_its_route(schedule: Any) -> None:
    error = ValueError()
    bad = settled(cascade.Router(just("x"), {"x": raising(error), "y": just(1)}))
    good = settled(cascade.Router(just("y"), {"x": raising(error), "y": just(1)}))
    assert await cascade.run([bad, good], schedule=schedule) == [Failed(error, "raising", 1), Done(1)]


async def test_an_input_is_done(schedule: Any) -> None:
    flow = give(settled(cascade.Param("x", type=int)))
    assert await cascade.run(flow, {"x": "5"}, schedule=schedule) == Done(5)


async def test_an_outcome_stands_in_containers_columns_and_claims_of_order(schedule: Any) -> None:
    error = ValueError()
    bad = Failed(error, "raising", 1)
    outcome = settled(raising(error))
    flow = {
        "nested": give([{"x": outcome}]),
        "item": give.map(value=[outcome, 2]),
        "after": just(3).after(outcome),
        "sequence": cascade.sequence([settled(just(0)), settled(step(4)), just(5)]),
    }
    assert await cascade.run(flow, schedule=schedule) == {
        "nested": [{"x": bad}],
        "item": [bad, 2],
        "after": 3,
        "sequence": 5,
    }


# -- who handles -----------------------------------------------------------------------------------------------


async def test_siblings_of_a_handled_failure_run_on(schedule: Any) -> None:
    halt = anyio.Event()

    @cascade.task
    async def slow() -> str:
        await halt.wait()
        return "slow"

    @cascade.task
    async def after_failure(outcome: Any) -> str:
        halt.set()
        return str(outcome.error)

    # In stages, the second stage is not begun before the first has ended.
    flow = [slow() if schedule == "eager" else just("slow"), after_failure(settled(raising(ValueError("no"))))]
    assert await cascade.run(flow, schedule=schedule) == ["slow", "no"]


async def test_a_target_is_not_handled(schedule: Any, on_error: Any) -> None:
    error = ValueError()
    failing = raising(error)
    seen = await observe([failing, settled(failing)], schedule=schedule, on_error=on_error)
    assert seen.failures() == [error]
    assert handled(seen) == {"raising": False}


async def test_a_failure_that_one_plain_consumer_wants_is_not_handled(schedule: Any, on_error: Any) -> None:
    error = ValueError()
    failing = raising(error)
    seen = await observe([settled(failing), step(failing)], schedule=schedule, on_error=on_error)
    assert seen.failures() == [error]
    assert handled(seen) == {"raising": False}


async def test_a_failure_is_handled_if_all_who_want_it_are(schedule: Any) -> None:
    error = ValueError()
    failing = raising(error)
    bad = Failed(error, "raising", 1)
    flow = [settled(failing), settled(step(failing)), settled(give(failing))]
    assert await cascade.run(flow, schedule=schedule) == [bad, bad, bad]


@pytest.mark.parametrize("chosen", ["plain", "other"])
async def test_who_is_behind_a_route_wants_it_once_chosen(chosen: str, schedule: Any, on_error: Any) -> None:
    error = ValueError()
    failing = raising(error)
    flow = [settled(failing), cascade.Router(step(just(chosen)), {"plain": step(failing), "other": just(1)})]
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    if chosen == "other":
        assert seen.value == [Failed(error, "raising", 1), 1]
        assert seen.last.failures == ()
    else:
        assert seen.failures() == [error]
        assert seen.last.failures == ("ValueError",)


@pytest.mark.parametrize("ends", [Halt, SystemExit, KeyboardInterrupt])
async def test_only_exceptions_are_handled(ends: type[BaseException], schedule: Any) -> None:
    error = ends()
    with pytest.raises(ends) as caught:
        await cascade.run([settled(raising(error)), forever()], schedule=schedule)
    assert caught.value is error


async def test_cancelling_the_run_is_no_outcome(schedule: Any) -> None:
    with anyio.move_on_after(0.01) as scope:
        await cascade.run(settled(forever()), schedule=schedule)
    assert scope.cancelled_caught


async def test_failures_that_nobody_handles_still_end_the_run_and_the_others(schedule: Any) -> None:
    error, other = ValueError("handled"), ValueError("not handled")
    flow = [settled(raising(error)), step(raising_in_place(other))]
    seen = await observe(flow, schedule=schedule)
    assert seen.error is other
    assert seen.last.failures == ("ValueError: not handled",)


async def test_a_clean_up_always_runs(schedule: Any, on_error: Any) -> None:
    error, ran = ValueError(), list[Any]()

    @cascade.task
    async def clean_up(outcome: Any) -> None:
        ran.append(type(outcome))

    for load in (raising(error), just(1), just(1).run_if(False)):
        await cascade.run(clean_up(settled(load)), schedule=schedule, on_error=on_error)
    assert ran == [Failed, Done, Skipped]


# -- what cannot be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (just, "call it"),
        ([just(1)], "settle each call"),
        (5, "cannot fail"),
        (cascade.inject("x"), "resource"),
    ],
    ids=["a task", "a list", "a number", "a resource"],
)
def test_what_is_no_call_is_refused(value: Any, remedy: str) -> None:
    with pytest.raises(TypeError, match=remedy):
        settled(value)


def test_an_outcome_is_no_condition() -> None:
    with pytest.raises(TypeError, match="returns a bool"):
        just(1).run_if(settled(just(1)))


@pytest.mark.parametrize("outcome", [Done(1), Failed(ValueError()), Skipped(cascade.SkipReason.PRUNED)])
def test_an_outcome_has_no_truth(outcome: Any) -> None:
    with pytest.raises(TypeError, match="unwrap"):
        bool(outcome)


def test_an_outcome_is_unwrapped() -> None:
    error = ValueError()
    assert Done(0).unwrap() == 0
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # this very error
        Failed(error).unwrap()
    assert caught.value is error
    with pytest.raises(cascade.DependencyMissingError, match="ConditionFalse"):
        Skipped(cascade.SkipReason.CONDITION_FALSE, "load").unwrap()
