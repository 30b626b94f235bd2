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
