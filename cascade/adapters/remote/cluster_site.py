"""What workers of dask and of Ray have in common, as batches see them."""

from __future__ import annotations

import time
from typing import Any, Final

from cascade.adapters.remote.entry import Site

# Seconds between two messages about the starts of calls in one batch.
_TELL_EVERY: Final = 0.1


class ClusterSite(Site):
    """A worker that runs a batch, and from which messages about starts go to the engine.

    Args:
        name: Name of the worker.

    Attributes:
        kept: The values that stay.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept: list[Any] = []
        self._told = float("-inf")

    def started(self, position: int) -> None:
        """Tell it, unless another start of the batch was told just now."""
        now = time.monotonic()
        if now - self._told > _TELL_EVERY:
            self._told = now
            self.tell(position)

    def tell(self, position: int) -> None:
        """Send a message that the call at *position* starts."""
        raise NotImplementedError

    def keep(self, value: Any) -> object:
        """The value leaves with the answer; its handle is its number there."""
        self.kept.append(value)
        return len(self.kept) - 1
