"""The part of the interface of state backends that is about nodes: what every backend has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from cascade.model.errors import StateError


class NodeOutcomes(ABC):
    """The recorded values and skips of the nodes of one run, by node id.

    A backend writes the operations on one node, and those on several where it can do them at once. What concerns
    the run as a whole is in ``StateBackend``.
    """

    @abstractmethod
    async def put_result(self, node_id: str, result: Any) -> None:
        """Record the result of a node. A write that has begun is not cancelled.

        Args:
            node_id: The node.
            result: Its value. ``None`` is a value like any other.

        Raises:
            StateError: If the store fails or cannot take the value.
        """

    @abstractmethod
    async def get_result(self, node_id: str) -> Any:
        """The recorded result of a node. ``None`` also if there is none; see :meth:`has_result`. May be cancelled.

        Args:
            node_id: The node.

        Raises:
            StateError: If the value cannot be read.
        """

    @abstractmethod
    async def has_result(self, node_id: str) -> bool:
        """Whether a result of a node is recorded. May be cancelled.

        Args:
            node_id: The node.
        """

    @abstractmethod
    async def mark_skipped(self, node_id: str, reason: str) -> None:
        """Record that a node was skipped. A write that has begun is not cancelled.

        Args:
            node_id: The node.
            reason: Why: a value of ``SkipReason``.

        Raises:
            StateError: If the store fails.
        """

    @abstractmethod
    async def get_skip_reason(self, node_id: str) -> str | None:
        """Why a node was skipped; ``None`` if no skip is recorded. May be cancelled.

        Args:
            node_id: The node.
        """

    @abstractmethod
    async def clear(self) -> None:
        """Delete all records of the run, except that it has begun, and its signals. The record ``~undone``
        may stay, which says how often nodes were undone; it is written again otherwise.

        A deletion that has begun is not cancelled.
        """

    # -- several at once -----------------------------------------------------------------------------------

    async def put_results(self, results: Mapping[str, Any]) -> None:
        """Record several results, in order. A write that has begun is not cancelled.

        Args:
            results: Node id to value.

        Raises:
            StateError: If the store fails or cannot take a value.
        """
        for node_id, result in results.items():
            await self.put_result(node_id, result)

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        """The recorded results among some nodes. Nodes without a result are left out. May be cancelled.

        Args:
            node_ids: The nodes.

        Raises:
            StateError: If a value cannot be read.
        """
        return {node_id: await self.get_result(node_id) for node_id in node_ids if await self.has_result(node_id)}

    async def get_readable_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        """The recorded results among some nodes, without those that cannot be read any more. May be cancelled.

        Args:
            node_ids: The nodes.
        """
        wanted = list(node_ids)
        try:
            return await self.get_results(wanted)
        except StateError:
            if len(wanted) < 2:
                return {}
        half = len(wanted) // 2
        found = await self.get_readable_results(wanted[:half])
        return {**found, **await self.get_readable_results(wanted[half:])}

    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
        """Record several skips, in order. A write that has begun is not cancelled.

        Args:
            reasons: Node id to reason, a value of ``SkipReason``.

        Raises:
            StateError: If the store fails.
        """
        for node_id, reason in reasons.items():
            await self.mark_skipped(node_id, reason)
