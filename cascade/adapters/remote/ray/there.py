"""On a Ray worker: runs batches."""

from __future__ import annotations

import os
from typing import Any, Final

import ray
from ray import util

from cascade.adapters.remote.cluster_site import ClusterSite
from cascade.adapters.remote.entry import run_batch

_UTIL: Final[Any] = util  # has no annotations


class RaySite(ClusterSite):
    """The worker that runs a batch.

    Args:
        key: The batch.
        board: The actor that hears of starts.
    """

    def __init__(self, key: str, board: Any) -> None:
        super().__init__(f"{_UTIL.get_node_ip_address()}:{os.getpid()}")
        self._key = key
        self._board = board
        self._context = ray.get_runtime_context()

    def tell(self, position: int) -> None:
        """Tell the board."""
        self._board.tell.remote((self._key, position, self.name))

    def is_cancelled(self) -> bool:
        """Whether Ray has been told to cancel the batch, also if its interrupt was swallowed."""
        return bool(self._context.is_canceled())

    def interrupts(self, error: BaseException) -> bool:
        """Whether *error* is the interrupt by which Ray cancels."""
        return isinstance(error, KeyboardInterrupt) and self.is_cancelled()


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
