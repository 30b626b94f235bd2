"""b. One source, 10 000 tasks, one gather: definition, building and running.

The baseline is a task of the event loop for each, in one group.
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
# Times a native task for each.
GOAL, GOAL_SYNC = 1.5, 2.0


@cascade.task
def sync_work(value: int) -> int:
    """Nothing, in a worker thread."""
    return value


@cascade.task
async def async_work(value: int) -> int:
    """Nothing, on the loop."""
    return value


@cascade.task(mode="inline")
def inline_work(value: int) -> int:
    """Nothing, right on the loop."""
    return value


@cascade.task(mode="inline")
def count(values: list[int]) -> int:
    """The one gather."""
    return len(values)


async def run_fan_out(work: cascade.Task[Any, int], schedule: Any, size: int = SIZE) -> None:
    """Define a fan-out and run it."""
    source = work(1)
    assert await cascade.run(count([work(source) for _ in range(size)]), schedule=schedule) == size


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Each kind of task, both schedules."""
    size = sized(options, SIZE)
    works: dict[str, Work] = {
        f"{kind}, {schedule}": partial(run_fan_out, work, schedule, size)
        for kind, work in (("sync", sync_work), ("async", async_work), ("inline", inline_work))
        for schedule in ("stages", "eager")
    }
    native = partial(hand_written.native_group(backend), range(size))
    by_hand: dict[str, Work] = {
        "native": native,
        **eager_tasks(backend, native),
        "AnyIO group": partial(hand_written.in_anyio_group, range(size)),
    }
    taken = await medians(rounds, **works, **by_hand)
    compared = Comparison("b. fan-out", backend, taken, size, by_hand)
    return [compared.figure(name, "native", GOAL_SYNC if name.startswith("sync") else GOAL) for name in works]


if __name__ == "__main__":
    main(cases)
