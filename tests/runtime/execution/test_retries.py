"""Retries: how often, how patiently, for what, and what is held meanwhile. In virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import current_time, sleep
from life import Flaky, Halt, errors, stray_cancellation
from virtual_time import virtual_loops

import cascade
from cascade.testing import record_events

anyio_backend = virtual_loops


# -- how often -------------------------------------------------------------------------------------------------


async def test_a_task_without_retry_is_attempted_once() -> None:
    flaky = Flaky(*errors(1))
    with pytest.raises(ValueError, match="attempt 1"):
        await cascade.run(flaky.call())
    assert len(flaky.times) == 1


async def test_max_attempts_counts_the_first_one(schedule: Any) -> None:
    flaky = Flaky(*errors(2))
    assert await cascade.run(flaky.call().with_retry(max_attempts=3), schedule=schedule) == 3


async def test_the_error_of_the_last_attempt_is_raised() -> None:
    failures = errors(3)
    flaky = Flaky(*failures)
    with pytest.raises(ValueError, match="attempt 2") as caught:
        await cascade.run(flaky.call().with_retry(max_attempts=2))
    assert caught.value is failures[1]
    assert len(flaky.times) == 2


async def test_the_error_of_an_earlier_attempt_is_not_its_context() -> None:
    with pytest.raises(ValueError, match="attempt 2") as caught:
        await cascade.run(Flaky(*errors(2)).call().with_retry(max_attempts=2))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


async def test_a_call_may_lift_the_retry_of_its_task() -> None:
    failures = errors(1)

    @cascade.task(retry=cascade.Retry(max_attempts=3))
    async def fails() -> None:
        raise failures.pop()

    with pytest.raises(ValueError, match="attempt 1"):
        await cascade.run(fails().with_retry(None))


async def test_each_item_of_a_map_is_attempted_again_by_itself(schedule: Any) -> None:
    calls: list[int] = []

    @cascade.task(retry=cascade.Retry(max_attempts=2))
    async def second_time_lucky(x: int) -> int:
        calls.append(x)
        if calls.count(x) == 1:
            raise ValueError(x)
        return -x

    assert await cascade.run(second_time_lucky.map(x=[1, 2, 3]), schedule=schedule) == [-1, -2, -3]
    assert sorted(calls) == [1, 1, 2, 2, 3, 3]


async def test_retry_covers_the_function_and_not_the_flow_that_it_returned() -> None:
    inner = Flaky(*errors(1))
    outer_calls: list[None] = []

    @cascade.task(retry=cascade.Retry(max_attempts=3))
    async def outer() -> cascade.LazyResult[int]:
        outer_calls.append(None)
        return inner.call()

    @cascade.task
    async def use(value: object) -> object:
        return value

    with pytest.raises(ValueError, match="attempt 1"):
        await cascade.run(use(outer()))
    assert len(outer_calls) == 1
    assert len(inner.times) == 1


# -- how patiently ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "pauses"),
    [
        pytest.param(cascade.Retry(4, delay=2.0), [2, 2, 2], id="constant"),
        pytest.param(cascade.Retry(5, delay=0.5, backoff=2.0), [0.5, 1, 2, 4], id="exponential"),
        pytest.param(cascade.Retry(5, delay=1.0, backoff=10.0, max_delay=30.0), [1, 10, 30, 30], id="bounded"),
        pytest.param(cascade.Retry(3), [0, 0], id="none"),
    ],
)
async def test_pauses_grow_by_the_back_off_up_to_the_bound(retry: cascade.Retry, pauses: list[float]) -> None:
    flaky = Flaky(*errors(len(pauses)))
    await cascade.run(flaky.call().with_retry(retry))
    assert flaky.pauses == pauses


async def test_jitter_shortens_each_pause_by_at_most_its_share() -> None:
    flaky = Flaky(*errors(20))
    await cascade.run(flaky.call().with_retry(21, delay=10.0, jitter=0.5))
    assert all(5 <= pause <= 10 for pause in flaky.pauses)
    assert len(set(flaky.pauses)) > 1


async def test_a_huge_back_off_does_not_overflow() -> None:
    flaky = Flaky(*errors(40))
    await cascade.run(flaky.call().with_retry(41, delay=1.0, backoff=1e300, max_delay=1.0))
    assert flaky.pauses == [1.0] * 40


async def test_a_pause_that_cannot_fit_the_enclosing_deadline_is_not_slept() -> None:
    flaky = Flaky(*errors(3))
    began = current_time()
    with pytest.raises(ValueError, match="attempt 2"), anyio.fail_after(15):
        await cascade.run(flaky.call().with_retry(4, delay=10.0))
    assert flaky.pauses == [10]
    assert current_time() == began + 10


async def test_the_pause_that_does_not_fit_is_not_announced() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(ValueError, match="attempt 1"), anyio.fail_after(5):
        await engine.run(Flaky(*errors(2)).call().with_retry(3, delay=10.0))
    assert recorded.of(cascade.TaskRetrying) == []


async def test_a_nested_run_keeps_to_the_timeout_of_the_task_around_it() -> None:
    inner = Flaky(*errors(3))

    @cascade.task(timeout=5.0)
    async def outer() -> int:
        return await cascade.run(inner.call().with_retry(4, delay=10.0))

    with pytest.raises(ValueError, match="attempt 1"):
        await cascade.run(outer())


# -- what for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "is_covered"),
    [
        pytest.param(OSError("down"), True, id="class"),
        pytest.param(ConnectionError("down"), True, id="subclass"),
        pytest.param(ValueError("bad"), False, id="other"),
        pytest.param(ExceptionGroup("both", [OSError("a"), ConnectionError("b")]), True, id="group"),
        pytest.param(
            ExceptionGroup("deep", [ExceptionGroup("down", [OSError("a")]), OSError("b")]), True, id="nested-group"
        ),
        pytest.param(ExceptionGroup("mixed", [OSError("a"), ValueError("b")]), False, id="mixed-group"),
    ],
)
async def test_only_errors_named_by_on_are_worth_another_attempt(raised: Exception, is_covered: bool) -> None:
    flaky = Flaky(raised)
    flow = flaky.call().with_retry(3, on=(OSError,))
    if is_covered:
        assert await cascade.run(flow) == 2
    else:
        with pytest.raises(type(raised)) as caught:
            await cascade.run(flow)
        assert caught.value is raised
        assert len(flaky.times) == 1


async def test_a_group_may_be_named_by_on_itself() -> None:
    flaky = Flaky(ExceptionGroup("both", [KeyError("a")]))
    assert await cascade.run(flaky.call().with_retry(2, on=(ExceptionGroup,))) == 2


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        Halt(),
        BaseExceptionGroup("with an exit", [SystemExit(3), ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_no_exception_is_never_retried(error: BaseException) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)) as caught:
        await cascade.run(flaky.call().with_retry(3))
    assert caught.value is error
    assert len(flaky.times) == 1


async def test_a_cancellation_is_never_retried() -> None:
    attempts: list[None] = []

    @cascade.task(retry=cascade.Retry(max_attempts=3))
    async def waits() -> None:
        attempts.append(None)
        await anyio.sleep_forever()

    with anyio.move_on_after(1):
        await cascade.run(waits())
    assert len(attempts) == 1


async def test_a_stray_cancellation_is_never_retried() -> None:
    attempts: list[None] = []

    @cascade.task(retry=cascade.Retry(max_attempts=3))
    async def strays() -> None:
        attempts.append(None)
        raise await stray_cancellation()

    with pytest.raises(cascade.TaskCancelledError):
        await cascade.run(strays())
    assert len(attempts) == 1


async def test_a_failure_while_being_cancelled_is_not_retried() -> None:
    attempts: list[None] = []

    @cascade.task(retry=cascade.Retry(max_attempts=3))
    async def fails_when_cancelled() -> None:
        attempts.append(None)
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    with pytest.raises(ValueError, match="in clean-up"), anyio.move_on_after(1):
        await cascade.run(fails_when_cancelled())
    assert len(attempts) == 1


async def test_a_timeout_is_an_error_like_others_to_retry() -> None:
    durations = [100.0, 100.0, 1.0]

    @cascade.task(timeout=5.0, retry=cascade.Retry(max_attempts=3, on=(TimeoutError,)))
    async def slow() -> float:
        duration = durations.pop(0)
        await sleep(duration)
        return duration

    began = current_time()
    assert await cascade.run(slow()) == 1.0
    assert current_time() == began + 11


# -- what is held meanwhile ------------------------------------------------------------------------------------


async def test_a_back_off_sleep_holds_no_capacity() -> None:
    order: list[str] = []

    @cascade.task(constraints={"gpu": 1}, retry=cascade.Retry(2, delay=10.0))
    async def patient() -> None:
        order.append("patient")
        if order.count("patient") == 1:
            raise ValueError

    @cascade.task(constraints={"gpu": 1})
    async def other() -> None:
        order.append("other")
        await sleep(1)

    await cascade.run(cascade.gather(patient(), other()), system_resources={"gpu": 1})
    assert sorted(order[:2]) == ["other", "patient"]
    assert order[2:] == ["patient"]


async def test_cancelling_ends_a_back_off_sleep_at_once() -> None:
    began = current_time()
    async with anyio.create_task_group() as group:
        # Cancelled without a deadline: a pause that does not fit one is not slept in the first place.
        group.start_soon(cascade.run, Flaky(*errors(5)).call().with_retry(5, delay=100.0))
        await sleep(3)
        group.cancel_scope.cancel()
    assert current_time() == began + 3


async def test_a_failing_sibling_ends_a_back_off_sleep_at_once() -> None:
    flaky = Flaky(*errors(2))

    @cascade.task
    async def fails_later() -> None:
        await sleep(1)
        raise KeyError

    began = current_time()
    with pytest.raises(KeyError):
        await cascade.run(cascade.gather(flaky.call().with_retry(3, delay=100.0), fails_later()))
    assert current_time() == began + 1
    assert len(flaky.times) == 1


# -- what is reported ------------------------------------------------------------------------------------------


async def events_of(flow: Any, *, expect: type[BaseException] | None = None) -> list[Any]:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        if expect is None:
            await engine.run(flow)
        else:
            with pytest.raises(expect):
                await engine.run(flow)
    return list(recorded.of(cascade.NodeEvent))


@pytest.mark.parametrize(("failures", "status"), [(2, "Succeeded"), (3, "Failed")])
async def test_a_node_reports_one_start_its_retries_and_one_end(failures: int, status: str) -> None:
    flow = Flaky(*errors(failures)).call().with_retry(3)
    events = await events_of(flow, expect=ValueError if status == "Failed" else None)
    assert [type(event).__name__ for event in events] == [
        "TaskExecutionStarted",
        "TaskRetrying",
        "TaskRetrying",
        "TaskExecutionFinished",
    ]
    assert (events[-1].status, events[-1].attempt) == (status, 3)


async def test_a_retry_says_which_attempt_failed_with_what_and_how_long_it_waits() -> None:
    events = await events_of(Flaky(*errors(2)).call().with_retry(4, delay=2.0, backoff=3.0))
    told = [(e.attempt, e.max_attempts, e.delay, e.error) for e in events if isinstance(e, cascade.TaskRetrying)]
    assert told == [(1, 4, 2.0, "ValueError: attempt 1"), (2, 4, 6.0, "ValueError: attempt 2")]


async def test_the_duration_of_a_node_includes_its_pauses() -> None:
    events = await events_of(Flaky(*errors(1)).call().with_retry(2, delay=7.0))
    assert events[-1].duration == pytest.approx(7.0)


async def test_the_note_counts_the_attempts() -> None:
    with pytest.raises(ValueError, match="attempt 2") as caught:
        await cascade.run(Flaky(*errors(2)).call().with_retry(2))
    assert "attempt 2 of 2" in caught.value.__notes__[0]


async def test_errors_that_were_retried_are_no_failures_of_the_run() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(Flaky(*errors(1)).call().with_retry(2))
    assert recorded.of(cascade.RunFinished)[0].failures == ()


@pytest.mark.parametrize(
    "malformed",
    [
        lambda: cascade.Retry(0),
        lambda: cascade.Retry(True),
        lambda: cascade.Retry(2, delay=-1),
        lambda: cascade.Retry(2, delay=float("inf")),
        lambda: cascade.Retry(2, delay=float("nan")),
        lambda: cascade.Retry(2, backoff=0.5),
        lambda: cascade.Retry(2, jitter=1.5),
        lambda: cascade.Retry(2, on=(KeyboardInterrupt,)),
    ],
)
def test_a_retry_without_meaning_is_refused_at_once(malformed: Callable[[], cascade.Retry]) -> None:
    with pytest.raises(ValueError, match=r"."):
        malformed()
