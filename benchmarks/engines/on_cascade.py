"""Ours. With ``trio`` on that event loop; with ``durable`` each outcome goes to SQLite before anything uses it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import anyio
from measure import FAILS_AFTER, SIBLINGS, Outcome, Siblings, Trouble, async_outcome, outcome, parents, report

import cascade

SETTINGS: dict[str, Any] = {"schedule": "eager"}
NUMBERS = count()
BACKEND = "trio" if "trio" in sys.argv else "asyncio"
STATE = f"sqlite:///{tempfile.mkdtemp()}/runs.db"


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


@cascade.task
async def node(*values: int) -> int:
    """Nothing, with parents."""
    return 1


@cascade.task
async def down(left: int) -> Any:
    """A turn of a loop."""
    return down(left - 1) if left else left


def run(flow: Any, **settings: Any) -> Any:
    """On the chosen loop, with the chosen state."""
    settings = {**SETTINGS, **settings}
    if "state" in settings:
        settings["run_id"] = f"run{next(NUMBERS)}"
    return anyio.run(partial(cascade.run, flow, **settings), backend=BACKEND)


def fan_out(size: int) -> None:
    """Tasks side by side."""
    assert len(run([work(number) for number in range(size)])) == size


def chain(length: int) -> None:
    """Each takes the one before."""
    flow: Any = work(1)
    for _ in range(length - 1):
        flow = work(flow)
    assert run(flow) == 1


def mapped(size: int) -> None:
    """A map."""
    assert len(run(work.map(value=range(size)))) == size


def loop(turns: int) -> None:
    """Tail calls."""
    run(down(turns))


def layers(nodes: int) -> None:
    """Three parents each."""
    values: list[Any] = []
    for layer in parents(nodes):
        values = [node(*[values[source] for source in sources]) for sources in layer]
    run(values)


def recorded(size: int) -> None:
    """Tasks side by side, written to SQLite in batches."""
    assert len(run([work(number) for number in range(size)], state=STATE)) == size


async def failing(siblings: Siblings) -> None:
    """Async tasks."""
    await cascade.run([fails(), *(sibling(siblings, number) for number in range(SIBLINGS))])


def failing_in_threads(siblings: Siblings) -> None:
    """Sync tasks."""
    cascade.run_sync([fails_in_thread(), *(sibling_in_thread(siblings, number) for number in range(SIBLINGS))])


if __name__ == "__main__":
    if "durable" in sys.argv:
        SETTINGS |= {"state": STATE, "durability": "task"}
        report({"a": chain, "j": fan_out}, {}, smaller=10)
    else:
        failures: dict[str, Callable[[], Outcome]] = {
            "async": partial(anyio.run, async_outcome, failing, anyio.sleep, backend=BACKEND),
            "threads": partial(outcome, failing_in_threads),
        }
        report({"a": chain, "b": fan_out, "c": mapped, "d": loop, "e": layers, "j": recorded}, failures)
