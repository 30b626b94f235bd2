"""Long work in slices, between which others have their turn: tasks of the event loop, and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import Final, TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")
# Seconds for which the loop may be kept from others.
SLICE: Final = 0.001


async def give_way() -> None:
    """Let everybody else go on, after a slice.

    Threads too, if there are any: one that wants the interpreter while the loop is never idle waits five
    milliseconds each time, and whoever brings a rule or writes a record wants it hundreds of times.
    """
    if threading.active_count() > 1:
        _let_threads_run()
    await checkpoint()


def _let_threads_run() -> None:
    # Gives the interpreter to whoever waits for it, and takes up to a tenth of a millisecond.
    time.sleep(0)


async def paced(steps: Generator[None, None, T]) -> T:
    """Do all *steps*, giving way every millisecond."""
    since = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # its type is that of the generator
        if time.perf_counter() - since > SLICE:
            await give_way()
            since = time.perf_counter()
