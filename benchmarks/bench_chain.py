"""a. A chain of 1 000 tasks that do nothing, sync and async: definition, building and running."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import hand_written
from harness import Figure, main, medians

import cascade

LENGTH = 1000
GOAL_US = 10.0


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
    del options
    works = {
        f"{link.name} {schedule}": partial(run_chain, link, schedule)
        for link in (sync_link, async_link)
        for schedule in ("stages", "eager")
    }
    taken = await medians(
        rounds,
        **works,
        awaited=partial(hand_written.chain_awaited, LENGTH),
        task=partial(hand_written.chain_of_tasks, LENGTH),
        hop=partial(hand_written.chain_of_threads, LENGTH),
    )
    by_hand = {name: taken[name] / LENGTH * 1e6 for name in ("awaited", "task", "hop")}
    return [
        Figure(f"a. chain, {name}", backend, "us/task", taken[name] / LENGTH * 1e6, GOAL_US, baselines=by_hand)
        for name in works
    ]


if __name__ == "__main__":
    main(cases)
