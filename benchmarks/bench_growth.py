"""h. How cost grows: microseconds per task at 100 000 nodes over those at 10 000, the least of the rounds.

The interpreter's own garbage collections, which grow with all that is alive in the process, are measured apart.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from bench_chain import async_link, run_chain
from bench_fan_out import async_work, run_fan_out
from bench_layers import PARENTS, async_node, layered, random_parents
from harness import Figure, main, timed

import cascade

SMALL, LARGE = 10_000, 100_000
GOAL = 1.3


async def run_layers(size: int) -> None:
    """A layered graph, ten times as wide if it is ten times as large."""
    flow = layered(async_node, random_parents(50, size // 50))
    assert await cascade.run(flow) == size // 50


def shapes(schedule: Any) -> dict[str, Callable[[int], Awaitable[object]]]:
    """The graphs."""
    return {
        "fan-out": lambda size: run_fan_out(async_work, schedule, size),
        "chain": lambda size: run_chain(async_link, schedule, size),
        f"layers of {PARENTS} parents": run_layers,
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
        taken: dict[bool, dict[int, list[float]]] = {how: {size: [] for size in sizes} for how in (False, True)}
        for _ in range(rounds):
            for size in sizes:
                for collects, by_size in taken.items():
                    by_size[size].append(await per_task(work, size, collects=collects))
        # The least, as whatever else the machine does only adds to it.
        own, with_gc = ({size: min(values) for size, values in taken[how].items()} for how in (False, True))
        beside = {f"us at {size}": cost for size, cost in own.items()}
        beside["with garbage collection"] = with_gc[LARGE] / with_gc[SMALL]
        ratio = own[LARGE] / own[SMALL]
        found.append(Figure(f"h. growth, {name}", backend, "x", ratio, GOAL, baselines=beside))
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """More sizes than the goal needs."""
    parser.add_argument("--plot", action="store_true", help="measure the sizes in between, too")


if __name__ == "__main__":
    main(cases, add_options)
