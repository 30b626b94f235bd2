"""k. Plain data: what it costs to look through 200 000 records that are given, returned or mapped.

And the longest gap of the loop while a million small lists are returned.

The baseline is a loop of Python that touches each container, and does nothing with it.
"""

from __future__ import annotations

import argparse
import gc
import pickle
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench_gap import longest_gap, nothing
from data_tasks import LISTS, from_process, small_lists
from harness import Figure, Work, main, medians, sized

import cascade

SIZE = 200_000
GOAL_US = 0.5
GOAL_MS = 10.0
Records = list[dict[str, Any]]


def records(size: int) -> Records:
    """Two containers each: the record, and the list in it."""
    return [{"id": number, "name": str(number), "tags": ["a", "b"]} for number in range(size)]


@cascade.task(mode="inline")
def length(data: Sequence[Any]) -> int:
    """How long they are."""
    return len(data)


@cascade.task(mode="inline")
def item(row: Any) -> None:
    """Nothing."""


def returning(data: Any) -> dict[str, cascade.Task[[], Any]]:
    """Tasks that return *data*, by where they run."""

    def give() -> Any:
        return data

    async def give_later() -> Any:
        return data

    return {
        "inline": cascade.task(give, mode="inline", name="give_inline"),
        "async": cascade.task(give_later),
        "thread": cascade.task(give),
    }


async def by_hand(data: Records) -> None:
    """Touch each container."""
    for record in data:
        for value in record.values():
            if type(value) is list:
                for _ in value:
                    pass


async def as_argument(data: Records) -> None:
    """The records as an argument."""
    assert await cascade.run(length(data)) == len(data)


async def as_result(task: cascade.Task[[], Any]) -> None:
    """The records as a result, handed on to another task."""
    assert await cascade.run(length(task())) > 0


async def as_column(column: Sequence[Any]) -> None:
    """A column, of records or of others."""
    assert len(await cascade.run(item.map(row=column))) == len(column)


async def data_cases(backend: str, rounds: int, size: int) -> Sequence[Figure]:
    """Microseconds for each container. Of a map only what records take more than numbers."""
    data = records(size)
    works: dict[str, Work] = {
        "argument": partial(as_argument, data),
        **{f"result, {where}": partial(as_result, task) for where, task in returning(data).items()},
        "column": partial(as_column, data),
        "numbers": partial(as_column, range(size)),
        "by hand": partial(by_hand, data),
    }
    taken = await medians(rounds, **works)
    us = {name: seconds / (2 * size) * 1e6 for name, seconds in taken.items()}
    looked = partial(Figure, "k. data", backend, "us", goal=GOAL_US)
    compared = [
        looked(
            value=us[name],
            baselines={"by hand": us["by hand"]},
            variant=name,
            against="by hand",
            ratio=taken.ratio(name, "by hand"),
        )
        for name in works
        if name not in ("column", "numbers", "by hand")
    ]
    whole = {"a column of records": us["column"], "of numbers": us["numbers"]}
    return [*compared, looked(value=us["column"] - us["numbers"], baselines=whole, variant="column")]


async def gap_cases(backend: str, rounds: int, lists: int) -> Sequence[Figure]:
    """The longest gap of the loop, without garbage collections; and the most that the loop computes in one itself.

    What comes from a process is unpickled in one step of C, which cannot be cut into slices.
    """
    data = small_lists(lists)
    flows: dict[str, Callable[[], Any]] = {
        **{where: partial(_size_of, task) for where, task in returning(data).items()},
        "process": lambda: length(from_process(lists)),
    }
    figures = []
    for where, flow in flows.items():
        gc.collect()
        gc.disable()
        try:
            gaps = [await longest_gap(partial(cascade.run, flow())) for _ in range(rounds)]
            beside = {
                "without a flow": statistics.median([await longest_gap(partial(nothing, 0.3)) for _ in gaps]),
                "computing": await longest_gap(partial(cascade.run, flow()), time.thread_time),
            }
            if where == "process":
                beside["unpickling"] = unpickling(data)
        finally:
            gc.enable()
        gap, goal = statistics.median(gaps), None if where == "process" else GOAL_MS
        figures.append(Figure("k. data", backend, "ms", gap, goal, baselines=beside, variant=f"gap, {where}"))
    return figures


def _size_of(task: cascade.Task[[], Any]) -> Any:
    return length(task())


def unpickling(data: object) -> float:
    """Milliseconds for it."""
    pickled = pickle.dumps(data)
    began = time.perf_counter()
    pickle.loads(pickled)
    return (time.perf_counter() - began) * 1e3


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """All of it."""
    return [
        *await data_cases(backend, rounds, sized(options, SIZE)),
        *await gap_cases(backend, rounds, sized(options, LISTS)),
    ]


if __name__ == "__main__":
    main(cases)
