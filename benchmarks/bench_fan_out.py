"""b. One source, 10 000 tasks, one gather: definition, building and running."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import hand_written
from harness import Figure, main, medians

import cascade

SIZE = 10_000
GOAL_US = 8.0


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
    del options
    works = {
        f"{work.name} {schedule}": partial(run_fan_out, work, schedule)
        for work in (sync_work, async_work, inline_work)
        for schedule in ("stages", "eager")
    }
    taken = await medians(
        rounds,
        **works,
        anyio_group=partial(hand_written.in_anyio_group, range(SIZE)),
        native_group=partial(hand_written.native_group(backend), range(SIZE)),
    )
    by_hand = {name: taken[name] / SIZE * 1e6 for name in ("anyio_group", "native_group")}
    return [
        Figure(f"b. fan-out, {name}", backend, "us/task", taken[name] / SIZE * 1e6, GOAL_US, baselines=by_hand)
        for name in works
    ]


if __name__ == "__main__":
    main(cases)
