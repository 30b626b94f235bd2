"""k. Plain data: what it costs to look through 200 000 records that are given, returned or mapped.

And the longest gap of the loop while a million small lists are returned.

By hand is a loop that touches each container, and does nothing with it.
"""

from __future__ import annotations

import argparse
import gc
import pickle
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from bench_gap import longest_gap, nothing
from data_tasks import from_process, small_lists
from harness import Figure, main, medians

import cascade

SIZE = 200_000
# A record, and the list in it.
CONTAINERS = 2 * SIZE
GOAL_US = 0.5
GOAL_MAP = 1.2
GOAL_MS = 10.0
RECORDS = [{"id": number, "name": str(number), "tags": ["a", "b"]} for number in range(SIZE)]
LISTS = small_lists()


@cascade.task(mode="inline")
def inline_size(data: Sequence[Any]) -> int:
    """How long they are."""
    return len(data)


@cascade.task(mode="inline")
def item(row: Any) -> None:
    """Nothing."""


@cascade.task(mode="inline")
def inline_records() -> Any:
    """The records, from the loop."""
    return RECORDS


@cascade.task
def sync_records() -> Any:
    """The records, from a thread."""
    return RECORDS


@cascade.task(mode="inline")
def from_inline() -> Any:
    """The lists, from the loop."""
    return LISTS


@cascade.task
async def from_async() -> Any:
    """The lists, from a task of the loop."""
    return LISTS


@cascade.task
def from_thread() -> Any:
    """The lists, from a thread."""
    return LISTS


async def by_hand() -> None:
    """Touch each container."""
    for record in RECORDS:
        for value in record.values():
            if type(value) is list:
                for _ in value:
                    pass


async def give() -> None:
    """The records as an argument."""
    assert await cascade.run(inline_size(RECORDS)) == SIZE


async def take(records: cascade.Task[[], Any]) -> None:
    """The records as a result."""
    assert await cascade.run(inline_size(records())) == SIZE


async def spread(column: Sequence[Any]) -> None:
    """A column, of records or of others."""
    assert len(await cascade.run(item.map(row=column))) == SIZE


async def data_cases(backend: str, rounds: int) -> Sequence[Figure]:
    """Microseconds for each container; and of a map how many times as long as one over numbers."""
    taken = await medians(
        rounds,
        argument=give,
        inline_result=partial(take, inline_records),
        sync_result=partial(take, sync_records),
        column=partial(spread, RECORDS),
        numbers=partial(spread, range(SIZE)),
        by_hand=by_hand,
    )
    loop = {"loop": taken["by_hand"] / CONTAINERS * 1e6}
    figures = [
        Figure(
            f"k. data, {name}", backend, "us/container", taken[name] / CONTAINERS * 1e6, GOAL_US, baselines=loop
        )
        for name in ("argument", "inline_result", "sync_result")
    ]
    times = taken["column"] / taken["numbers"]
    return [*figures, Figure("k. data, column", backend, "x a column of numbers", times, GOAL_MAP)]


async def gap_cases(backend: str, rounds: int) -> Sequence[Figure]:
    """The longest gap of the loop, without garbage collections; and the most that the loop computes in one itself.

    What comes from a process is unpickled in one step of C, which cannot be cut into slices.
    """
    pickled = pickle.dumps(LISTS)
    figures = []
    for task in (from_thread, from_inline, from_async, from_process):
        gaps = []
        gc.collect()
        gc.disable()
        try:
            for _ in range(rounds):
                gaps.append(await longest_gap(partial(cascade.run, inline_size(task()))))  # noqa: PERF401
            bare = {
                "without a flow": statistics.median([await longest_gap(partial(nothing, 0.3)) for _ in gaps]),
                "computing": await longest_gap(partial(cascade.run, inline_size(task())), time.thread_time),
            }
            if task is from_process:
                began = time.perf_counter()
                pickle.loads(pickled)
                bare["unpickling"] = (time.perf_counter() - began) * 1e3
        finally:
            gc.enable()
        gap, goal = statistics.median(gaps), None if task is from_process else GOAL_MS
        figures.append(Figure(f"k. gap, a million lists {task.name}", backend, "ms", gap, goal, baselines=bare))
    return figures


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """All of it."""
    del options
    return [*await data_cases(backend, rounds), *await gap_cases(backend, rounds)]


if __name__ == "__main__":
    main(cases)
