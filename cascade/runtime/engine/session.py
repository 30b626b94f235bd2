"""An engine on one event loop: what can only be made there."""

from __future__ import annotations

import functools
import os
from typing import Any

import anyio
import attrs
from anyio import CapacityLimiter
from anyio.lowlevel import EventLoopToken

from cascade.model.tasks import Task
from cascade.runtime.context.run_context import Shared
from cascade.runtime.execution.attempt.remote_calls import RemoteCalls
from cascade.runtime.foundation.lazy_import import adapter


@functools.cache  # engines are made often, and asking takes as long as half of that
def processors() -> int:
    """How many worker processes there may be at a time."""
    return os.cpu_count() or 2


@attrs.define(eq=False)
class Processes:
    """A process executor that is made, and imported, when the first task comes for it."""

    _executor: Any = None

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call *task* in a worker process."""
        if self._executor is None:
            self._executor = adapter("executors.processes:ProcessExecutor")(CapacityLimiter(processors()))
        return await self._executor.execute(task, args, kwargs)

    async def aclose(self) -> None:
        """End the worker processes; see ``ProcessExecutor.aclose``."""
        if self._executor is not None:
            await self._executor.aclose()


@attrs.define(eq=False)
class Session:
    """An engine on one event loop, for as long as it is used there.

    Attributes:
        token: The loop.
        shared: What runs use.
        processes: Worker processes of its own.
        remote: The remote executor, if there is one.
        users: How many runs and ``async with`` blocks keep it open.
    """

    token: EventLoopToken
    shared: Shared
    processes: Processes
    remote: RemoteCalls | None = None
    users: int = 0
    _is_open: bool = False
    _opening: anyio.Lock = attrs.field(factory=anyio.Lock)

    async def open(self) -> None:
        """Open the remote executor, if there is one and it is not open. If cancelled, nothing has been opened.

        Raises:
            ConnectionError: If the cluster cannot be reached.
        """
        if self.remote is not None:
            async with self._opening:
                if not self._is_open:
                    await self.remote.open()
                    self._is_open = True

    async def aclose(self) -> None:
        """End the worker processes, and let go of the remote executor."""
        try:
            await self.processes.aclose()
        finally:
            if self.remote is not None and self._is_open:
                self._is_open = False
                with anyio.CancelScope(shield=True):
                    await self.remote.executor.aclose()
