"""Backends that read and write many nodes at once: an operation on one node is an operation on many."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Batch, Entry, NotDurable, Record


class ManyAtOnceBackend(StateBackend):
    """Operations on one node, by those on many nodes."""

    @abstractmethod
    async def put_results(self, results: Mapping[str, Any]) -> None: ...

    @abstractmethod
    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None: ...

    @abstractmethod
    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]: ...

    async def put_result(self, node_id: str, result: Any) -> None:
        await self.put_results({node_id: result})

    async def mark_skipped(self, node_id: str, reason: str) -> None:
        await self.mark_all_skipped({node_id: reason})

    async def get_result(self, node_id: str) -> Any:
        return (await self.get_results([node_id])).get(node_id)


class BatchedBackend(ManyAtOnceBackend):
    """All operations on nodes, by those on batches."""

    @abstractmethod
    async def write(self, batch: Batch) -> NotDurable: ...

    @abstractmethod
    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]: ...

    @abstractmethod
    async def _results(self, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        """The recorded results among some nodes.

        Args:
            node_ids: The nodes.
            is_lenient: Whether results that cannot be read any more are left out.

        Raises:
            StateError: If a value cannot be read, unless *is_lenient*.
        """

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        return await self._results(list(node_ids), is_lenient=False)

    async def get_readable_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        return await self._results(list(node_ids), is_lenient=True)

    async def put_results(self, results: Mapping[str, Any]) -> None:
        await self._put([Entry(node_id, result) for node_id, result in results.items()])

    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
        await self._put([Entry(node_id, None, reason, "skipped") for node_id, reason in reasons.items()])

    async def _put(self, entries: Sequence[Entry]) -> None:
        for node_id, error in await self.write(Batch(entries)):
            raise StateError(f"the result of {node_id!r} cannot be stored: {describe(error)}") from error

    async def has_result(self, node_id: str) -> bool:
        record = (await self.recall([node_id])).get(node_id)
        return record is not None and record.reason is None and record.is_durable

    async def get_skip_reason(self, node_id: str) -> str | None:
        record = (await self.recall([node_id])).get(node_id)
        return None if record is None else record.reason
