"""On a Ray worker: runs batches."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import ray
from ray import util

from cascade.adapters.remote.entry import Site, run_batch

# Seconds between two messages about the starts of calls in one batch.
_TELL_EVERY: Final = 0.1
_UTIL: Final[Any] = util  # has no annotations


class RaySite(Site):
    """The worker that runs a batch.

    Args:
        key: The batch.
        board: The actor that hears of starts.
    """

    def __init__(self, key: str, board: Any) -> None:
        self.name: str = f"{_UTIL.get_node_ip_address()}:{os.getpid()}"
        self.kept: list[Any] = []
        self._key = key
        self._board = board
        self._context = ray.get_runtime_context()
        self._told = float("-inf")

    def started(self, position: int) -> None:
        """Tell the board, unless it was told of another start of the batch just now."""
        now = time.monotonic()
        if now - self._told > _TELL_EVERY:
            self._told = now
            self._board.tell.remote((self._key, position, self.name))

    def is_cancelled(self) -> bool:
        """Whether Ray has been told to cancel the batch, also if its interrupt was swallowed."""
        return bool(self._context.is_canceled())

    def interrupts(self, error: BaseException) -> bool:
        """Whether *error* is the interrupt by which Ray cancels."""
        return isinstance(error, KeyboardInterrupt) and self.is_cancelled()

    def keep(self, value: Any) -> object:
        """The value leaves with the answer; its handle is its number there."""
        self.kept.append(value)
        return len(self.kept) - 1


def run_there(
    key: str, board: Any, header: tuple[str, str], payload: bytes, room: int, *values: Any
) -> tuple[Any, ...] | bytes:
    """Run the batch *key*; see ``entry.run_batch``.

    Args:
        key: The batch.
        board: The actor that hears of starts.
        header: Of ``wire.Packed``.
        payload: Of ``wire.Packed``.
        room: How many values may stay: so many results it has beside the answer.
        values: Those of ``wire.Packed.needs``.
    """
    site = RaySite(key, board)
    answer = run_batch(header, payload, values, site)
    if not room:
        return answer
    return answer, *site.kept, *[None] * (room - len(site.kept))
