"""What a cache hands out is nobody else's, and what it hands out for one task it hands out for no other."""

from __future__ import annotations

import threading
from typing import Any

import anyio.lowlevel
import pytest
from memory_cache import memory_cache

import cascade
from cascade.cache import InputCache
from cascade.testing import record_events

cache = memory_cache


# -- values that somebody changes, or uses up ------------------------------------------------------------------


async def test_a_consumer_that_changes_a_hit_changes_nothing_for_the_next(
    cache: InputCache, schedule: Any
) -> None:
    @cascade.task
    async def make(n: int) -> list[int]:
        return [n]

    @cascade.task
    async def grow(values: list[int]) -> int:
        values.append(0)
        return len(values)

    flow = grow(make(1).with_cache(cache))
    assert [await cascade.run(flow, schedule=schedule) for _ in range(3)] == [2, 2, 2]


async def test_equal_calls_at_one_time_share_no_object(cache: InputCache, schedule: Any) -> None:
    ran: list[int] = []

    @cascade.task
    async def make(n: int) -> list[int]:
        ran.append(n)
        await anyio.lowlevel.checkpoint()
        return [n]

    @cascade.task
    async def grow(values: list[int]) -> int:
        values.append(0)
        return len(values)

    flow = [grow(make(1).with_cache(cache)) for _ in range(3)]
    assert await cascade.run(flow, schedule=schedule) == [2, 2, 2]
    assert ran == [1]


@pytest.mark.parametrize("times", [1, 3])
async def test_an_iterator_is_not_cached_and_goes_to_one_call_only(
    cache: InputCache, times: int, schedule: Any
) -> None:
    ran: list[int] = []

    @cascade.task(cache=cache)
    async def numbers() -> Any:
        ran.append(1)
        return iter(range(4))

    @cascade.task
    async def total(values: Any) -> int:
        return sum(values)

    async with cascade.Engine(schedule=schedule) as engine:
        with record_events(engine) as recorded:
            for _ in range(2):
                assert await engine.run([total(numbers()) for _ in range(times)]) == [6] * times
    assert len(ran) == 2 * times
    warnings = recorded.of(cascade.EngineWarning)
    assert [warning.code for warning in warnings] == ["cache-failed"] * 2 * times
    assert "range_iterator is used up by the first that reads it" in warnings[0].message


async def test_a_value_that_cannot_be_copied_is_told_and_computed_again(cache: InputCache) -> None:
    made: list[Any] = []

    @cascade.task(cache=cache)
    async def lock() -> Any:
        made.append(threading.Lock())
        return made[-1]

    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            assert [await engine.run(lock()) for _ in range(2)] == made
    assert len(made) == 2
    assert {warning.code for warning in recorded.of(cascade.EngineWarning)} == {"cache-failed"}


# -- what a task holds -----------------------------------------------------------------------------------------


class Client:
    """Of a class that says nothing about its objects."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.asked = 0

    async def fetch(self) -> str:
        self.asked += 1
        return f"data of {self.tenant}"


async def test_a_method_shares_nothing_with_that_of_another_object(cache: InputCache) -> None:
    one, two = Client("one"), Client("two")
    calls = [cascade.task(client.fetch)().with_cache(cache) for client in (one, two, one)]
    assert [await cascade.run(call) for call in calls] == ["data of one", "data of two", "data of one"]
    assert (one.asked, two.asked) == (1, 1)


async def test_a_closure_shares_nothing_with_that_over_another_object(cache: InputCache) -> None:
    def make(client: Any) -> Any:
        @cascade.task(cache=cache)
        async def fetch() -> Any:
            return client

        return fetch()

    options = [{"factor": 2}, {"factor": 3}]
    assert [await cascade.run(make(option)) for option in options] == options


async def test_what_cannot_be_told_from_another_is_computed_each_time_and_named(cache: InputCache) -> None:
    def make(values: Any) -> Any:
        @cascade.task(cache=cache)
        async def total() -> int:
            return sum(values)

        return total()

    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            assert [await engine.run(make(iter(values))) for values in ([1, 2], [3, 4])] == [3, 7]
    warnings = recorded.of(cascade.EngineWarning)
    assert [warning.code for warning in warnings] == ["not-digestible"] * 2
    assert warnings[0].message.startswith("'total' is not cached: total.values is a builtins.list_iterator")
