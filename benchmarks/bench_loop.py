"""d. Tail-call loops: one task a turn, and 21 tasks a turn."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from harness import Figure, Work, main, medians, sized

import cascade

TURNS = 100_000
WIDE_TURNS = 5_000
GOAL_TURNS = 500_000.0
# Times the same functions called directly, making the calls included.
GOAL_WIDE = 2.5


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


async def narrow_by_hand(turns: int) -> None:
    """The loop as a loop."""

    def down(n: int) -> int:
        return n - 1

    n = turns
    while n:
        n = down(n)


async def wide_by_hand(wide: cascade.Task[Any, Any], part: cascade.Task[Any, int], turns: int) -> None:
    """The functions of the wide loop called directly. *wide* itself makes the 21 calls of a turn."""
    parts: list[Any] = []
    if inspect.iscoroutinefunction(wide.func):
        for n in range(turns, 0, -1):
            await wide.func(n, parts)
            parts = [await cast("Any", part.func)(n) for _ in range(20)]
        return
    for n in range(turns, 0, -1):
        wide.func(n, parts)
        parts = [part.func(n) for _ in range(20)]


async def run_loop(down: cascade.Task[Any, Any], *args: Any) -> None:
    """Run a loop to its end."""
    await cascade.run(down(*args))


NARROW = {"sync": sync_down, "async": async_down, "inline": inline_down}
WIDE: dict[str, tuple[cascade.Task[Any, Any], cascade.Task[Any, int]]] = {
    "sync": (sync_wide, sync_part),
    "async": (async_wide, async_part),
    "inline": (inline_wide, inline_part),
}


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Each kind of task, narrow and wide."""
    turns, wide_turns = sized(options, options.turns), sized(options, options.wide_turns)
    works: dict[str, Work] = {f"d {kind}": partial(run_loop, task, turns) for kind, task in NARROW.items()}
    for kind, (wide, part) in WIDE.items():
        works[f"d21 {kind}"] = partial(run_loop, wide, wide_turns, [])
        works[f"d21 {kind} by hand"] = partial(wide_by_hand, wide, part, wide_turns)
    taken = await medians(rounds, **works, d=partial(narrow_by_hand, turns))
    narrow = partial(Figure, "d. loop", backend, "turns/s", more_is_better=True, against="by hand")
    wide_loop = partial(Figure, "d21. loop", backend, "turns/s", more_is_better=True, against="by hand")
    found = [
        narrow(
            value=turns / taken[f"d {kind}"],
            goal=GOAL_TURNS,
            baselines={"by hand": turns / taken["d"]},
            variant=kind,
            ratio=taken.ratio(f"d {kind}", "d"),
        )
        for kind in NARROW
    ]
    return found + [
        wide_loop(
            value=wide_turns / taken[f"d21 {kind}"],
            baselines={"by hand": wide_turns / taken[f"d21 {kind} by hand"]},
            variant=kind,
            ratio=taken.ratio(f"d21 {kind}", f"d21 {kind} by hand"),
            goal_ratio=GOAL_WIDE,
        )
        for kind in WIDE
    ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long the loops are."""
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--wide-turns", type=int, default=WIDE_TURNS)


if __name__ == "__main__":
    main(cases, add_options)
