"""What Control-C does to a flow that asyncio runs in the main thread.

The standard library cancels the main task at the first interrupt, and raises ``KeyboardInterrupt`` at the second,
in whatever code that meets. If that is code of the event loop, or of a cancel scope, the step that it was about to
do is lost: a task is never woken, and closing the loop waits for it for ever. Here a second interrupt is heeded
between two steps of the loop, where nothing is half done. Trio has an option of its own for that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


class Interrupts:
    """The interrupts of one run: the first cancels it, the second its clean-up too, a third stops at once.

    The third, and each that follows, raises ``KeyboardInterrupt`` in whatever runs, so that something that blocks
    the loop ends as well.

    Attributes:
        heard: How many there were.
    """

    def __init__(self) -> None:
        self.heard: int = 0
        self._heeded = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None

    async def around(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call *function* in the main task of a loop."""
        self._main, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        self._heed()  # what came before there was a task
        with _woken_by_signals(self._loop):
            try:
                return await function()
            finally:
                self._loop = None

    def hear(self, *_: object) -> None:
        """Count an interrupt, amid any code of the main thread."""
        self.heard += 1
        if self.heard > 2:
            raise KeyboardInterrupt
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._heed)

    def _heed(self) -> None:
        """Do what an interrupt asks for, between two steps of the loop."""
        if self._heeded == self.heard or self._main is None:
            return
        self._heeded = self.heard
        for task in [self._main] if self.heard == 1 else asyncio.all_tasks():
            task.cancel()


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Have signals wake *loop* also if they come after its last step and before it waits: by a file descriptor."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        if before != -1:  # uvloop has one of its own
            signal.set_wakeup_fd(before)
            yield
            return
        loop.add_reader(reader, os.read, reader, 4096)
        try:
            yield
        finally:
            loop.remove_reader(reader)
            after = signal.set_wakeup_fd(-1)
            if after != writer:  # that of a signal handler that somebody has added to the loop
                signal.set_wakeup_fd(after)
    finally:
        os.close(reader)
        os.close(writer)


def run(function: Callable[[], Awaitable[T]], options: dict[str, Any]) -> T:
    """Call *function* on a new loop of asyncio; Control-C cancels it, if nobody else handles that.

    Args:
        function: The function.
        options: AnyIO's options for asyncio.

    Raises:
        KeyboardInterrupt: If it was interrupted. One interrupt does not hide another error.
    """
    if not _is_ours():
        return anyio.run(function, backend="asyncio", backend_options=options)
    interrupts = Interrupts()
    signal.signal(signal.SIGINT, interrupts.hear)  # asyncio leaves a handler alone that is not the default
    try:
        value = anyio.run(interrupts.around, function, backend="asyncio", backend_options=options)
    except BaseException as error:
        was_interrupted = interrupts.heard > 1 or (interrupts.heard and isinstance(error, asyncio.CancelledError))
        if not was_interrupted:
            raise
    else:
        if not interrupts.heard:
            return value
    finally:
        if signal.getsignal(signal.SIGINT) == interrupts.hear:  # the flow may have set another one
            signal.signal(signal.SIGINT, signal.default_int_handler)
    raise KeyboardInterrupt


def _is_ours() -> bool:
    """Whether interrupts come to this thread, as Python has it by default. On Windows, asyncio handles them."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler
