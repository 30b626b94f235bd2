"""Flows in flows, hundreds of levels deep: values, failures and cancellations come up from the deepest level."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest
from observed import observe

import cascade

DEPTH = 300


@cascade.task(mode="inline")
def add(a: int, b: int) -> int:
    return a + b


async def test_a_task_may_return_a_call_on_itself_many_levels_deep(schedule: Any) -> None:
    @cascade.task
    async def count(n: int) -> Any:
        return add(1, count(n - 1)) if n else 0

    assert await cascade.run(count(DEPTH), schedule=schedule) == DEPTH


async def test_nested_flows_of_threads_get_along_with_one_thread(schedule: Any) -> None:
    @cascade.task
    def count(n: int) -> Any:
        return add(1, count(n - 1)) if n else 0

    with anyio.fail_after(100):
        assert await cascade.run(count(DEPTH), schedule=schedule, max_threads=1) == DEPTH


async def test_every_level_may_be_an_item_of_a_map_in_a_container(schedule: Any) -> None:
    @cascade.task
    async def count(n: int) -> Any:
        return [add(1, total(count.map(n=[n - 1])))] if n else [0]

    @cascade.task(mode="inline")
    def total(items: list[list[int]]) -> int:
        return sum(sum(item) for item in items)

    assert await cascade.run([count(DEPTH // 3)], schedule=schedule) == [[DEPTH // 3]]


async def test_a_failure_in_the_deepest_level_is_raised_as_it_is(schedule: Any) -> None:
    failure = ZeroDivisionError("deepest")

    @cascade.task
    async def count(n: int) -> Any:
        if not n:
            raise failure
        return add(1, count(n - 1))

    seen = await observe(count(DEPTH), schedule=schedule)
    assert seen.error is failure
    assert (failure.__cause__, failure.__context__) == (None, None)
    (note,) = failure.__notes__
    assert "count/" * (DEPTH - 1) + "count'" in note
    assert seen.last.failures == ("ZeroDivisionError: deepest",)
    assert seen.finished.keys() == set(seen.started)


async def test_a_failure_in_the_deepest_level_where_the_run_goes_on_fails_every_level_with_it(
    schedule: Any,
) -> None:
    @cascade.task
    async def count(n: int) -> Any:
        if not n:
            raise ZeroDivisionError("deepest")
        return add(1, count(n - 1))

    seen = await observe(count(DEPTH), schedule=schedule, on_error="continue")
    assert [str(error) for error in seen.failures()] == ["deepest"]
    statuses = Counter(event.status for event in seen.recorded.of(cascade.TaskExecutionFinished))
    # The first level is the target, which its flow replaced; each other one waited for the next.
    assert statuses == {"Failed": DEPTH, "Succeeded": 1}
    assert set(seen.skipped.values()) == {"UpstreamFailed"}
    assert len(seen.skipped) == DEPTH


@pytest.mark.slow
@pytest.mark.parametrize("how", ["scope", "run", "failure beside"])
async def test_a_cancellation_reaches_the_deepest_level_and_all_of_them_end(how: str, schedule: Any) -> None:
    deepest = anyio.Event()
    cleaned_up: list[int] = []

    @cascade.task
    async def count(n: int) -> Any:
        if n:
            return add(1, count(n - 1))
        try:
            deepest.set()
            await anyio.sleep_forever()
        finally:
            cleaned_up.append(n)

    @cascade.task
    async def fail_later() -> None:
        await deepest.wait()
        raise ZeroDivisionError("beside")

    with anyio.fail_after(100):
        if how == "failure beside":
            with pytest.raises(ZeroDivisionError, match="beside"):
                await cascade.run([count(DEPTH), fail_later()], schedule=schedule)
        elif how == "run":
            async with cascade.start(count(DEPTH), schedule=schedule) as run:
                await deepest.wait()
                run.cancel()
            assert run.status().state == "Cancelled"
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: cascade.run(count(DEPTH), schedule=schedule))
                await deepest.wait()
                group.cancel_scope.cancel()
    assert cleaned_up == [0]


async def test_an_outer_timeout_does_not_reach_into_the_flow_that_was_returned(schedule: Any) -> None:
    gate = anyio.Event()

    @cascade.task
    async def leaf() -> float:
        await gate.wait()
        return cascade.current().remaining()

    @cascade.task
    async def open_gate() -> None:
        gate.set()

    @cascade.task(timeout=30.0)
    async def outer() -> Any:
        assert cascade.current().remaining() <= 30.0
        return [leaf(), open_gate()]

    remaining, _ = (await cascade.run([outer()], schedule=schedule))[0]
    assert remaining == float("inf")
