"""How much memory maps of very many items take."""

from __future__ import annotations

import tracemalloc
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import cascade


@pytest.fixture
def anyio_backend() -> Any:
    """What items take does not depend on the loop."""
    return "asyncio"


@pytest.mark.parametrize("way", ["values", "outcomes"])
async def test_an_item_takes_few_bytes_beside_its_value(way: str, schedule: Any) -> None:
    held: list[int] = []
    size = 3_000

    @cascade.task(mode="inline")
    def step(n: Any, is_last: bool) -> Any:
        n = n.value if isinstance(n, cascade.Done) else n
        if is_last and n == size // 2:
            held.append(tracemalloc.get_traced_memory()[0])
        return n

    def flow(size: int) -> Any:
        taken: Any = cascade.settled if way == "outcomes" else lambda mapped: mapped
        twice = step.partial(is_last=False).map(n=taken(step.partial(is_last=False).map(n=range(size))))
        return step.partial(is_last=True).map(n=taken(twice))

    await cascade.run(flow(1), schedule=schedule)  # imports what is imported late
    tracemalloc.start()
    try:
        await cascade.run(flow(size), schedule=schedule)
    finally:
        tracemalloc.stop()
    assert held[0] / size / 3 < 100


class Page(bytearray):
    """Ten kilobytes, of which it is known how many there are."""

    __slots__ = ()
    size = 10_000
    alive = 0
    most = 0

    def __init__(self) -> None:
        super().__init__(self.size)
        Page.alive += 1
        Page.most = max(Page.most, Page.alive)

    def __del__(self) -> None:
        Page.alive -= 1


# At night as large as the maps that it is about.
@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_large_items_take_memory_only_while_they_are_in_flight(count: int) -> None:
    @cascade.task
    async def fetch(n: int) -> Page:
        if not n % 7:
            await anyio.lowlevel.checkpoint()
        return Page()

    @cascade.task
    async def parse(page: Page) -> Page:
        return Page()

    @cascade.task
    async def store(page: Page) -> int:
        return len(page)

    def flow(count: int) -> Any:
        return store.map(page=parse.map(page=fetch.map(n=range(count))))

    await cascade.run(flow(1), schedule="eager")  # imports what is imported late
    Page.most = 0
    tracemalloc.start()
    try:
        assert await cascade.run(flow(count), schedule="eager") == [Page.size] * count
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert Page.alive == 0
    assert Page.most < 1_000
    # Beyond what is in flight: 20 MB for 100 000 items, and some of it does not depend on how many there are.
    assert peak - Page.most * Page.size < max(200 * count, 1_200_000)
