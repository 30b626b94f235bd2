"""h. How cost grows: microseconds per task at 100 000 nodes over those at 10 000, medians of the rounds.

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
from harness import Figure, main, timed

SMALL, LARGE = 10_000, 100_000
GOAL = 1.3


def shapes(schedule: Any) -> dict[str, Callable[[int], Awaitable[object]]]:
    """The graphs; that in layers is ten times as wide if it is ten times as large."""
    parents = {size: random_parents(LAYERS, size // LAYERS) for size in (1_000, 3_000, SMALL, 30_000, LARGE)}
    return {
        "fan-out": lambda size: run_fan_out(async_work, schedule, size),
        "chain": lambda size: run_chain(async_link, schedule, size),
        f"layers of {PARENTS} parents": lambda size: run_layers(async_node, parents[size], schedule),
    }


async def per_task(work: Callable[[int], Awaitable[object]], size: int, *, collects: bool) -> float:
    """Microseconds per task, once."""
    if not collects:
        gc.disable()
    try:
        return await timed(partial(work, size)) / size * 1e6
    finally:
        gc.enable()


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Each shape at both sizes, in turns; the sizes between them for the plot."""
    found = []
    for name, work in shapes("stages").items():
        await per_task(work, SMALL, collects=True)
        sizes = [SMALL, LARGE] if not options.plot else [1_000, 3_000, SMALL, 30_000, LARGE]
        taken: dict[bool, dict[int, list[float]]] = {how: {size: [] for size in sizes} for how in (True, False)}
        for _ in range(rounds):
            for size in sizes:
                for collects, by_size in taken.items():
                    by_size[size].append(await per_task(work, size, collects=collects))
        whole, own = ({size: statistics.median(taken[how][size]) for size in sizes} for how in (True, False))
        beside = {f"us at {size}": cost for size, cost in whole.items()}
        beside["without garbage collection"] = own[LARGE] / own[SMALL]
        ratio = whole[LARGE] / whole[SMALL]
        found.append(Figure(f"h. growth, {name}", backend, "x", ratio, GOAL, baselines=beside))
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """More sizes than the goal needs."""
    parser.add_argument("--plot", action="store_true", help="measure the sizes in between, too")


if __name__ == "__main__":
    main(cases, add_options)
