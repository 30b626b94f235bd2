"""h. How cost grows: microseconds per task at 100 000 nodes over those at 10 000, the median ratio of the rounds.

In each round as many tasks are run in flows of one size as of another, half of the small ones before the large and
half after it, so that a machine whose speed changes in between changes little of the ratio.

Garbage collections, which grow with all that is alive in the process, are part of it; beside it stands what the
ratio is without them.
"""

from __future__ import annotations

import argparse
import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from bench_chain import async_link, run_chain
from bench_fan_out import async_work, run_fan_out
from bench_layers import LAYERS, PARENTS, async_node, random_parents, run_layers
from harness import Figure, main, sized, timed

SMALL, LARGE = 10_000, 100_000
GOAL = 1.3


def shapes(schedule: Any, sizes: Sequence[int]) -> dict[str, Callable[[int], Awaitable[object]]]:
    """The graphs; that in layers is ten times as wide if it is ten times as large."""
    parents = {size: random_parents(LAYERS, size // LAYERS) for size in sizes}
    return {
        "fan-out": lambda size: run_fan_out(async_work, schedule, size),
        "chain": lambda size: run_chain(async_link, schedule, size),
        f"layers of {PARENTS} parents": lambda size: run_layers(async_node, parents[size], schedule),
    }


async def round_of(
    work: Callable[[int], Awaitable[object]], sizes: Sequence[int], *, collects: bool
) -> dict[int, float]:
    """Microseconds per task by size: the mean of as many flows as have the tasks of the largest."""
    half = [size for size in sizes for _ in range(max(sizes) // size // 2)]
    taken = dict.fromkeys(sizes, 0.0)
    if not collects:
        gc.disable()
    try:
        for size in (*half, *[size for size in sizes if size not in half], *reversed(half)):
            taken[size] += await timed(partial(work, size))
            if not collects:
                gc.collect()
    finally:
        gc.enable()
    flows = {size: max(2 * half.count(size), 1) for size in sizes}
    return {size: seconds / flows[size] / size * 1e6 for size, seconds in taken.items()}


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Each shape at both sizes, in turns; the sizes between them for the plot."""
    found = []
    small = max(sized(options, SMALL), LAYERS * PARENTS)
    large = small * (LARGE // SMALL)
    sizes = [small, large] if not options.plot else [small // 10, small * 3 // 10, small, small * 3, large]
    for name, work in shapes("stages", sizes).items():
        await work(small)
        whole, own = [], []
        for _ in range(rounds):
            whole.append(await round_of(work, sizes, collects=True))
            own.append(await round_of(work, sizes, collects=False))
        beside = {f"us at {size}": statistics.median(costs[size] for costs in whole) for size in sizes}
        beside["without garbage collection"] = statistics.median(costs[large] / costs[small] for costs in own)
        ratio = statistics.median(costs[large] / costs[small] for costs in whole)
        found.append(Figure("h. growth", backend, "x", ratio, GOAL, baselines=beside, variant=name))
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """More sizes than the goal needs."""
    parser.add_argument("--plot", action="store_true", help="measure the sizes in between, too")


if __name__ == "__main__":
    main(cases, add_options)
