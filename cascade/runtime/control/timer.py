"""Keeps the time for rules: one sleeping task."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import anyio
import attrs
from anyio import CancelScope


class Timed(Protocol):
    """What changes as time passes."""

    @property
    def is_timed(self) -> bool:
        """Whether time may change anything, now or later."""
        ...

    def next_due(self) -> float:
        """When the next change is due, on the event loop's clock; infinity for never, as far as is known."""
        ...

    def make_due_changes(self) -> None:
        """Make the changes that are due; nothing if none is."""
        ...


class ServiceHost(Protocol):
    """A run, as far as it runs tasks for others."""

    def start_service(self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Start a task that outlives the nodes."""
        ...


@attrs.define(eq=False)
class Timer:
    """Makes changes at the moment when they are due.

    A task of one of the runs sleeps until then; when that run ends, another run takes over. There is no task while
    there are no runs, or time changes nothing.
    """

    _timed: Timed
    _runs: list[ServiceHost] = attrs.field(factory=list, init=False)
    _keeper: ServiceHost | None = attrs.field(default=None, init=False)
    _scope: CancelScope | None = attrs.field(default=None, init=False)
    _changed: anyio.Event | None = attrs.field(default=None, init=False)

    def join(self, run: ServiceHost) -> None:
        """*run* begins, and may be the one that runs the task."""
        self._runs.append(run)
        self.start()

    def leave(self, run: ServiceHost) -> None:
        """*run* ends."""
        self._runs.remove(run)
        if self._keeper is run:
            self._keeper = None
            if self._scope is not None:
                self._scope.cancel()
            self.start()

    def start(self) -> None:
        """Start the task, if it does not run and is needed."""
        if self._keeper is None and self._runs and self._timed.is_timed:
            self._keeper = self._runs[0]
            self._scope = CancelScope()
            self._keeper.start_service(self._keep_time, self._scope)

    def reset(self) -> None:
        """The next change may be due earlier than it was."""
        if self._changed is not None:
            self._changed.set()

    async def _keep_time(self, scope: CancelScope) -> None:
        with scope:
            while True:
                self._changed = anyio.Event()
                with CancelScope(deadline=self._timed.next_due()):
                    await self._changed.wait()
                self._timed.make_due_changes()
