"""State in this process: for tests, and for a look at what would be recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from anyio import CapacityLimiter

from cascade.adapters.state.batched import ManyAtOnceBackend
from cascade.model.shown.urls import shown_url
from cascade.runtime.durability.details import NodeDetail
from cascade.runtime.durability.records import (
    UNDO_TIMES,
    Batch,
    Closing,
    NotDurable,
    Opening,
    Past,
    Record,
    RecordedStatus,
    is_of_undo,
)
from cascade.runtime.durability.signal_records import SignalRecords
from cascade.runtime.foundation.threads import OneAtATime

T = TypeVar("T")


@attrs.define(eq=False)
class MemorySignals(SignalRecords):
    """The signals of one run in a dictionary.

    Attributes:
        kept: What is kept, by key.
        thread: Calls what reads and writes it.
    """

    thread: OneAtATime
    kept: dict[str, Any] = attrs.field(factory=dict)

    async def accept(self, key: str, value: Any, *, replaces: bool = False) -> Any:
        def put() -> Any:
            if replaces:
                self.kept[key] = value
            return self.kept.setdefault(key, value)

        return await self.thread.write(put)

    async def all(self) -> dict[str, Any]:
        return await self.thread.read(lambda: dict(self.kept))

    async def forget(self) -> None:
        await self.thread.write(self.kept.clear)


class InMemoryStateBackend(ManyAtOnceBackend):
    """The outcomes of one run in dictionaries. Like a real store, it is used through worker threads and in
    batches.

    To resume a run, give the same object to a second run with the same id.

    Args:
        run_id: The run.

    Attributes:
        details: Why nodes failed, and what was captured of them, by node id.
    """

    keeps_loops = True

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self._results: dict[str, Any] = {}
        self._skips: dict[str, str] = {}
        self._digests: dict[str, bytes | None] = {}
        self._retrying: dict[str, tuple[bytes | None, int]] = {}
        self.details: dict[str, NodeDetail] = {}
        self._past = Past(epoch=0)
        self._durations: dict[bytes, bytes] = {}
        self._thread = OneAtATime()
        self._signals = MemorySignals(self._thread)
        self.signals: SignalRecords | None = self._signals

    @property
    def limiter(self) -> CapacityLimiter:
        """The limiter of this backend's threads: one at a time, so that operations keep their order."""
        return self._thread.limiter

    async def put_results(self, results: Mapping[str, Any]) -> None:
        def put() -> None:
            self._results.update(results)
            for node_id in results.keys() & self._skips.keys():  # how a node has ended last counts
                del self._skips[node_id]

        await self._thread.write(put)

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        wanted = list(node_ids)
        return await self._thread.read(lambda: {key: self._results[key] for key in wanted if key in self._results})

    async def has_result(self, node_id: str) -> bool:
        return await self._thread.read(lambda: node_id in self._results)

    async def mark_all_skipped(self, reasons: Mapping[str, str]) -> None:
        def mark() -> None:
            self._skips.update(reasons)
            for node_id in reasons.keys() & self._results.keys():
                del self._results[node_id]

        await self._thread.write(mark)

    async def get_skip_reason(self, node_id: str) -> str | None:
        return await self._thread.read(lambda: self._skips.get(node_id))

    async def clear(self) -> None:
        await self._thread.write(self._forget_nodes)

    def _forget_nodes(self) -> None:
        self._results = {key: value for key, value in self._results.items() if key == UNDO_TIMES}
        self._skips.clear()
        self._retrying.clear()
        self.details.clear()
        self._past = Past(epoch=self._past.epoch)

    # -- the run -------------------------------------------------------------------------------------------

    async def begin(self, opening: Opening) -> Past:
        past = self._past
        known = [*self._results, *self._skips]
        flow_digest = past.flow_digest or opening.flow_digest
        status: RecordedStatus = "succeeded" if past.status == "succeeded" else "running"
        self._past = attrs.evolve(past, status=status, flow_digest=flow_digest, epoch=past.epoch + 1)
        is_known = not opening.is_new and (past.epoch > 0 or bool(known))
        failed = {node_id: True for node_id, detail in self.details.items() if detail.handled}
        return attrs.evolve(
            past, is_known=is_known, nodes=known, failed=failed, epoch=self._past.epoch,
            retrying=dict(self._retrying),
        )  # fmt: skip

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        records = {
            node_id: Record(self._digests.get(node_id), self._skips.get(node_id))
            for node_id in node_ids
            if node_id in self._results or node_id in self._skips
        }
        return await self._thread.read(lambda: records)

    async def write(self, batch: Batch) -> NotDurable:
        if batch.continuation is not None:
            past = self._past
            kept = {node_id: value for node_id, value in self._results.items() if is_of_undo(node_id)}
            await self._thread.write(self._forget_nodes)
            self._past = attrs.evolve(past, continuation=batch.continuation)
            self._results.update(kept)
        missing = await super().write(batch)
        self._digests.update({entry.node_id: entry.digest for entry in batch.entries})
        for entry in (*batch.entries, *batch.notes):
            self._retrying.pop(entry.node_id, None)
            self.details.pop(entry.node_id, None)
            if entry.detail is not None:
                self.details[entry.node_id] = entry.detail
            if entry.status == "retrying":
                self._retrying[entry.node_id] = (entry.digest, entry.attempts)
        return missing

    async def forget(self, node_ids: Iterable[str]) -> None:
        for node_id in node_ids:
            self._results.pop(node_id, None)
            self._skips.pop(node_id, None)
            self._retrying.pop(node_id, None)
            self.details.pop(node_id, None)

    async def adopt(self, flow_digest: bytes) -> None:
        self._past = attrs.evolve(self._past, status="running", flow_digest=flow_digest, result=None)

    async def durations(self) -> dict[bytes, bytes]:
        return dict(self._durations)

    async def finish(self, closing: Closing) -> NotDurable:
        self._durations = {**self._durations, **closing.durations}
        self._past = attrs.evolve(self._past, status=closing.status, result=closing.result)
        return ()


def check_url(url: str) -> None:
    """Check that *url* is ``memory:``.

    Raises:
        ValueError: If it says more.
    """
    if url != "memory:":
        raise ValueError(f"the state URL 'memory:' takes nothing after the colon, not {shown_url(url)!r}")


def open_url(url: str, run_id: str) -> InMemoryStateBackend:
    """The backend of *run_id* at ``memory:``, which no other run can get."""
    del url
    backend = InMemoryStateBackend(run_id)
    backend.can_resume = False
    return backend
