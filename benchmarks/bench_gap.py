"""The loop's longest gap, as a heartbeat sees it, while a flow of 100 000 nodes is built, planned and drained.

The interpreter's own garbage collections, which grow with all that is alive in the process, are measured apart;
and so is a loop that does nothing for as long, which shows what the machine itself keeps from whoever runs on it.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from bench_chain import async_link, chain, sync_link
from bench_fan_out import async_work, count, inline_work, sync_work
from harness import Figure, main, sized

import cascade

SIZE = 100_000
GOAL_MS = 5.0


def fan_out(work: cascade.Task[Any, Any], size: int) -> Any:
    """Many nodes at once."""
    source = work(1)
    return count([work(source) for _ in range(size)])


async def longest_gap(
    work: Callable[[], Awaitable[object]], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Milliseconds of *clock* between two beats, at the worst, while *work* goes on."""
    worst = 0.0
    is_over = False

    async def beat() -> None:
        nonlocal worst
        last = clock()
        while not is_over:
            await checkpoint()
            now = clock()
            worst = max(worst, now - last)
            last = now

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await checkpoint()
        await work()
        is_over = True
    return worst * 1e3


async def nothing(seconds: float) -> None:
    """Keep the loop as busy as a flow would, with steps that take no time."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        await checkpoint()


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Both shapes, each kind of task, without and with the garbage collector."""
    size = sized(options, SIZE)
    works = {"sync": sync_work, "async": async_work, "inline": inline_work}
    flows: dict[str, Callable[[], Any]] = {
        f"fan-out, {kind}": partial(fan_out, work, size) for kind, work in works.items()
    }
    flows |= {
        f"chain, {kind}": partial(chain, link, size) for kind, link in (("sync", sync_link), ("async", async_link))
    }
    found = []
    for name, make in flows.items():
        gaps: dict[bool, list[float]] = {False: [], True: []}
        bare: list[float] = []
        for _ in range(rounds):
            for collects in gaps:
                flow = make()
                gc.collect()
                if not collects:
                    gc.disable()
                began = time.perf_counter()
                try:
                    gaps[collects].append(await longest_gap(partial(cascade.run, flow)))
                finally:
                    gc.enable()
            bare.append(await longest_gap(partial(nothing, time.perf_counter() - began)))
        with_gc = {
            "with garbage collection": statistics.median(gaps[True]),
            "as long without a flow": statistics.median(bare),
        }
        own = statistics.median(gaps[False])
        found.append(Figure("gap", backend, "ms", own, GOAL_MS, baselines=with_gc, variant=name))
    return found


if __name__ == "__main__":
    main(cases)
