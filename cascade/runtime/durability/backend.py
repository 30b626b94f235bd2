"""The interface of state backends, and the records that pass through it."""

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
    """The outcome of a node, on its way to the store.

    Attributes:
        node_id: The node.
        value: Its value, if it succeeded; otherwise ``None``.
        reason: Why it was skipped; ``None`` if it was not.
        status: ``"succeeded"``, ``"skipped"``, ``"failed"``, ``"cancelled"``, or ``"retrying"`` if another attempt
            follows. Nodes that failed or were cancelled are recorded for people only and run again. For
            ``"retrying"`` the number of attempts is kept.
        digest: Digest of the node: code, bound arguments, everything upstream. ``None`` if it is not to be
            compared.
        task_name: The task's name.
        attempts: Number of attempts that were made.
        duration: Seconds from the start of the first attempt.
        error: ``"Type: message"`` if it failed, otherwise ``None``.
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
    """The next turn of a loop of tail calls.

    Attributes:
        turn: Number of that turn, from 1.
        value: What it runs: the lazy that the turn before returned.
    """

    turn: int
    value: Any


@attrs.frozen
class Batch:
    """What is written together: all of it or nothing.

    Attributes:
        entries: Nodes that succeeded or were skipped, in order.
        notes: Nodes that failed, were cancelled, or will be attempted again.
        continuation: If not ``None``, all records of nodes before it are deleted.
    """

    entries: Sequence[Entry] = ()
    notes: Sequence[Entry] = ()
    continuation: Continuation | None = None


@attrs.frozen
class Record:
    """What a store knows of a node, without its value.

    Args:
        digest: The node's digest when it ran. ``None`` (default): not known.
        reason: Why it was skipped. ``None`` (default): it was not.
        is_durable: Whether the store has the value; ``True`` by default.
    """

    digest: bytes | None = None
    reason: str | None = None
    is_durable: bool = True


@attrs.frozen
class Opening:
    """What a run tells the store when it begins.

    Attributes:
        is_new: Whether the run id was made for this run, so that the store cannot know it.
        flow: Ids of the nodes whose values the run returns.
        flow_digest: Digest of the whole flow.
        params: Parameter name to ``repr`` of its value.
        origin: The command line that started the run, as JSON; ``None`` if it was not started by one.
    """

    is_new: bool
    flow: Sequence[str]
    flow_digest: bytes
    params: Mapping[str, str]
    origin: str | None = None


@attrs.frozen
class Past:
    """What a store knows of a run when the run begins.

    Args:
        is_known: Whether there may be records of it.
        status: ``"running"`` (default), also if it was cut short; ``"succeeded"``, ``"failed"`` or
            ``"cancelled"``.
        flow_digest: Digest of the flow with which it was recorded. ``None`` (default): not known.
        nodes: Ids of the nodes that have a record. ``None`` (default): the store has to be asked for each node.
        result: The result of a run that has succeeded, in a tuple of one. ``None`` (default): there is none.
        continuation: The turn with which its loop of tail calls goes on. ``None`` (default): it is no loop.
        epoch: How often it was begun, this time included; 1 by default.
        retrying: Node id to digest and number of attempts, for nodes that were to be attempted again. By default
            none.
        unreadable: Why the result or the loop cannot be read. ``None`` (default): nothing is damaged.
        finished: When it ended, in seconds since the epoch (0 is 1970). ``None`` (default): it has not, or that is
            not known.
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
        status: ``"succeeded"``, ``"failed"`` or ``"cancelled"``; the last also for a run that was drained.
        error: ``"Type: message"`` of what it raises; ``None`` if it succeeded.
        result: Its result in a tuple of one; ``None`` if it has none.
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
    """The recorded outcomes of one run, by node id.

    Every operation may be called from any task. Blocking work goes through ``anyio.to_thread.run_sync`` with a
    limiter of the backend's own. If the caller of an operation is cancelled, a write that was accepted is
    completed all the same.

    Only the abstract operations have to be written; the others are defined in terms of them here. Such a backend
    resumes by node id alone: it notices no change of the flow, holds no lease and keeps no loops.

    Args:
        run_id: The run.

    Attributes:
        run_id: The run.
        keeps_loops: Whether it keeps the continuations of loops. False by default.
        heartbeat_every: Seconds between two calls of :meth:`heartbeat`. ``None`` (default): none are needed.
        can_resume: Whether another run may ever read the records, so that digests are worth recording. True by
            default.
    """

    can_resume: bool = True
    keeps_loops: bool = False
    heartbeat_every: float | None = None

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

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
        """Delete all records of the run, except that it has begun. A deletion that has begun is not cancelled."""

    # -- batches -------------------------------------------------------------------------------------------

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

    # -- the run -------------------------------------------------------------------------------------------

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
        return ()

    async def forget(self, node_ids: Iterable[str]) -> None:
        """Delete the records of some nodes. Only needed by a store that compares digests. A deletion that has
        begun is not cancelled.

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
