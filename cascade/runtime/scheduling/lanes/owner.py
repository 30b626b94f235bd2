"""What lanes need of the scheduler that they work for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cascade.runtime.execution.settle import Ending
from cascade.runtime.frame.frame import Ended
from cascade.runtime.scheduling.ready_queue import Queue


class Owner(Protocol):
    """The scheduler of a frame, as its lanes see it. Its methods are called on the event loop."""

    def done(self, ended: Sequence[Ended], followed: int, known: int = 0) -> None:
        """Nodes have succeeded in a lane.

        Args:
            ended: The nodes.
            followed: From how many of them another node has gone on in the lane.
            known: How many they are, if the frame knows of them; *ended* may be empty then, if no times matter.
        """
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
