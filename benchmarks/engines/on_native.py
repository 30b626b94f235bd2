"""No engine: a task group of asyncio, or with ``trio`` a nursery, written by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from measure import parents, report

sys.path.append(str(Path(__file__).parents[1]))

import hand_written

BACKEND = "trio" if "trio" in sys.argv else "asyncio"
in_group = hand_written.native_group(BACKEND)


def run(func: Callable[..., Any], *args: Any) -> Any:
    """On the chosen loop."""
    return anyio.run(partial(func, *args), backend=BACKEND)


async def give(*_: int) -> int:
    """Nothing."""
    return 1


async def count_down(turns: int) -> None:
    """A loop."""
    while turns:
        turns -= await give()


def chain(length: int) -> None:
    """A task for each link."""
    run(hand_written.native_chain(BACKEND), length)


def fan_out(size: int) -> None:
    """A task for each."""
    assert len(run(in_group, range(size))) == size


def loop(turns: int) -> None:
    """An async function called in a loop."""
    run(count_down, turns)


def layers(nodes: int) -> None:
    """A group for each layer."""
    run(hand_written.layers, parents(nodes), give, in_group)


if __name__ == "__main__":
    report({"a": chain, "b": fan_out, "c": fan_out, "d": loop, "e": layers}, {})
