"""Results that can be read only once: every consumer reads all of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from life import just, turns

import cascade
from cascade.runtime.foundation.replay import AsyncReplay, Replay, for_several

ITERATORS: dict[str, Callable[[], Any]] = {
    "generator": lambda: (number for number in range(3)),
    "zip": lambda: map(sum, zip([0, 1, 2], strict=True)),
    "filter": lambda: filter(lambda _: True, range(3)),
    "iterator of a list": lambda: iter([0, 1, 2]),
    "itertools": lambda: itertools.islice(itertools.count(), 3),
    "reversed": lambda: reversed([2, 1, 0]),
}


@cascade.task
def numbers() -> Iterator[int]:
    return (number for number in range(3))


@cascade.task
async def numbers_on_loop() -> Iterator[int]:
    return (number for number in range(3))


@cascade.task
def total(values: Any) -> int:
    return sum(values)


@cascade.task
async def total_on_loop(values: Any) -> int:
    return sum(values)


@cascade.task
def increased(value: int) -> int:
    return value + 1


every_make = pytest.mark.parametrize("make", [numbers, numbers_on_loop])


@every_make
@pytest.mark.parametrize("read", [total, total_on_loop])
async def test_each_of_several_consumers_reads_all_of_it(make: Any, read: Any, schedule: Any) -> None:
    values = make()
    flow = [read(values), total(values), total_on_loop(values), just(values)]
    first, second, third, itself = await cascade.run(flow, schedule=schedule)
    assert [first, second, third, list(itself), list(itself)] == [3, 3, 3, [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("make", ITERATORS.values(), ids=ITERATORS)
async def test_any_plain_iterator_is_read_by_each(make: Any, schedule: Any) -> None:
    values = cascade.task(name="make")(make)()
    assert await cascade.run([total(values), total(values)], schedule=schedule) == [3, 3]


@every_make
async def test_a_target_is_a_consumer_too(make: Any, schedule: Any) -> None:
    values = make()
    itself, read = await cascade.run([values, total(values)], schedule=schedule)
    assert [list(itself), read] == [[0, 1, 2], 3]


@every_make
async def test_a_single_consumer_gets_the_iterator_itself(make: Any, schedule: Any) -> None:
    @cascade.task
    def first_of(values: Iterator[int]) -> int:
        return next(values)

    assert await cascade.run(first_of(make()), schedule=schedule) == 0
    assert next(await cascade.run(make(), schedule=schedule)) == 0


@every_make
async def test_maps_and_calls_read_it_alike(make: Any, schedule: Any) -> None:
    values = make()
    flow = [increased.map(value=values), increased.map(value=values), total(values)]
    assert await cascade.run(flow, schedule=schedule) == [[1, 2, 3], [1, 2, 3], 3]


@every_make
async def test_two_columns_may_be_the_same(make: Any, schedule: Any) -> None:
    pair = cascade.task(name="pair")(lambda a, b: (a, b))
    values = make()
    assert await cascade.run(pair.map(a=values, b=values), schedule=schedule) == [(0, 0), (1, 1), (2, 2)]


@every_make
async def test_each_item_of_a_map_reads_what_all_share(make: Any, schedule: Any) -> None:
    plus = cascade.task(name="plus")(lambda value, others: value + sum(others))
    flow = plus.partial(others=make()).map(value=[10, 20])
    assert await cascade.run(flow, schedule=schedule) == [13, 23]


@every_make
async def test_each_attempt_reads_all_of_it(make: Any, schedule: Any) -> None:
    attempts: list[int] = []

    @cascade.task(retry=3)
    def flaky(values: Any) -> int:
        attempts.append(sum(values))
        if len(attempts) < 3:
            raise ValueError("no luck")
        return attempts[-1]

    assert await cascade.run(flaky(make()), schedule=schedule) == 3


@every_make
async def test_consumers_of_a_router_and_of_a_skipped_step_read_all_of_it(make: Any, schedule: Any) -> None:
    routed = cascade.Router(just("all"), {"all": make()})
    passed = just(make()).run_if(just(False))
    flow = [total(routed), total_on_loop(routed), total(passed), total_on_loop(passed)]
    assert await cascade.run(flow, schedule=schedule) == [3, 3, 3, 3]


async def test_other_things_that_are_iterators_are_left_as_they_are(tmp_path: Path, schedule: Any) -> None:
    class Own:
        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            raise StopIteration

    (tmp_path / "file").write_text("text", encoding="utf-8")
    with (tmp_path / "file").open(encoding="utf-8") as opened:  # nothing waits for it
        for value in (Own(), opened, [1], range(3), "text", {"a": 1}):
            source = just(value)
            assert await cascade.run([source, just(source)], schedule=schedule) == [value, value]


async def test_what_an_iterator_raises_is_raised_to_each_consumer(schedule: Any) -> None:
    def breaking() -> Iterator[int]:
        yield 1
        raise ValueError("in the middle")

    values = cascade.task(name="make")(lambda: breaking())()
    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run([total(values), total(values)], on_error="continue", schedule=schedule)
    assert [str(error) for error in caught.value.exceptions] == ["in the middle"]


async def test_it_is_read_only_as_far_as_somebody_wants_it(schedule: Any) -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    first = cascade.task(name="first")(lambda values, count: list(itertools.islice(values, count)))
    values = cascade.task(name="make")(lambda: endless())()
    assert await cascade.run([first(values, 2), first(values, 3)], schedule=schedule) == [[0, 1], [0, 1, 2]]
    assert read == [0, 1, 2]


def test_several_threads_read_all_of_it_each() -> None:
    replay = Replay(number for number in range(10_000))
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(sum(replay))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [sum(range(10_000))] * 8


# -- async generators ------------------------------------------------------------------------------------------


async def slowly(count: int = 3) -> AsyncIterator[int]:
    for number in range(count):
        await turns(3)
        yield number


@cascade.task
async def collected(values: Any) -> list[int]:
    return [value async for value in values]


async def test_each_consumer_reads_all_of_an_async_generator(schedule: Any) -> None:
    values = cascade.task(name="make")(lambda: slowly())()
    flow = [collected(values), collected(values), collected(values)]
    assert await cascade.run(flow, schedule=schedule) == [[0, 1, 2]] * 3


async def test_what_an_async_generator_raises_is_raised_to_each() -> None:
    async def breaking() -> AsyncIterator[int]:
        yield 1
        raise ValueError("in the middle")

    replay = for_several(breaking())
    for _ in range(2):
        seen: list[int] = []
        with pytest.raises(ValueError, match="in the middle"):
            async for value in replay:
                seen.append(value)  # noqa: PERF401  # until it raises
        assert seen == [1]


async def test_a_consumer_that_is_cancelled_ends_no_other_in_silence() -> None:
    began = anyio.Event()

    async def hangs() -> AsyncIterator[int]:
        yield 1
        began.set()
        await anyio.sleep_forever()
        yield 2

    replay = for_several(hangs())
    assert isinstance(replay, AsyncReplay)
    async with anyio.create_task_group() as group:
        group.start_soon(collected.func, replay)
        await began.wait()
        group.cancel_scope.cancel()
    with pytest.raises(RuntimeError, match="cancelled while another consumer read it"):
        await collected.func(replay)
