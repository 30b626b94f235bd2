"""Threads of our own, and waking the event loop from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anyio
from anyio import CapacityLimiter
from anyio.lowlevel import EventLoopToken, current_token
from anyio.to_thread import run_sync

T = TypeVar("T")


def wake_soon(token: EventLoopToken, func: Callable[..., object], *args: Any) -> None:
    """Have the event loop of *token* call *func* soon.

    May be called from any thread, the loop's own included. Never blocks, and does nothing once the loop is gone:
    ``anyio.from_thread`` would wait for an answer, for good if the loop ends meanwhile.
    """
    native: Any = token.native_token  # an asyncio loop, or a trio token
    soon = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    try:
        soon(func, *args)
    except RuntimeError:  # the loop is closed; trio.RunFinishedError is one too
        return


def loop_clock() -> Callable[[], float]:
    """What :func:`anyio.current_time` gives, for the present event loop; asks no more often than it must."""
    token = current_token()
    clock: Callable[[], float] = getattr(token.native_token, "time", None) or token.backend_class.current_time
    return clock


# Hops to threads that are under way in this process. Virtual clocks stand still meanwhile.
_at_work = 0


def threads_at_work() -> int:
    """How many of the engine's threads are doing something."""
    return _at_work


@contextmanager
def counted() -> Iterator[None]:
    """A thread is at work for as long as the block lasts."""
    global _at_work  # a count of the process, changed on event loops only
    _at_work += 1
    try:
        yield
    finally:
        _at_work -= 1


async def in_thread(func: Callable[[], T], limiter: CapacityLimiter) -> T:
    """Call *func* in a worker thread; not cancelled before it has returned."""
    with counted():
        return await run_sync(func, limiter=limiter)


class LoopLimiter:
    """A capacity limiter of its own for each event loop: AnyIO's objects must not travel between loops.

    Args:
        total: Threads at a time.
    """

    def __init__(self, total: float) -> None:
        self._total = total
        # No RunVar: a loop keeps those for as long as it lives, and so the limiters of stores that are long gone.
        self._limiters: WeakKeyDictionary[object, CapacityLimiter] = WeakKeyDictionary()

    def get(self) -> CapacityLimiter:
        """The limiter of the running loop."""
        loop = current_token().native_token
        if loop not in self._limiters:
            self._limiters[loop] = CapacityLimiter(self._total)
        return self._limiters[loop]


class OneAtATime:
    """Calls functions in worker threads, one at a time and in order, from whatever event loop."""

    def __init__(self) -> None:
        self._limiter = LoopLimiter(1)
        # The limiter is of one event loop, and there may be several.
        self._lock = threading.Lock()

    @property
    def limiter(self) -> CapacityLimiter:
        """What bounds its threads on the running loop."""
        return self._limiter.get()

    async def read(self, func: Callable[[], T]) -> T:
        """What *func* gives; a caller that is cancelled while it waits for its turn calls nothing."""
        return await in_thread(lambda: self._locked(func), self.limiter)

    async def write(self, func: Callable[[], T]) -> T:
        """What *func* gives; not cancelled, as a write that was accepted must not be left half-way in line."""
        with anyio.CancelScope(shield=True):
            done = await self.read(func)
        return done  # noqa: RET504  # to mypy, a scope may swallow what is raised inside

    def _locked(self, func: Callable[[], T]) -> T:
        with self._lock:
            return func()


async def run_in_daemon_thread(context: Context, func: Callable[[], None], name: str) -> None:
    """Call *func* in a daemon thread and wait until it has returned.

    If cancelled, stops waiting; the thread goes on by itself, and does not keep the process from ending.

    Args:
        context: Where *func* is called.
        func: Must not raise.
        name: Name of the thread.
    """
    token = current_token()
    done = anyio.Event()

    def body() -> None:
        try:
            context.run(func)
        finally:
            wake_soon(token, done.set)

    threading.Thread(target=body, name=name, daemon=True).start()
    with counted():
        await done.wait()
