"""i. Memory: bytes per node of a fan-out, and what a long loop leaves behind."""

from __future__ import annotations

import argparse
import gc
import sys
import tracemalloc
from collections.abc import Sequence
from typing import Any

from bench_fan_out import async_work, run_fan_out
from harness import Figure, main, sized

import cascade

SIZE = 100_000
GOAL_KIB = 1.0
TURNS = 1_000_000


async def peak_per_node(schedule: Any, size: int) -> float:
    """KiB per node at the peak, definition, graph and results included."""
    await run_fan_out(async_work, schedule, size // 100)
    gc.collect()
    tracemalloc.start()
    await run_fan_out(async_work, schedule, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / size / 1024


async def blocks_left(turns: int) -> int:
    """Blocks of memory that a loop has more near its end than near its beginning."""
    seen: list[int] = []

    @cascade.task
    async def turn(n: int) -> object:
        if n in (turns - turns // 1_000, 1):
            gc.collect()
            seen.append(sys.getallocatedblocks())
        return turn(n - 1) if n else "done"

    await cascade.run(turn(turns))
    early, late = seen
    return late - early


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """The peak in both schedules; the loop."""
    del rounds  # allocations do not vary
    size, turns = sized(options, SIZE), sized(options, options.turns)
    peaks = {schedule: await peak_per_node(schedule, size) for schedule in ("stages", "eager")}
    found = [
        Figure("i. memory", backend, "KiB/node", peak, GOAL_KIB, variant=f"fan-out, {schedule}")
        for schedule, peak in peaks.items()
    ]
    blocks = await blocks_left(turns)
    found.append(Figure("i. memory", backend, "blocks", blocks, 1_000, variant="loop, left behind"))
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long the loop is."""
    parser.add_argument("--turns", type=int, default=TURNS)


if __name__ == "__main__":
    main(cases, add_options)
