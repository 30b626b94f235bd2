"""An asyncio event loop in a thread of its own, for dask, which ends with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import attrs

T = TypeVar("T")

# Seconds that what is still under way on the loop may take to end once it is cancelled.
_ENDING: Final = 2.0


@attrs.define(eq=False)
class LoopThread:
    """A daemon thread with an event loop. dask would start one itself, but leave it behind on failure."""

    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.new_event_loop)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="cascade-dask", daemon=True)
        self._thread.start()

    def call(self, func: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """What the coroutine function gives; the calling thread waits for it."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(func(*args), self._loop)
        return future.result()

    def stop(self) -> None:
        """Cancel what is under way, and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancelled_all())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


async def _cancelled_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_ENDING)
