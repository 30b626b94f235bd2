"""c. A map over 10 000 items.

The baseline is a task of the event loop for each item, in one group.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import hand_written
from harness import Comparison, Figure, Work, eager_tasks, main, medians, sized

import cascade

SIZE = 10_000
# Times a native task for each item.
GOAL, GOAL_SYNC = 0.75, 1.5


@cascade.task
def sync_item(value: int) -> int:
    """Nothing, in a worker thread."""
    return value


@cascade.task
async def async_item(value: int) -> int:
    """Nothing, on the loop."""
    return value


async def run_map(item: cascade.Task[Any, int], schedule: Any, size: int = SIZE) -> None:
    """Define a map and run it."""
    assert len(await cascade.run(item.map(value=range(size)), schedule=schedule)) == size


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Both kinds of task; a single map is the same in both schedules."""
    size = sized(options, SIZE)
    goals = {"sync": GOAL_SYNC, "async": GOAL}
    works: dict[str, Work] = {
        kind: partial(run_map, item, "stages", size) for kind, item in (("sync", sync_item), ("async", async_item))
    }
    native = partial(hand_written.native_group(backend), range(size))
    by_hand: dict[str, Work] = {
        "native": native,
        **eager_tasks(backend, native),
        "AnyIO group": partial(hand_written.in_anyio_group, range(size)),
    }
    taken = await medians(rounds, **works, **by_hand)
    compared = Comparison("c. map", backend, taken, size, by_hand)
    return [compared.figure(name, "native", goals[name]) for name in works]


if __name__ == "__main__":
    main(cases)
