"""The interface of state backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cascade.runtime.durability.node_outcomes import NodeOutcomes
from cascade.runtime.durability.records import Batch, Closing, NotDurable, Opening, Past, Record
from cascade.runtime.durability.signal_records import SignalRecords


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


class StateBackend(NodeOutcomes):
    """The recorded outcomes of one run, by node id.

    Every operation may be called from any task. Blocking work goes through ``anyio.to_thread.run_sync`` with a
    limiter of the backend's own. If the caller of an operation is cancelled, a write that was accepted is
    completed all the same.

    Only the abstract operations have to be written; the others are defined in terms of them here. Such a backend
    resumes by node id alone: it notices no change of the flow, holds no lease and keeps no loops.

    Ids that begin with ``~undo`` are no nodes: their records say what is to be undone, and what has been.

    Args:
        run_id: The run.

    Attributes:
        run_id: The run.
        keeps_loops: Whether it keeps the continuations of loops. False by default.
        heartbeat_every: Seconds between two calls of :meth:`heartbeat`. ``None`` (default): none are needed.
        signals: Where accepted signals are recorded. ``None`` (default): it keeps none, and a flow with signals is
            refused.
        can_resume: Whether another run may ever read the records, so that digests are worth recording. True by
            default.
    """

    can_resume: bool = True
    keeps_loops: bool = False
    heartbeat_every: float | None = None
    signals: SignalRecords | None = None

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    async def begin(self, opening: Opening) -> Past:
        """Take the run for this process, and return what is known of it.

        May wait while it is not certain whether the last holder is alive. If cancelled, the run is not taken, or
        is given up by :meth:`aclose`.

        Args:
            opening: The run.

        Raises:
            RunInProgressError: If another process executes the run.
            StateError: If the store cannot be used.
        """
        return Past(is_known=not opening.is_new)

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        """What is recorded of some nodes, without values. Failed and cancelled nodes are left out. May be
        cancelled.

        Args:
            node_ids: The nodes.
        """
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
        """Record a batch, in order. Returns the ids of nodes whose value the store could not take, each with the
        error; they are recorded as done.

        A write that has begun is not cancelled.

        Args:
            batch: What to record.

        Raises:
            PartlyWrittenError: If a store that cannot write a batch at once fails in the middle.
            Exception: Whatever else keeps the store from writing. It ends the run.
        """
        results = {entry.node_id: entry.value for entry in batch.entries if entry.reason is None}
        await self.put_results(results)
        skips = {entry.node_id: entry.reason for entry in batch.entries if entry.reason is not None}
        try:
            await self.mark_all_skipped(skips)
        except Exception as error:
            raise PartlyWrittenError(error, results) from error
        if batch.notes:  # what they had come to in an earlier execution counts no more
            await self.forget([note.node_id for note in batch.notes])
        return ()

    async def forget(self, node_ids: Iterable[str]) -> None:
        """Delete the records of some nodes, which have failed since, run again, or belong to another flow. A
        deletion that has begun is not cancelled.

        A store without it gives a resumed run what a node came to first: wrong only if that took a failure as a
        value, and has failed or not run again since.

        Args:
            node_ids: The nodes.
        """
        return

    async def adopt(self, flow_digest: bytes) -> None:
        """Say that the records now belong to another flow, and that the run has no result. A write that has begun
        is not cancelled.

        Args:
            flow_digest: Digest of that flow.
        """
        return

    async def durations(self) -> Mapping[bytes, bytes]:
        """How long nodes took in earlier runs, of whatever id, that share the store. May be cancelled.

        They decide in what order nodes start, so it does no harm if some are lost. The default knows none.

        Returns:
            A digest of a flow to opaque bytes, as :meth:`finish` was given them in ``Closing.durations``.
        """
        return {}

    async def heartbeat(self) -> None:
        """Renew the lease on the run. Cancelled when the run ends; a renewal that has begun is completed.

        Raises:
            StateError: If another process has taken the run over, its records are gone, or the lease is about to
                end. This ends the run. Any other error is reported, and the next heartbeat is tried.
        """
        return

    def sealed(self, value: Any) -> Any:
        """A snapshot of a value, which later changes of the value do not reach. The default returns the value
        itself.

        Args:
            value: The value.

        Raises:
            Exception: Whatever keeps the store from taking the value, such as a pickling error.
            ValueError: If the value is too large for the store.
        """
        return value

    async def finish(self, closing: Closing) -> NotDurable:
        """Record how the run ended and give it up. Nothing is written after that. Returns what :meth:`write`
        returns.

        Cancelled after ``cleanup_timeout``; a write that has begun is completed.

        Args:
            closing: How the run ended.
        """
        return ()

    async def aclose(self) -> None:
        """Release what the backend holds open. A run that was not finished then counts as cut short.

        Cancelled after ``cleanup_timeout``; files and connections are closed all the same.
        """
        return
