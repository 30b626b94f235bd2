"""The seam to state stores: what a backend must do, and what it may do better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cascade.model.errors import StateError
from cascade.runtime.durability.records import Batch, Closing, NotDurable, Opening, Past, Record


class PartlyWrittenError(Exception):
    """A store that writes a batch in several steps failed between two of them. Users never see this error.

    Attributes:
        reason: What the store raised.
        written: Ids of the nodes that are recorded.
    """

    def __init__(self, reason: Exception, written: Iterable[str]) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.written: frozenset[str] = frozenset(written)


# More than 15 methods: this is a public interface, whose shape is fixed, and users subclass it.
class StateBackend(ABC):
    """The outcomes of one run, by node id.

    Every method may be called from any task. Blocking work goes through ``anyio.to_thread.run_sync`` under a
    limiter of the backend's own. A write that has been accepted is not lost when its caller is cancelled.

    A backend must define the abstract methods; the other methods have defaults that use these. With the defaults,
    a backend resumes by node id alone, does not notice that the flow has changed, holds no lease and keeps no
    loops.

    Attributes:
        run_id: The run.
        keeps_loops: Whether it keeps continuations; ``False`` by default.
        heartbeat_every: Seconds between two heartbeats, in which a store also sees whether its records are still
            where they were; ``None``, the default: no heartbeats.
        can_resume: Whether another run may ever see the records, so that they are compared by digest; ``True`` by
            default.
    """

    can_resume: bool = True
    keeps_loops: bool = False
    heartbeat_every: float | None = None

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    @abstractmethod
    async def put_result(self, node_id: str, result: Any) -> None:
        """Record the result of a node; ``None`` is a result."""

    @abstractmethod
    async def get_result(self, node_id: str) -> Any:
        """The recorded result of a node, or ``None`` if there is none; :meth:`has_result` tells these apart."""

    @abstractmethod
    async def has_result(self, node_id: str) -> bool:
        """Whether a result is recorded."""

    @abstractmethod
    async def mark_skipped(self, node_id: str, reason: str) -> None:
        """Record that a node was skipped."""

    @abstractmethod
    async def get_skip_reason(self, node_id: str) -> str | None:
        """Why a node was skipped; ``None`` if no skip is recorded."""

    @abstractmethod
    async def clear(self) -> None:
        """Forget everything about the run except that it has begun."""

    # -- batches -------------------------------------------------------------------------------------------

    async def put_results(self, results: Mapping[str, Any]) -> None:
        """Record several results, in order."""
        for node_id, result in results.items():
            await self.put_result(node_id, result)

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        """The recorded results among *node_ids*.

        Raises:
            StateError: If one cannot be read.
        """
        return {node_id: await self.get_result(node_id) for node_id in node_ids if await self.has_result(node_id)}

    async def get_readable_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        """The recorded results among *node_ids* that can be read; those that cannot be read are left out."""
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
        """Record several skips, in order."""
        for node_id, reason in reasons.items():
            await self.mark_skipped(node_id, reason)

    # -- the run -------------------------------------------------------------------------------------------

    async def begin(self, opening: Opening) -> Past:
        """Take the lease of the run; returns what is known of the run.

        Raises:
            RunInProgressError: If another process or task executes the run.
            StateError: If the store cannot be used.
        """
        return Past(is_known=not opening.is_new)

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        """The records of *node_ids*, without values. A node that failed or was cancelled has none."""
        found: dict[str, Record] = {}
        for node_id in node_ids:
            if await self.has_result(node_id):
                found[node_id] = Record()
            else:
                reason = await self.get_skip_reason(node_id)
                if reason is not None:
                    found[node_id] = Record(reason=reason)
        return found

    async def write(self, batch: Batch) -> NotDurable:
        """Record *batch*, in order; returns the nodes that were recorded without their values."""
        results = {entry.node_id: entry.value for entry in batch.entries if entry.reason is None}
        await self.put_results(results)
        skips = {entry.node_id: entry.reason for entry in batch.entries if entry.reason is not None}
        try:
            await self.mark_all_skipped(skips)
        except Exception as error:
            raise PartlyWrittenError(error, results) from error
        return ()

    async def forget(self, node_ids: Iterable[str]) -> None:
        """Forget the records of *node_ids*. The default does nothing, which will do without digests."""
        return

    async def adopt(self, flow_digest: bytes) -> None:
        """Forget the result of the run; from now on its records belong to the flow with this digest."""
        return

    async def heartbeat(self) -> None:
        """Record that the run is alive.

        Raises:
            StateError: If that is impossible for good: another process has taken the run over, or the records
                are gone. This ends the run. Any other exception is reported, and the next heartbeat is tried.
        """
        return

    def sealed(self, value: Any) -> Any:
        """A snapshot of *value* that later mutation cannot change.

        Raises:
            Exception: If the store cannot encode it.
        """
        return value

    async def finish(self, closing: Closing) -> NotDurable:
        """Record how the run ended, and give up its lease. Nothing is written after that."""
        return ()

    async def aclose(self) -> None:
        """Close files and connections. A run that was not finished counts as cut short."""
        return
