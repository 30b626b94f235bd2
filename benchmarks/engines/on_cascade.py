"""Ours, with nothing recorded; with an argument, outcomes go to SQLite, each before anything uses it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import anyio
from measure import FAILS_AFTER, SIBLINGS, Outcome, Siblings, Trouble, async_outcome, outcome, report

import cascade

SETTINGS: dict[str, Any] = {"schedule": "eager"}
NUMBERS = count()


@cascade.task
async def work(value: int) -> int:
    """Nothing."""
    return value


@cascade.task
async def fails() -> None:
    """Fails soon."""
    await anyio.sleep(FAILS_AFTER)
    raise Trouble


@cascade.task
def fails_in_thread() -> None:
    """Fails soon."""
    time.sleep(FAILS_AFTER)
    raise Trouble


@cascade.task
async def sibling(siblings: Siblings, number: int) -> None:
    """Takes longer."""
    await siblings.wait(anyio.sleep)


@cascade.task
def sibling_in_thread(siblings: Siblings, number: int) -> None:
    """Takes longer."""
    siblings.block()


def run(flow: Any) -> Any:
    """On asyncio."""
    settings: dict[str, Any] = SETTINGS
    if "state" in settings:
        settings = {**settings, "run_id": f"run{next(NUMBERS)}"}
    return cascade.run_sync(flow, **settings)


def fan_out(size: int) -> None:
    """Tasks side by side."""
    assert len(run([work(number) for number in range(size)])) == size


def chain(length: int) -> None:
    """Each takes the one before."""
    flow: Any = work(1)
    for _ in range(length - 1):
        flow = work(flow)
    assert run(flow) == 1


async def failing(siblings: Siblings) -> None:
    """Async tasks."""
    await cascade.run([fails(), *(sibling(siblings, number) for number in range(SIBLINGS))])


def failing_in_threads(siblings: Siblings) -> None:
    """Sync tasks."""
    cascade.run_sync([fails_in_thread(), *(sibling_in_thread(siblings, number) for number in range(SIBLINGS))])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        SETTINGS |= {"state": f"sqlite:///{tempfile.mkdtemp()}/runs.db", "durability": "task"}
    failures: dict[str, Callable[[], Outcome]] = {
        "async": partial(anyio.run, async_outcome, failing, anyio.sleep),
        "threads": partial(outcome, failing_in_threads),
    }
    report(1000, fan_out, chain, failures)
