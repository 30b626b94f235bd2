"""c. A map over 10 000 items."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import hand_written
from harness import Figure, main, medians

import cascade

SIZE = 10_000
GOAL_US = 3.0


@cascade.task
def sync_item(value: int) -> int:
    """Nothing, in a worker thread."""
    return value


@cascade.task
async def async_item(value: int) -> int:
    """Nothing, on the loop."""
    return value


async def run_map(item: cascade.Task[Any, int], schedule: Any) -> None:
    """Define a map and run it."""
    assert len(await cascade.run(item.map(value=range(SIZE)), schedule=schedule)) == SIZE


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Both kinds of task; a single map is the same in both schedules."""
    del options
    works = {item.name: partial(run_map, item, "stages") for item in (sync_item, async_item)}
    taken = await medians(
        rounds,
        **works,
        anyio_group=partial(hand_written.in_anyio_group, range(SIZE)),
        native_group=partial(hand_written.native_group(backend), range(SIZE)),
    )
    by_hand = {name: taken[name] / SIZE * 1e6 for name in ("anyio_group", "native_group")}
    return [
        Figure(f"c. map, {name}", backend, "us/item", taken[name] / SIZE * 1e6, GOAL_US, baselines=by_hand)
        for name in works
    ]


if __name__ == "__main__":
    main(cases)
