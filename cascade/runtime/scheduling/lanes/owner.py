"""What lanes need of the scheduler that they work for."""

from __future__ import annotations

from typing import Any, Protocol

from cascade.runtime.execution.settle import Ending
from cascade.runtime.scheduling.ready_queue import Queue


class Owner(Protocol):
    """The scheduler of a frame, as its lanes see it. Its methods are called on the event loop."""

    def done(self, index: int, value: Any, started: float, following: int | None) -> None:
        """A node has succeeded in a lane, where *following* goes on from it."""
        ...

    def settle(self, index: int, ending: Ending) -> None:
        """A node has ended."""
        ...

    def take_back(self, queue: Queue) -> None:
        """A lane has stopped: decide anew about what it has not begun."""
        ...

    def tell(self) -> None:
        """There is something to do for the scheduler."""
        ...
