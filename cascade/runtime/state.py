"""The seam to state stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any


class StateBackend(ABC):
    """The outcomes of one run, by node id.

    Every operation may be called from any task; blocking work goes through ``anyio.to_thread.run_sync`` under a
    limiter of the backend's own. A write that has been accepted is not lost when its caller is cancelled.

    The batch forms call the single ones; a backend that can do better overrides them.

    Attributes:
        run_id: The run.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    @abstractmethod
    async def put_result(self, node_id: str, result: Any) -> None:
        """Record the result of a node; ``None`` is a result."""

    @abstractmethod
    async def get_result(self, node_id: str) -> Any:
        """The recorded result of a node; ``None`` also if there is none, see :meth:`has_result`."""

    @abstractmethod
    async def has_result(self, node_id: str) -> bool:
        """Whether a result is recorded."""

    @abstractmethod
    async def mark_skipped(self, node_id: str, reason: str) -> None:
        """Record that a node was skipped."""

    @abstractmethod
    async def get_skip_reason(self, node_id: str) -> str | None:
        """Why a node was skipped, if that is recorded."""

    @abstractmethod
    async def clear(self) -> None:
        """Forget everything about the run."""

    async def put_results(self, results: Mapping[str, Any]) -> None:
        """Record several results, in order."""
        for node_id, result in results.items():
            await self.put_result(node_id, result)

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        """The recorded results among *node_ids*."""
        return {node_id: await self.get_result(node_id) for node_id in node_ids if await self.has_result(node_id)}

    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
        """Record several skips, in order."""
        for node_id, reason in reasons.items():
            await self.mark_skipped(node_id, reason)

    async def aclose(self) -> None:
        """Release what the backend holds open."""
        return
