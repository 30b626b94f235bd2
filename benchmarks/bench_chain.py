"""a. A chain of 1 000 tasks that do nothing, sync and async: definition, building and running.

The baseline is a task of the event loop for each link, which starts the next one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import hand_written
from harness import Comparison, Figure, Work, eager_tasks, main, medians, sized

import cascade

LENGTH = 1000
# Times a native task for each link.
GOAL = 1.3


@cascade.task
def sync_link(value: int) -> int:
    """Nothing, in a worker thread."""
    return value


@cascade.task
async def async_link(value: int) -> int:
    """Nothing, on the loop."""
    return value


def chain(link: cascade.Task[Any, int], length: int = LENGTH) -> Any:
    """Calls of which each takes the value of the one before."""
    flow: Any = link(0)
    for _ in range(length - 1):
        flow = link(flow)
    return flow


async def run_chain(link: cascade.Task[Any, int], schedule: Any, length: int = LENGTH) -> None:
    """Define a chain and run it."""
    await cascade.run(chain(link, length), schedule=schedule)


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Both kinds of task, both schedules."""
    length = sized(options, LENGTH)
    works: dict[str, Work] = {
        f"{kind}, {schedule}": partial(run_chain, link, schedule, length)
        for kind, link in (("sync", sync_link), ("async", async_link))
        for schedule in ("stages", "eager")
    }
    native = partial(hand_written.native_chain(backend), length)
    by_hand: dict[str, Work] = {
        "native": native,
        **eager_tasks(backend, partial(hand_written.chain_in_eager_tasks, length)),
        "AnyIO group": partial(hand_written.chain_in_anyio_group, length),
        "awaited in place": partial(hand_written.chain_awaited, length),
        "thread hop": partial(hand_written.chain_of_threads, length),
    }
    taken = await medians(rounds, **works, **by_hand)
    return [Comparison("a. chain", backend, taken, length, by_hand).figure(name, "native", GOAL) for name in works]


if __name__ == "__main__":
    main(cases)
