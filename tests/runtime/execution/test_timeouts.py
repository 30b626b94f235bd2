"""Timeouts of async tasks, in virtual time; those of threads are in test_thread_timeouts.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from anyio import current_time, get_cancelled_exc_class, sleep
from life import finished, just, unfinished
from virtual_time import virtual_loops

import cascade
from cascade.testing import record_events

pytestmark = pytest.mark.loop


anyio_backend = virtual_loops


@cascade.task
async def slow(seconds: float) -> float:
    await sleep(seconds)
    return seconds


@pytest.mark.parametrize("mode", [None, "task"])
async def test_an_attempt_that_takes_too_long_is_cut_short(mode: Any, schedule: Any) -> None:
    @cascade.task(mode=mode)
    async def sleepy() -> None:
        await anyio.sleep_forever()

    began = current_time()
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(sleepy().with_timeout(5), schedule=schedule)
    assert current_time() == began + 5


async def test_the_error_is_a_timeout_error_that_names_node_and_limit() -> None:
    with pytest.raises(TimeoutError, match=r"'slow' exceeded its timeout of 5 s") as caught:
        await cascade.run(slow(10).with_timeout(5))
    assert isinstance(caught.value, cascade.TaskTimeoutError)
    assert (caught.value.node_id, caught.value.timeout) == ("slow", 5.0)
    assert caught.value.__cause__ is None


async def test_what_ends_in_time_is_not_disturbed() -> None:
    assert await cascade.run(slow(4).with_timeout(5)) == 4


async def test_waiting_for_capacity_does_not_count() -> None:
    flow = cascade.gather(*[slow(4).with_timeout(5).with_constraints(gpu=1) for _ in range(3)])
    assert await cascade.run(flow, system_resources={"gpu": 1}) == (4, 4, 4)


async def test_opening_a_resource_does_not_count() -> None:
    @cascade.resource(scope="task")
    async def laboratory() -> AsyncIterator[str]:
        await sleep(100)
        yield "open"

    @cascade.task(timeout=5)
    async def use(lab: str = cascade.inject("laboratory")) -> str:
        await sleep(4)
        return lab

    assert await cascade.run(use(), providers=[laboratory]) == "open"


async def test_a_call_may_change_and_lift_the_timeout_of_its_task() -> None:
    @cascade.task(timeout=5)
    async def takes(seconds: float) -> float:
        await sleep(seconds)
        return seconds

    assert await cascade.run(takes(8).with_timeout(9)) == 8
    assert await cascade.run(takes(8).with_timeout(None)) == 8
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(takes(4).with_timeout(3))


async def test_each_item_of_a_map_has_the_timeout_for_itself() -> None:
    assert await cascade.run(slow.map(seconds=[4, 4, 4]).with_timeout(5).with_concurrency(1)) == [4, 4, 4]
    with pytest.raises(cascade.TaskTimeoutError, match=r"slow\[1\]"):
        await cascade.run(slow.map(seconds=[4, 6, 4]).with_timeout(5))


async def test_the_timeout_ends_with_the_function_and_spares_the_flow_that_it_returned() -> None:
    @cascade.task(timeout=5)
    async def outer() -> cascade.LazyResult[float]:
        return slow(100)

    assert await cascade.run(just(outer())) == 100


# -- what user code does when time is up -----------------------------------------------------------------------


async def test_a_late_result_is_discarded() -> None:
    @cascade.task(timeout=5)
    async def late() -> str:
        with anyio.CancelScope(shield=True):
            await sleep(10)
        return "late"

    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(late())


async def test_a_result_given_in_spite_of_the_cancellation_is_discarded() -> None:
    @cascade.task(timeout=5)
    async def stubborn() -> str:
        with contextlib.suppress(get_cancelled_exc_class()):
            await anyio.sleep_forever()
        return "swallowed"

    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(stubborn())


async def test_an_error_raised_while_being_cut_short_is_the_cause() -> None:
    mishap = ValueError("in clean-up")

    @cascade.task(timeout=5)
    async def clumsy() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise mishap

    with pytest.raises(cascade.TaskTimeoutError) as caught:
        await cascade.run(clumsy())
    assert caught.value.__cause__ is mishap


async def test_an_error_that_is_late_gives_way_to_the_timeout() -> None:
    mishap = ValueError("late")

    @cascade.task(timeout=5)
    async def late() -> None:
        with anyio.CancelScope(shield=True):
            await sleep(10)
        raise mishap

    with pytest.raises(cascade.TaskTimeoutError) as caught:
        await cascade.run(late())
    assert caught.value.__cause__ is mishap


async def test_a_timeout_error_of_the_user_stays_that() -> None:
    own = TimeoutError("mine")

    @cascade.task(timeout=5)
    async def raises() -> None:
        await sleep(1)
        raise own

    with pytest.raises(TimeoutError) as caught:
        await cascade.run(raises())
    assert caught.value is own


async def test_a_deadline_inside_the_task_raises_its_own_error() -> None:
    @cascade.task(timeout=50)
    async def hurried() -> None:
        with anyio.fail_after(1):
            await sleep(2)

    with pytest.raises(TimeoutError) as caught:
        await cascade.run(hurried())
    assert type(caught.value) is TimeoutError


async def test_a_timeout_of_asyncio_works_inside_a_task(anyio_backend_name: str) -> None:
    if anyio_backend_name != "asyncio":
        pytest.skip("about asyncio.timeout")

    @cascade.task(timeout=50)
    async def hurried() -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.get_running_loop().create_future()
        return "gave up"

    assert await cascade.run(just(hurried())) == "gave up"


async def test_cancelling_the_run_is_no_timeout() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded, anyio.move_on_after(3):
        await engine.run(slow(10).with_timeout(5))
    assert finished(recorded).status == "Cancelled"
    assert unfinished(recorded) == set()


async def test_a_timeout_reaches_into_a_nested_run() -> None:
    engine = cascade.Engine()

    @cascade.task(timeout=5)
    async def outer() -> None:
        await engine.run(slow(10), run_id="inner")

    with record_events(engine) as recorded, pytest.raises(cascade.TaskTimeoutError, match="'outer'"):
        await cascade.run(outer())
    assert finished(recorded).status == "Cancelled"


# -- what user code can ask ------------------------------------------------------------------------------------


async def test_remaining_counts_down_from_the_start_of_the_attempt() -> None:
    seen: list[float] = []

    @cascade.task(timeout=5, retry=cascade.Retry(2))
    async def asks() -> None:
        seen.append(cascade.current().remaining())
        await sleep(2)
        seen.append(cascade.current().remaining())
        if len(seen) == 2:
            raise ValueError

    await cascade.run(asks())
    assert seen == pytest.approx([5, 3, 5, 3])


@pytest.mark.parametrize(
    ("enclosing", "timeout", "remaining"),
    [(8, None, 8), (8, 5, 5), (3, 5, 3), (None, None, float("inf"))],
)
async def test_remaining_goes_to_the_deadline_that_ends_first(
    enclosing: float | None, timeout: float | None, remaining: float
) -> None:
    @cascade.task
    async def asks() -> float:
        return cascade.current().remaining()

    with anyio.fail_after(enclosing):
        assert await cascade.run(asks().with_timeout(timeout)) == pytest.approx(remaining)


async def test_checkpoint_does_nothing_in_time_and_raises_the_timeout_when_late() -> None:
    raised: list[BaseException] = []

    @cascade.task(timeout=5)
    async def asks() -> None:
        cascade.checkpoint()
        try:
            with anyio.CancelScope(shield=True):
                await sleep(6)
            cascade.checkpoint()
        except TimeoutError as error:
            raised.append(error)
            raise

    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(asks())
    assert [type(error) for error in raised] == [cascade.TaskTimeoutError]


@pytest.mark.parametrize("ask", [cascade.checkpoint, cascade.current])
async def test_questions_about_the_attempt_are_refused_outside_of_tasks(ask: Callable[[], object]) -> None:
    await cascade.run(slow(0))
    with pytest.raises(RuntimeError, match="in a task of a flow"):
        ask()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), True, "5"])
def test_a_timeout_without_meaning_is_refused_at_once(seconds: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        slow(1).with_timeout(seconds)


def test_an_endless_timeout_is_none_at_all(backend_name: str) -> None:
    assert cascade.run_sync(slow(0).with_timeout(float("inf")), backend=backend_name) == 0
