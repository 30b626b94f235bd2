"""d. Tail-call loops: one task a turn, and 21 tasks a turn."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from harness import Figure, main, medians

import cascade

TURNS = 100_000
WIDE_TURNS = 5_000
GOAL_TURNS = 500_000.0
GOAL_WIDE_TURNS = 100_000.0


@cascade.task
def sync_down(n: int) -> object:
    """Count down, in a worker thread."""
    return sync_down(n - 1) if n else "done"


@cascade.task
async def async_down(n: int) -> object:
    """Count down, on the loop."""
    return async_down(n - 1) if n else "done"


@cascade.task(mode="inline")
def inline_down(n: int) -> object:
    """Count down, right on the loop."""
    return inline_down(n - 1) if n else "done"


@cascade.task
def sync_part(n: int) -> int:
    """One of the twenty others."""
    return n


@cascade.task
async def async_part(n: int) -> int:
    """One of the twenty others."""
    return n


@cascade.task(mode="inline")
def inline_part(n: int) -> int:
    """One of the twenty others."""
    return n


@cascade.task
def sync_wide(n: int, parts: Sequence[int]) -> object:
    """A turn with twenty tasks besides this one."""
    return sync_wide(n - 1, [sync_part(n) for _ in range(20)]) if n else len(parts)


@cascade.task
async def async_wide(n: int, parts: Sequence[int]) -> object:
    """A turn with twenty tasks besides this one."""
    return async_wide(n - 1, [async_part(n) for _ in range(20)]) if n else len(parts)


@cascade.task(mode="inline")
def inline_wide(n: int, parts: Sequence[int]) -> object:
    """A turn with twenty tasks besides this one."""
    return inline_wide(n - 1, [inline_part(n) for _ in range(20)]) if n else len(parts)


async def by_hand(turns: int) -> None:
    """The loop as a loop."""

    def down(n: int) -> int:
        return n - 1

    n = turns
    while n:
        n = down(n)


async def run_loop(down: cascade.Task[Any, Any], *args: Any) -> None:
    """Run a loop to its end."""
    await cascade.run(down(*args))


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Each kind of task, narrow and wide."""
    turns, wide_turns = options.turns, options.wide_turns
    narrow = (sync_down, async_down, inline_down)
    wide = (sync_wide, async_wide, inline_wide)
    works: dict[str, Any] = {task.name: partial(run_loop, task, turns) for task in narrow}
    works |= {task.name: partial(run_loop, task, wide_turns, []) for task in wide}
    taken = await medians(rounds, **works, by_hand=partial(by_hand, turns))
    hand = {"loop": turns / taken["by_hand"]}
    figures = [
        Figure(f"d. loop, {t.name}", backend, "turns/s", turns / taken[t.name], GOAL_TURNS, True, hand)
        for t in narrow
    ]
    figures += [
        Figure(f"d21. loop, {t.name}", backend, "turns/s", wide_turns / taken[t.name], GOAL_WIDE_TURNS, True)
        for t in wide
    ]
    return figures


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long the loops are."""
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--wide-turns", type=int, default=WIDE_TURNS)


if __name__ == "__main__":
    main(cases, add_options)
