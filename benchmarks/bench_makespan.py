"""f. The layered graph with heavy-tailed sleeps: how much longer than its critical path it takes.

The baseline is an AnyIO program with a task and an event for each node.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
from bench_layers import LAYERS, WIDTH, random_parents
from harness import Figure, main, medians, sized

import cascade

# Times what an AnyIO program with a task for each node and an event for each takes.
GOAL = 1.05
# Pareto: most sleeps take a few milliseconds, some a hundred.
SHORTEST, SHAPE, LONGEST = 0.004, 1.3, 0.15


def sleeps(
    parents: Sequence[Sequence[Sequence[int]]], shortest: float = SHORTEST, seed: int = 1
) -> list[list[float]]:
    """Seconds for each node."""
    rng = random.Random(seed)
    return [[min(shortest * rng.paretovariate(SHAPE), LONGEST) for _ in layer] for layer in parents]


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
    parents = random_parents(sized(options, LAYERS), sized(options, WIDTH))
    seconds = sleeps(parents, SHORTEST / 10 if options.quick else SHORTEST)
    bound = critical_path(parents, seconds)
    taken = await medians(
        rounds,
        eager=partial(run_flow, parents, seconds, "eager"),
        stages=partial(run_flow, parents, seconds, "stages"),
        by_hand=partial(by_hand, parents, seconds),
    )
    hand = {"by hand": taken["by_hand"] / bound}
    makespan = partial(Figure, "f. makespan", backend, "x bound", baselines=hand, against="by hand")
    ratios = {schedule: taken.ratio(schedule, "by_hand") for schedule in ("eager", "stages")}
    return [
        makespan(value=taken["eager"] / bound, variant="eager", ratio=ratios["eager"], goal_ratio=GOAL),
        makespan(value=taken["stages"] / bound, variant="stages", ratio=ratios["stages"]),
    ]


if __name__ == "__main__":
    main(cases)
