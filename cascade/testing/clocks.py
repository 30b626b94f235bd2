"""Virtual time for both backends: a sleep takes no real time, and the clock moves exactly from deadline to
deadline.

Time moves only when every task waits and no worker thread of the engine is at work. It is not meant for tests that
wait for real input or output, or for threads of their own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import selectors
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cascade.adapters.event_loops import check_backend
from cascade.runtime.foundation.threads import threads_at_work

if TYPE_CHECKING:
    import trio

# Real seconds between two looks at threads that are at work.
_POLL = 0.0005


class VirtualTime:
    """A moment, moved by whoever runs the loop.

    Attributes:
        now: Virtual seconds.
        on_idle: Called whenever every task waits and no thread is at work, before time would move, with whether
            there is a deadline to move to; returns whether the call has changed anything, and then time stays.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        self.on_idle: Callable[[bool], bool] | None = None

    def has_gone_on(self, *, has_deadline: bool) -> bool:
        """Whether whoever waited for the loop to be idle has found something to do."""
        return self.on_idle is not None and self.on_idle(has_deadline)


class _Selector(selectors.DefaultSelector):
    """Instead of sleeping until a timer is due, moves the time there."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if threads_at_work():
            return super().select(_POLL)
        if self.loop.virtual.has_gone_on(has_deadline=timeout is not None):
            return super().select(0)
        if timeout is None:
            return super().select(None)
        self.loop.move()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop with virtual time. Give it to AnyIO as ``loop_factory``.

    It relies on two private attributes that asyncio's loops have in all versions of CPython: ``_scheduled``, a
    heap of timers of which the first is due next and not cancelled, and ``_clock_resolution``.
    ``tests/test_clocks.py`` checks them.

    Attributes:
        virtual: The virtual time.
        sleeps: Futures that wait for nothing but time. A simulation uses them to make asyncio cancel a sleep that
            ends in the same instant, as Trio does.
    """

    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        self.virtual: VirtualTime = VirtualTime()
        # What waits for nothing but time. On Trio, a sleep that ends in the moment in which it is cancelled has
        # been cancelled, on asyncio it has not; a simulation makes them alike.
        self.sleeps: WeakSet[object] = WeakSet()
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self._set(0.0)

    def time(self) -> float:
        """The time in virtual seconds, from 0."""
        return self.virtual.now

    def call_at(  # type: ignore[override]  # typeshed ties args to callback; what is passed on is the same
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call a function at a time. A call at infinity is not even scheduled.

        Args:
            when: Virtual seconds from 0.
            callback: The function.
            args: Its arguments.
            context: The context in which it is called. ``None`` (default): the present one.
        """
        if when == math.inf:
            return asyncio.TimerHandle(when, callback, args, self, context)
        if args and isinstance(args[0], asyncio.Future):
            self.sleeps.add(args[0])
        return super().call_at(when, callback, *args, context=context)

    def move(self) -> None:
        """Move the time to the first timer."""
        self._set(max(self.virtual.now, self._scheduled[0].when()))

    def _set(self, now: float) -> None:
        self.virtual.now = now
        # Asyncio calls what is due before `now + resolution`. That of the real clock would be too coarse for tiny
        # delays, and after a virtual year so fine that the sum is `now` again and nothing would ever be due.
        self._clock_resolution = math.ulp(now)


def virtual_trio_clock() -> trio.abc.Clock:
    """A Trio clock with virtual time. Give it to AnyIO, or to ``trio.run``, as ``clock``.

    Raises:
        ImportError: If Trio is not installed.
    """
    check_backend("trio")
    import trio

    class VirtualClock(trio.abc.Clock):
        """Trio asks for the time to sleep when nothing can run: then time moves instead."""

        def __init__(self) -> None:
            self.virtual = VirtualTime()
            self._asked_for = math.nan

        def start_clock(self) -> None:
            """Each run begins at zero."""
            self.virtual.now = 0.0

        def current_time(self) -> float:
            """Virtual seconds."""
            return self.virtual.now

        def deadline_to_sleep_time(self, deadline: float) -> float:
            """Real seconds to wait for *deadline*: none, as time is there already, or soon."""
            if deadline <= self.virtual.now:
                return 0
            if threads_at_work():
                time.sleep(0)
                return _POLL
            if self.virtual.has_gone_on(has_deadline=deadline != math.inf):
                return 0
            if deadline == math.inf:
                return math.inf
            if self._asked_for != deadline:
                # Asked for the first time: let the loop look once for what other threads have sent.
                self._asked_for = deadline
                return 0
            self._asked_for = math.nan
            self.virtual.now = deadline
            return 0

    return VirtualClock()


def virtual_backends() -> list[tuple[str, Mapping[str, Any]]]:
    """Values for the ``anyio_backend`` fixture: each backend that is installed, with virtual time.

    Raises:
        ImportError: If Trio is installed, but cannot be imported.
    """
    found: list[tuple[str, Mapping[str, Any]]] = [("asyncio", {"loop_factory": VirtualLoop})]
    if importlib.util.find_spec("trio"):
        found.append(("trio", {"clock": virtual_trio_clock()}))
    return found
