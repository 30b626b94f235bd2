"""The seam to state stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import attrs

from cascade.model.errors import StateError

NodeStatus = Literal["succeeded", "skipped", "failed", "cancelled", "retrying"]
RecordedStatus = Literal["running", "succeeded", "failed", "cancelled"]

# What the run is recorded as having been started by, as JSON: set by the command line, for ``cascade resume``.
origin_var: ContextVar[str | None] = ContextVar("cascade_origin", default=None)


@attrs.frozen
class Entry:
    """How a node ended, on its way to the store.

    Attributes:
        node_id: The node.
        value: What it gave, if it succeeded.
        reason: Why it was skipped, if it was.
        status: How it ended; what failed or was cancelled is noted for people only, and runs again. A node that is
            going to be attempted again is ``"retrying"``: that has not ended, and its attempts are kept.
        digest: Its content: code, bound arguments, what is upstream; ``None`` if nothing is to be compared.
        task_name: The task.
        attempts: How many were made.
        duration: Seconds from the start of the first.
        error: ``"Type: message"``, if it failed.
    """

    node_id: str
    value: Any = None
    reason: str | None = None
    status: NodeStatus = "succeeded"
    digest: bytes | None = None
    task_name: str = ""
    attempts: int = 0
    duration: float = 0.0
    error: str | None = None


@attrs.frozen
class Continuation:
    """What a loop of tail calls goes on with.

    Attributes:
        turn: Number of the turn that it begins, from 1.
        value: What is to be run: what the target of the turn before returned.
    """

    turn: int
    value: Any


@attrs.frozen
class Batch:
    """What is written at once: all of it or nothing.

    Attributes:
        entries: Nodes that have settled, in order.
        notes: Nodes that failed, were cancelled, or are going to be attempted again.
        continuation: If given, the records of all nodes before it are forgotten.
    """

    entries: Sequence[Entry] = ()
    notes: Sequence[Entry] = ()
    continuation: Continuation | None = None


@attrs.frozen
class Record:
    """What a store knows of a node, without its value.

    Attributes:
        digest: Its content when it ran; ``None`` if the store does not know.
        reason: Why it was skipped, if it was.
        is_durable: Whether the store has its value.
    """

    digest: bytes | None = None
    reason: str | None = None
    is_durable: bool = True


@attrs.frozen
class Opening:
    """What a run tells the store when it begins.

    Attributes:
        is_new: Whether the id was made for it, so that the store cannot know it.
        flow: Names of the nodes whose values it returns.
        flow_digest: Digest of the whole flow.
        params: ``repr`` of what was given, by name.
        origin: How the command line can start it again, as JSON.
    """

    is_new: bool
    flow: Sequence[str]
    flow_digest: bytes
    params: Mapping[str, str]
    origin: str | None = None


@attrs.frozen
class Past:
    """What a store knows of a run that begins.

    Attributes:
        is_known: Whether there may be records.
        status: How it ended, or ``"running"`` if it was cut short.
        flow_digest: Digest of the flow that it was recorded with; ``None`` if the store does not know.
        nodes: Ids of the nodes that have a record; ``None`` if the store has to be asked for each.
        result: The result of the run, boxed, if it has finished and the store has it.
        continuation: Where its loop of tail calls goes on.
        epoch: Counts the times that it was begun, from 1.
        retrying: Nodes that were going to be attempted again: their digests, and the attempts made.
        unreadable: What keeps the result, or the loop, from being read, if anything does.
        finished: When it ended, in seconds since the epoch, if it has and the store knows.
    """

    is_known: bool = False
    status: RecordedStatus = "running"
    flow_digest: bytes | None = None
    nodes: Sequence[str] | None = None
    result: tuple[Any] | None = None
    continuation: Continuation | None = None
    epoch: int = 1
    retrying: Mapping[str, tuple[bytes | None, int]] = attrs.field(factory=dict)
    unreadable: StateError | None = None
    finished: float | None = None


@attrs.frozen
class Closing:
    """What a run tells the store when it ends.

    Attributes:
        status: How it ended.
        error: ``"Type: message"`` of what it raises, if anything.
        result: Its result, boxed, if it succeeded.
    """

    status: RecordedStatus
    error: str | None = None
    result: tuple[Any] | None = None


class PartlyWrittenError(Exception):
    """A store that cannot write a batch at once failed in the middle. Stays in the engine.

    Attributes:
        reason: What it raised.
        written: Ids of the nodes that are recorded.
    """

    def __init__(self, reason: Exception, written: Iterable[str]) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.written: frozenset[str] = frozenset(written)


# Ids of nodes whose values the store could not take, and why.
NotDurable = Sequence[tuple[str, Exception]]


class StateBackend(ABC):
    """The outcomes of one run, by node id.

    Every operation may be called from any task; blocking work goes through ``anyio.to_thread.run_sync`` under a
    limiter of the backend's own. A write that has been accepted is not lost when its caller is cancelled.

    Only the abstract operations are needed. The others are written with them here, as far as that goes: such a
    backend resumes by node id alone, sees no change of the flow, holds no lease and keeps no loops.

    Attributes:
        run_id: The run.
        keeps_loops: Whether it keeps continuations.
        heartbeat_every: Seconds between two heartbeats, by which a store also sees whether its records are still
            where they were; ``None``: it needs none.
        can_resume: Whether another run may ever see the records, so that they are to be compared by digest.
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
        """Forget everything about the run but that it has begun."""

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
        """The same without those that cannot be read any more."""
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
        """Take the run, and say what is known of it.

        Raises:
            RunInProgressError: If somebody else executes it.
            StateError: If the store cannot be used.
        """
        return Past(is_known=not opening.is_new)

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        """What is recorded of *node_ids*, without values; failures are not."""
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
        """Record *batch*, in order; returns what could be recorded as done, but without its value."""
        results = {entry.node_id: entry.value for entry in batch.entries if entry.reason is None}
        await self.put_results(results)
        skips = {entry.node_id: entry.reason for entry in batch.entries if entry.reason is not None}
        try:
            await self.mark_all_skipped(skips)
        except Exception as error:
            raise PartlyWrittenError(error, results) from error
        return ()

    async def forget(self, node_ids: Iterable[str]) -> None:
        """Forget the records of *node_ids*; a store that does not compare digests need not."""
        return

    async def adopt(self, flow_digest: bytes) -> None:
        """From now on the records are those of the flow with this digest, and there is no result."""
        return

    async def heartbeat(self) -> None:
        """Say that the run is alive.

        Raises:
            StateError: If that cannot be recorded any more: somebody else has taken the run over, or its records
                are gone. Ends the run; whatever else is raised is told, and the next heartbeat is tried.
        """
        return

    def sealed(self, value: Any) -> Any:
        """*value* as it is now, whatever becomes of what is in it; raises what keeps the store from taking it."""
        return value

    async def finish(self, closing: Closing) -> NotDurable:
        """Record how the run ended, and give it up; nothing is written after that."""
        return ()

    async def aclose(self) -> None:
        """Release what the backend holds open; a run that was not finished counts as cut short."""
        return
