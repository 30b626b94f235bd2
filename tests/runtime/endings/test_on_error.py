"""More than one failure: which is raised, that none is lost, and what on_error makes of them."""

from __future__ import annotations

import pickle
from typing import Any

import anyio
import pytest
from anyio import get_cancelled_exc_class
from life import Halt, failure_of, finished, forever, joined, just, raising, turns, unfinished

import cascade
from cascade.testing import Recorded, record_events


@cascade.task
async def failing_in_clean_up(error: Exception) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise error


@cascade.task
async def failing_when_all_wait(error: BaseException) -> None:
    await anyio.wait_all_tasks_blocked()
    raise error


@cascade.task
async def grouping_in_clean_up(error: Exception) -> None:
    """Fails, when it is cancelled, with a group of that failure and cancellations."""
    async with anyio.create_task_group() as group:
        group.start_soon(failing_in_clean_up.func, error)
        group.start_soon(anyio.sleep_forever)


async def recorded_failure(flow: Any, **settings: Any) -> tuple[BaseException, Recorded]:
    """What running *flow* raises, and the events of the run."""
    engine = cascade.Engine(**settings)
    with record_events(engine) as recorded:
        try:
            await engine.run(flow)
        except get_cancelled_exc_class():
            raise
        except BaseException as error:
            return error, recorded
    raise AssertionError("the run did not fail")


# -- "first" ---------------------------------------------------------------------------------------------------


async def test_the_failure_that_came_first_is_raised(schedule: Any) -> None:
    first = ValueError("first")
    flow = [failing_in_clean_up(KeyError("second")), failing_when_all_wait(first), failing_in_clean_up(OSError())]
    assert await failure_of(flow, schedule=schedule) is first


async def test_no_failure_is_lost_and_they_are_listed_in_order_of_time(schedule: Any) -> None:
    flow = [failing_in_clean_up(KeyError("second")), failing_when_all_wait(ValueError("first"))]
    _, recorded = await recorded_failure(flow, schedule=schedule)
    assert finished(recorded).failures == ("ValueError: first", "KeyError: 'second'")
    assert finished(recorded).error == "ValueError: first"
    assert finished(recorded).counts["failed"] == 2


@pytest.mark.parametrize(("others", "words"), [(0, None), (1, "1 other"), (3, "3 other")])
async def test_the_note_counts_the_other_failures(others: int, words: str | None) -> None:
    flow = [failing_when_all_wait(ValueError("first")), *[failing_in_clean_up(OSError(n)) for n in range(others)]]
    notes = (await failure_of(flow)).__notes__
    if words is None:
        assert len(notes) == 1
    else:
        assert words in notes[-1]


async def test_each_failure_is_annotated_with_its_own_node() -> None:
    later = [KeyError("a"), OSError("b")]
    flow = [failing_when_all_wait(ValueError()), *[failing_in_clean_up(error) for error in later]]
    node_ids = cascade.plan(flow).stages[0][1:]
    await failure_of(flow)
    for error, node_id in zip(later, node_ids, strict=True):
        assert f"node {node_id!r}" in error.__notes__[0]


async def test_cancelled_parts_are_split_out_of_groups_of_later_failures() -> None:
    later = KeyError("later")
    _, recorded = await recorded_failure([failing_when_all_wait(ValueError("first")), grouping_in_clean_up(later)])
    assert len(finished(recorded).failures) == 2
    assert finished(recorded).failures[1].endswith("(1 sub-exception)")


async def test_an_exception_that_passes_through_several_nodes_is_one_failure(schedule: Any) -> None:
    error = ValueError("deep")

    @cascade.task
    async def asks_for_more() -> Any:
        return just(raising(error))

    raised, recorded = await recorded_failure(just(just(asks_for_more())), schedule=schedule)
    assert raised is error
    assert finished(recorded).failures == ("ValueError: deep",)


async def test_a_node_that_fails_with_the_exception_of_another_is_reported_as_failed() -> None:
    error = ValueError("shared")

    @cascade.task
    async def fails_too() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    raised, recorded = await recorded_failure([failing_when_all_wait(error), fails_too()])
    assert raised is error
    ended = {event.task_id: event.status for event in recorded.of(cascade.TaskExecutionFinished)}
    assert ended == {"failing_when_all_wait": "Failed", "fails_too": "Failed"}


# -- exits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_error", ["first", "group", "continue"])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
async def test_an_exit_is_raised_as_it_is_and_ends_the_run(error: BaseException, on_error: str) -> None:
    flow = [failing_when_all_wait(error), forever(), failing_in_clean_up(OSError())]
    assert await failure_of(flow, on_error=on_error) is error


@pytest.mark.parametrize("on_error", ["group", "continue"])
async def test_what_no_group_of_exceptions_can_hold_is_raised_as_it_is(on_error: str) -> None:
    halt, is_waiting, has_failed = Halt(), anyio.Event(), anyio.Event()

    @cascade.task
    async def fails() -> None:
        await is_waiting.wait()
        has_failed.set()
        raise ValueError("first")

    @cascade.task
    async def halts() -> None:
        is_waiting.set()
        try:
            await has_failed.wait()
            await turns(10)
        finally:
            raise halt

    assert await failure_of([fails(), halts()], on_error=on_error) is halt


@pytest.mark.parametrize("on_error", ["first", "group", "continue"])
async def test_an_exit_of_an_item_ends_the_run(on_error: str) -> None:
    @cascade.task
    async def item(x: int) -> None:
        if x == 1:
            raise SystemExit(3)
        await anyio.sleep_forever()

    assert isinstance(await failure_of(item.map(x=[0, 1, 2]), on_error=on_error), SystemExit)


async def test_an_exit_goes_before_failures_that_came_first() -> None:
    @cascade.task
    async def exits_in_clean_up() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise SystemExit(3)

    raised, recorded = await recorded_failure([failing_when_all_wait(ValueError("first")), exits_in_clean_up()])
    assert isinstance(raised, SystemExit)
    assert finished(recorded).failures == ("ValueError: first", "SystemExit: 3")


# -- "group" ---------------------------------------------------------------------------------------------------


async def test_group_raises_a_group_even_of_one(schedule: Any) -> None:
    error = ValueError("only")
    raised = await failure_of(raising(error), on_error="group", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    assert isinstance(raised, ExceptionGroup)
    assert raised.exceptions == (error,)


async def test_group_aborts_like_first_and_raises_all_in_order_of_time() -> None:
    first, second = ValueError("first"), KeyError("second")
    flow = [failing_in_clean_up(second), failing_when_all_wait(first), forever()]
    raised = await failure_of(flow, on_error="group")
    assert isinstance(raised, cascade.RunFailed)
    assert raised.exceptions == (first, second)


async def test_a_group_that_the_user_raised_stands_in_the_group_as_it_is() -> None:
    error = ExceptionGroup("the user's", [ValueError(1)])
    raised = await failure_of(raising(error), on_error="group")
    assert isinstance(raised, cascade.RunFailed)
    assert raised.exceptions == (error,)


async def test_a_successful_run_raises_nothing_whatever_on_error_says() -> None:
    for on_error in ("first", "group", "continue"):
        assert await cascade.run(just(1), on_error=on_error) == 1


async def test_except_star_catches_the_failures_by_their_types() -> None:
    caught: list[str] = []
    try:
        await cascade.run([raising(ValueError()), raising(KeyError())], on_error="continue")
    except* ValueError:
        caught.append("ValueError")
    except* KeyError:
        caught.append("KeyError")
    assert caught == ["ValueError", "KeyError"]


# -- "continue" ------------------------------------------------------------------------------------------------


async def test_continue_runs_what_does_not_depend_on_a_failure(schedule: Any) -> None:
    ran: list[str] = []

    @cascade.task
    async def runs(name: str, *_: Any) -> None:
        ran.append(name)

    bad = raising(ValueError("bad"))
    flow = [runs("second", runs("first")), runs("dependant", bad), runs("beyond", runs("dependant", bad))]
    raised = await failure_of(flow, on_error="continue", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    assert ran == ["first", "second"]


async def test_dependants_of_a_failure_are_skipped_because_of_it(schedule: Any) -> None:
    bad = raising(ValueError("bad"))
    flow = [just(bad), just(1).after(bad), just(2).run_if(bad), just(just(bad))]
    _, recorded = await recorded_failure(flow, on_error="continue", schedule=schedule)
    assert [event.reason for event in recorded.of(cascade.TaskSkipped)] == ["UpstreamFailed"] * 5
    assert finished(recorded).counts["skipped"] == 5


async def test_continue_keeps_the_values_that_are_wanted(schedule: Any) -> None:
    flow = [just("a"), just(raising(ValueError())), joined(just("b"), raising(KeyError()))]
    raised = await failure_of(flow, on_error="continue", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    assert "a" in raised.results.values()
    assert set(raised.results.values()) <= {"a", "b"}
    assert len(raised.exceptions) == 2


async def test_continue_keeps_results_of_none_and_false() -> None:
    raised = await failure_of([just(None), just(False), raising(ValueError())], on_error="continue")
    assert isinstance(raised, cascade.RunFailed)
    assert sorted(map(repr, raised.results.values())) == ["False", "None"]


async def test_continue_runs_all_items_of_a_map(schedule: Any) -> None:
    ran: list[int] = []

    @cascade.task
    async def item(x: int) -> int:
        ran.append(x)
        if x % 2:
            raise ValueError(x)
        return x

    raised = await failure_of([item.map(x=list(range(5))), just("a")], on_error="continue", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    assert ran == [0, 1, 2, 3, 4]
    assert sorted(error.args[0] for error in raised.exceptions) == [1, 3]


@cascade.task
async def inverse(x: float) -> float:
    return 1 / x


@cascade.task
def inverse_in_thread(x: float) -> float:
    return 1 / x


@pytest.mark.parametrize("task", [inverse, inverse_in_thread])
@pytest.mark.parametrize("wrap", [lambda flow: flow, just, lambda flow: just(just(flow))])
async def test_continue_keeps_the_values_of_the_other_items_of_a_map(task: Any, wrap: Any, schedule: Any) -> None:
    raised = await failure_of(wrap(task.map(x=[1, 0, 4, 2])), on_error="continue", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    name = task.name
    assert raised.results == {f"{name}[0]": 1.0, f"{name}[2]": 0.25, f"{name}[3]": 0.5}


@pytest.mark.parametrize("limit", [None, 1])
async def test_continue_keeps_the_values_of_items_that_are_retried_and_limited(
    limit: int | None, schedule: Any
) -> None:
    flow = inverse.map(x=[0, 1, 2, 0]).with_retry(2).with_concurrency(limit)
    raised = await failure_of(flow, on_error="continue", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    assert raised.results == {"inverse[1]": 1.0, "inverse[2]": 0.5}


async def test_continue_keeps_the_values_of_items_of_a_map_inside_an_item(schedule: Any) -> None:
    @cascade.task
    async def row(n: int) -> Any:
        return inverse.map(x=[n, 0]) if n else n

    raised = await failure_of(just(row.map(n=[0, 1, 2])), on_error="continue", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    assert raised.results == {"row[0]": 0, "row[1]/inverse[0]": 1.0, "row[2]/inverse[0]": 0.5}


@pytest.mark.parametrize("on_error", ["first", "group", "continue"])
@pytest.mark.parametrize("task", [inverse, inverse_in_thread])
async def test_a_map_with_a_failed_item_counts_as_failed(task: Any, on_error: Any, schedule: Any) -> None:
    error, recorded = await recorded_failure(just(task.map(x=[0])), on_error=on_error, schedule=schedule)
    ended = {event.task_id: event.status for event in recorded.of(cascade.TaskExecutionFinished)}
    assert ended == {task.name: "Failed", f"{task.name}[0]": "Failed"}
    assert finished(recorded).counts["failed"] == 2
    assert finished(recorded).failures == ("ZeroDivisionError: division by zero",)
    cause = error.exceptions[0] if isinstance(error, cascade.RunFailed) else error
    assert len(cause.__notes__) == 1


async def test_continue_goes_on_beside_a_failure_in_a_flow_run_in_place(schedule: Any) -> None:
    error = ValueError("inner")
    ran: list[str] = []

    @cascade.task
    async def asks_for_more() -> Any:
        return just(raising(error))

    @cascade.task
    async def runs_on(_: Any) -> None:
        ran.append("on")

    flow = [just(asks_for_more()), runs_on(just(just(1)))]
    raised = await failure_of(flow, on_error="continue", schedule=schedule)
    assert isinstance(raised, cascade.RunFailed)
    assert raised.exceptions == (error,)
    assert ran == ["on"]


async def test_continue_counts_a_failing_condition_as_a_failure() -> None:
    class Undecided:
        def __bool__(self) -> bool:
            raise ValueError("undecided")

    raised = await failure_of([just(1).run_if(just(Undecided())), just(2)], on_error="continue")
    assert isinstance(raised, cascade.RunFailed)
    assert [str(error) for error in raised.exceptions] == ["undecided"]
    assert 2 in raised.results.values()


async def test_two_nodes_that_fail_with_one_exception_both_count_as_failed() -> None:
    error = ValueError("shared")
    raised, recorded = await recorded_failure([raising(error), raising(error)], on_error="continue")
    assert isinstance(raised, cascade.RunFailed)
    assert error in raised.exceptions
    assert finished(recorded).counts["failed"] == 2


async def test_two_nodes_that_fail_with_one_exception_are_both_named_by_its_notes() -> None:
    error = ValueError("shared")
    flow = [raising(error), raising(error)]
    (node_ids,) = cascade.plan(flow).stages
    await failure_of(flow, on_error="continue")
    assert [node_id for node_id in node_ids if f"node {node_id!r}" in "\n".join(error.__notes__)] == list(node_ids)


async def test_continue_leaves_no_node_without_an_end(schedule: Any) -> None:
    @cascade.task
    async def item(x: int) -> int:
        return 1 // x

    _, recorded = await recorded_failure(
        [item.map(x=[1, 0]), raising(ValueError()), just(just(1))], on_error="continue", schedule=schedule
    )
    assert unfinished(recorded) == set()
    assert finished(recorded).counts["pending"] == 0


async def test_failures_before_a_cancellation_are_raised_instead_of_it() -> None:
    with anyio.CancelScope() as scope:

        @cascade.task
        async def cancels(_: Any) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        with pytest.raises(cascade.RunFailed) as caught:
            await cascade.run([raising(ValueError("bad")), cancels(just(1))], on_error="continue")
    assert [str(error) for error in caught.value.exceptions] == ["bad"]


# -- the exception ---------------------------------------------------------------------------------------------


async def test_parts_of_the_group_keep_its_results() -> None:
    raised = await failure_of([just(1), raising(ValueError()), raising(KeyError())], on_error="continue")
    assert isinstance(raised, cascade.RunFailed)
    part, rest = raised.split(ValueError)
    for group in (part, rest):
        assert isinstance(group, cascade.RunFailed)
        assert group.results == raised.results


async def test_the_group_survives_pickling() -> None:
    raised = await failure_of([just(1), raising(ValueError("bad"))], on_error="continue")
    again = pickle.loads(pickle.dumps(raised))
    assert isinstance(raised, cascade.RunFailed)
    assert isinstance(again, cascade.RunFailed)
    assert again.results == raised.results
    assert str(again.exceptions[0]) == "bad"


def test_on_error_takes_only_its_three_words() -> None:
    with pytest.raises(ValueError, match="on_error"):
        cascade.Engine(on_error="ignore")  # type: ignore[arg-type]


async def test_a_group_that_a_target_raises_is_one_failure_and_not_taken_apart() -> None:
    """Found by throwing an exception into each checkpoint of a nested run."""
    group = ExceptionGroup("both", [ValueError("one"), OSError("two")])

    @cascade.task
    async def fails() -> None:
        raise group

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(fails(), on_error="continue")

    assert caught.value.exceptions == (group,)
