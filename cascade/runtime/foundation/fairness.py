"""Long work in slices, between which others have their turn: tasks of the event loop, and threads.

A loop that gives way says that it waits, and threads that have computed for a while, by their own processor time,
step back until it has gone on: for a millisecond or two at most. A thread that has only waited is in nobody's
way, and steps back for nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
# Seconds for which the loop may be kept from others.
SLICE: Final = 0.001
# Seconds in which a thread that waits for the interpreter wakes up, and how often a thread waits for that.
_MOMENT: Final = 0.00005
_PATIENCE: Final = 20
# Threads of event loops that wait for the interpreter.
_loops_waiting: set[int] = set()


async def give_way() -> None:
    """Let everybody else go on, after a slice.

    Threads too, if there are any: one that wants the interpreter while the loop is never idle waits five
    milliseconds each time, and whoever brings a rule or writes a record wants it hundreds of times.
    """
    if threading.active_count() < 2:
        await checkpoint()
        return
    me = threading.get_ident()
    _loops_waiting.add(me)
    try:
        _let_threads_run()
        await checkpoint()
    finally:
        _loops_waiting.discard(me)


def _let_threads_run() -> None:
    # Gives the interpreter to whoever waits for it, and takes up to a tenth of a millisecond.
    time.sleep(0)


def step_back(is_awaited: Callable[[], bool]) -> None:
    """In a thread: let others run, and event loops first that wait for the interpreter.

    Whoever lets go of it for a moment takes it again before a thread that waits for it has woken up; again and
    again, and each time that thread begins anew to count the five milliseconds after which it would be given it.

    Args:
        is_awaited: Whether the thread's own loop has been woken, and has not gone on yet.
    """
    time.sleep(0)
    for _ in range(_PATIENCE):
        if not _loops_waiting and not is_awaited():
            break
        time.sleep(_MOMENT)


def considerate(items: Iterable[T]) -> Iterator[T]:
    """*items*, for long work on them in a thread: after each slice of it, other threads run, event loops first."""
    since = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - since > SLICE:
            step_back(_is_nobody)
            since = time.perf_counter()


def _is_nobody() -> bool:
    return False


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


async def paced_list(items: Iterable[T | None]) -> list[T]:
    """``list(items)`` without any ``None``, giving way every millisecond.

    Generators that leave something out give ``None`` for it: else a millisecond could pass without an item.
    """
    found: list[T] = []

    def steps() -> Generator[None, None, None]:
        for item in items:
            if item is not None:
                found.append(item)
            yield

    await paced(steps())
    return found


async def paced_dict(items: Iterable[tuple[K, T] | None]) -> dict[K, T]:
    """``dict(items)`` without any ``None``, as :func:`paced_list`."""
    found: dict[K, T] = {}

    def steps() -> Generator[None, None, None]:
        for item in items:
            if item is not None:
                found[item[0]] = item[1]
            yield

    await paced(steps())
    return found


def portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """*items* in portions of *size*, the last of which may be smaller."""
    return (items[start : start + size] for start in range(0, len(items), size))
