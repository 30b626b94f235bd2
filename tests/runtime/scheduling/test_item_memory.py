"""How much memory maps of very many items take."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

import cascade


@pytest.fixture
def anyio_backend() -> Any:
    """What items take does not depend on the loop."""
    return "asyncio"


async def test_an_item_takes_few_bytes_beside_its_value(schedule: Any) -> None:
    taken: list[int] = []
    size = 3_000

    @cascade.task(mode="inline")
    def step(n: int, is_last: bool) -> int:
        if is_last and n == size // 2:
            taken.append(tracemalloc.get_traced_memory()[0])
        return n

    def flow(size: int) -> Any:
        twice = step.partial(is_last=False).map(n=step.partial(is_last=False).map(n=range(size)))
        return step.partial(is_last=True).map(n=twice)

    await cascade.run(flow(1), schedule=schedule)  # imports what is imported late
    tracemalloc.start()
    try:
        await cascade.run(flow(size), schedule=schedule)
    finally:
        tracemalloc.stop()
    assert taken[0] / size / 3 < 100
