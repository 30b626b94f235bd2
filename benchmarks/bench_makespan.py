"""f. The layered graph with heavy-tailed sleeps, eager: how much longer than its critical path it takes."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
from bench_layers import random_parents
from harness import Figure, main, medians

import cascade

GOAL = 1.07
# Pareto: most sleeps take a few milliseconds, some a hundred.
SHORTEST, SHAPE, LONGEST = 0.004, 1.3, 0.15


def sleeps(parents: Sequence[Sequence[Sequence[int]]], seed: int = 1) -> list[list[float]]:
    """Seconds for each node."""
    rng = random.Random(seed)
    return [[min(SHORTEST * rng.paretovariate(SHAPE), LONGEST) for _ in layer] for layer in parents]


def critical_path(parents: Sequence[Sequence[Sequence[int]]], seconds: Sequence[Sequence[float]]) -> float:
    """Seconds of the longest chain."""
    ends: list[float] = []
    for layer, taken in zip(parents, seconds, strict=True):
        ends = [
            own + max((ends[source] for source in sources), default=0.0)
            for own, sources in zip(taken, layer, strict=True)
        ]
    return max(ends)


@cascade.task
async def nap(seconds: float, *_: float) -> float:
    """Sleep."""
    await anyio.sleep(seconds)
    return seconds


@cascade.task(mode="inline")
def last(values: Sequence[float]) -> int:
    """The one gather."""
    return len(values)


async def run_flow(parents: Any, seconds: Any, schedule: Any) -> None:
    """Define the graph and run it."""
    values: list[Any] = []
    for layer, taken in zip(parents, seconds, strict=True):
        values = [
            nap(own, *[values[source] for source in sources]) for own, sources in zip(taken, layer, strict=True)
        ]
    await cascade.run(last(values), schedule=schedule)


async def by_hand(parents: Any, seconds: Any) -> None:
    """A task for each node, which waits for an event of each of its parents."""
    before: list[anyio.Event] = []

    async def node(own: float, sources: Sequence[int], given: list[anyio.Event], done: anyio.Event) -> None:
        for source in sources:
            await given[source].wait()
        await anyio.sleep(own)
        done.set()

    async with anyio.create_task_group() as group:
        for layer, taken in zip(parents, seconds, strict=True):
            done = [anyio.Event() for _ in layer]
            for own, sources, event in zip(taken, layer, done, strict=True):
                group.start_soon(node, own, sources, before, event)
            before = done


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Eager, and stages for comparison."""
    del options
    parents = random_parents()
    seconds = sleeps(parents)
    bound = critical_path(parents, seconds)
    taken = await medians(
        rounds,
        eager=partial(run_flow, parents, seconds, "eager"),
        stages=partial(run_flow, parents, seconds, "stages"),
        by_hand=partial(by_hand, parents, seconds),
    )
    hand = {"tasks and events": taken["by_hand"] / bound}
    return [
        Figure("f. makespan, eager", backend, "x bound", taken["eager"] / bound, GOAL, baselines=hand),
        Figure("f. makespan, stages", backend, "x bound", taken["stages"] / bound, baselines=hand),
    ]


if __name__ == "__main__":
    main(cases)
