"""What lanes need of the scheduler that they work for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cascade.runtime.execution.settle import Ending
from cascade.runtime.frame.frame import Ended
from cascade.runtime.scheduling.ready_queue import Queue


class Owner(Protocol):
    """The scheduler of a frame, as its lanes see it. Its methods are called on the event loop."""

    def done(self, ended: Sequence[Ended], followed: int) -> None:
        """Nodes have succeeded in a lane, where as many as *followed* have gone on from some of them."""
        ...

    def noted(self, count: int, ended: Sequence[Ended], followed: int) -> None:
        """The same of nodes that the frame knows of; *ended* are all of them if somebody is told."""
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
