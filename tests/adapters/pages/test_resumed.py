"""The picture of a run that is resumed: what had ended before is painted as it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from told_documents import documented

import cascade


@cascade.task(version="1")
async def same(x: int = 0) -> int:
    return x


@cascade.task(version="1")
async def odd(x: int) -> int:
    if x % 2:
        raise ValueError(x)
    return x


def boxes_of(document: dict[str, Any]) -> dict[str, str]:
    return {name: box["text"] for name, box in document["graph"]["boxes"].items()}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_had_ended_before_is_painted_as_it_ended(kind: str, tmp_path: Path, schedule: Any) -> None:
    broken, stores = [True], dict[str, cascade.state.InMemoryStateBackend]()

    @cascade.task(version="1")
    async def items(x: int) -> int:
        if broken and x == 2:
            raise ValueError
        return x

    @cascade.task(version="1")
    async def last(*_: Any) -> str:
        return "done"

    def in_memory(run_id: str) -> Any:
        return stores.setdefault(run_id, cascade.state.InMemoryStateBackend(run_id))

    whole, part, left = same.map(x=[1, 2, 3]), items.map(x=[1, 2, 3]), same(2).run_if(same(0))
    some, none = (odd.map(x=given).with_errors("collect") for given in ([1, 2, 3], [1]))
    flow = last(same(1), cascade.settled(left), whole, part, some, none)
    settings: dict[str, Any] = {
        "state": in_memory if kind == "memory" else f"sqlite:///{tmp_path / 'state.db'}",
        "run_id": "one", "on_error": "continue", "schedule": schedule,
    }  # fmt: skip

    failed = boxes_of(await documented(flow, **settings))
    broken.clear()
    resumed = boxes_of(await documented(flow, **settings))
    finished = boxes_of(await documented(flow, **settings))

    before = {"same": "✓", "same#2": "✓", "same#3": "-", "same#4": "✓3", "odd": "!2 ✓1", "odd#2": "!"}
    assert failed == {**before, "items": "✗1 ✓2", "last": "-"}
    assert resumed == {**before, "items": "✓3", "last": "✓"}
    assert finished == resumed


async def test_what_runs_again_counts_once(tmp_path: Path) -> None:
    settings = {"state": f"sqlite:///{tmp_path / 'state.db'}", "run_id": "one", "on_change": "recompute"}

    def flow(first: int) -> Any:
        @cascade.task(version="1")
        async def fails(*_: Any) -> None:
            raise ValueError

        return fails(same(first), same(2))

    before = boxes_of(await documented(flow(1), **settings))
    after = boxes_of(await documented(flow(3), **settings))
    assert after == before == {"same": "✓", "same#2": "✓", "fails": "✗"}


async def test_no_store_is_read_once_it_is_closed(schedule: Any) -> None:
    class Closing(cascade.state.InMemoryStateBackend):
        is_closed = False

        async def begin(self, opening: Any) -> Any:
            self.is_closed = False
            return await super().begin(opening)

        async def recall(self, node_ids: Any) -> Any:
            assert not self.is_closed
            return await super().recall(node_ids)

        async def aclose(self) -> None:
            self.is_closed = True

    store = Closing("one")
    settings: dict[str, Any] = {"state": lambda _: store, "run_id": "one", "schedule": schedule}
    for _ in range(2):
        assert boxes_of(await documented(same(1), **settings)) == {"same": "✓"}
        assert store.is_closed
