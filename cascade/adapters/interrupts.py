"""What Control-C does to a flow that asyncio runs in the main thread.

The standard library cancels the main task at the first interrupt, and raises ``KeyboardInterrupt`` at the second,
in whatever code that meets. If that is code of the event loop, or of a cancel scope, the step that it was about to
do is lost: a task is never woken, and closing the loop waits for it for ever. Here a second interrupt is heeded
between two steps of the loop, where nothing is half done. Trio has an option of its own for that.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
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
        self.heard = 0
        self._heeded = 0
        self._main: asyncio.Task[Any] | None = None

    async def around(self, function: Callable[[], Awaitable[T]]) -> T:
        """Call *function* in the main task of a loop."""
        self._main = asyncio.current_task()
        with suppress(NotImplementedError, RuntimeError):  # Windows, and embedded interpreters: as asyncio has it
            self._listen(asyncio.get_running_loop())
        return await function()

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        if not hasattr(signal, "pthread_sigmask"):
            return
        # Blocked meanwhile: what asyncio installs first would swallow an interrupt.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            loop.add_signal_handler(signal.SIGINT, self._heed)
            # The loop is woken all the same: that is done by a file descriptor, before any Python code is called.
            signal.signal(signal.SIGINT, self._hear)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _hear(self, *_: object) -> None:
        """Count an interrupt, amid any code of the main thread."""
        self.heard += 1
        if self.heard > 2:
            raise KeyboardInterrupt

    def _heed(self) -> None:
        """Do what an interrupt asks for, between two steps of the loop."""
        if self._heeded == self.heard:  # two came as one; or a forked process, which shares the descriptor, got it
            return
        self._heeded = self.heard
        assert self._main is not None
        for task in [self._main] if self.heard == 1 else asyncio.all_tasks():
            task.cancel()


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
        signal.signal(signal.SIGINT, signal.default_int_handler)
    raise KeyboardInterrupt


def _is_ours() -> bool:
    """Whether an interrupt would come to this thread, as Python has it by default."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
