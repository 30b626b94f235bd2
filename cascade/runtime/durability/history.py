"""What a store tells of its runs, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from cascade.graph.pictures.sketch import Sketch
from cascade.runtime.durability.details import NodeDetail, SignalRecord
from cascade.runtime.durability.records import UNDO_BEGUN, done_id, is_of_undo, undo_id

# "interrupted": it has not ended, and no process executes it any more.
RunState = Literal["running", "interrupted", "succeeded", "failed", "cancelled", "suspended"]


# More than 12 fields: a public record, whose shape is fixed.
@attrs.frozen
class NodeRecord:
    """A node of a recorded run.

    Attributes:
        node_id: The node's id.
        task: Name of its task.
        status: ``"succeeded"``, ``"skipped"``, ``"failed"``, ``"cancelled"`` or ``"retrying"`` (an attempt failed,
            another one had not begun).
        reason: Why it was skipped: a value of ``SkipReason``; ``None`` if it was not.
        attempts: Number of attempts; 0 if it was skipped.
        duration: Seconds from the start of the first attempt.
        error: ``"Type: message"`` if it failed, otherwise ``None``.
        recorded: When the record was written, in seconds since the epoch.
        is_durable: Whether the store has its value.
        label: What the user has called it; ``None`` if nothing.
        detail: Why it failed, with what it was called, and what it wrote. ``None`` if nothing of that is recorded.
        started: When its first attempt began, in seconds since the epoch; ``None`` if none did, or that is not
            recorded.
        worker: Where its last attempt ran, in words: the event loop, a thread, a process or a remote worker.
            ``None`` if none began, or that is not recorded.
    """

    node_id: str
    task: str
    status: str
    reason: str | None
    attempts: int
    duration: float
    error: str | None
    recorded: float
    is_durable: bool
    label: str | None = None
    detail: NodeDetail | None = None
    started: float | None = None
    worker: str | None = None

    @property
    def counts_as(self) -> str:
        """Its status, or ``"handled"`` if it failed and the run does not fail by that."""
        is_handled = self.status == "failed" and self.detail is not None and self.detail.handled
        return "handled" if is_handled else self.status


@attrs.frozen
class UndoRecord:
    """What a recorded run has to undo, or has undone.

    Attributes:
        node_id: The node that had succeeded.
        undo: Name of the task that undoes it.
        status: ``"pending"``: it is undone if the run fails; ``"due"``: the run has failed, and a resumed run
            undoes it first; ``"undone"``; or ``"failed"``: its undo has failed, and a resumed run tries again.
        error: ``"Type: message"`` if its undo has failed, otherwise ``None``.
        recorded: When the node had succeeded, or was undone, in seconds since the epoch; never 0.
    """

    node_id: str
    undo: str
    status: str
    error: str | None
    recorded: float


@attrs.frozen
class Damage:
    """Something in a store that cannot be read.

    Attributes:
        run_id: The run whose it is; ``None`` if it is the store itself.
        node_id: The node whose it is; ``None`` if it is no node's.
        what: What is wrong.
    """

    run_id: str | None
    node_id: str | None
    what: str


# More than 12 fields: a public record, whose shape is fixed.
@attrs.frozen
class RunRecord:
    """A recorded run.

    Attributes:
        run_id: Its id.
        status: ``"running"``, ``"interrupted"`` (begun and not ended, and no process executes it),
            ``"succeeded"``, ``"failed"``, ``"cancelled"`` or ``"suspended"`` (it waits for signals).
        flow: Ids of the nodes whose values it returns.
        params: Parameter name to ``repr`` of its value.
        created: When it was first begun, in seconds since the epoch.
        updated: When it was last written, in seconds since the epoch.
        finished: When it ended, in seconds since the epoch; ``None`` if it has not.
        error: ``"Type: message"`` of what it raised, and which fields of its record are damaged; ``None`` if
            neither.
        epoch: How often it was begun.
        turn: Number of the turn with which its loop goes on; ``None`` if it is no loop.
        owner: The process that executes it, in words; ``None`` if there is none.
        origin: The command line that started it, as JSON; ``None`` if it was not started by one.
        counts: Number of recorded nodes by status; a failure that is handled counts as ``"handled"``. If the run
            has succeeded, no others count: they are of earlier executions.
        nodes: The nodes that count, if a single run was asked for; otherwise empty.
        undos: What of them is to be undone, or has been, in the order in which they had succeeded; empty if the
            nodes are.
        signals: The signals that it has accepted; empty if the nodes are.
        outline: What its flow is made of: its nodes and what each needs, or, of a large flow, its tasks. ``None``
            if the nodes are empty, or that was not recorded.
    """

    run_id: str
    status: RunState
    flow: Sequence[str]
    params: Mapping[str, str]
    created: float
    updated: float
    finished: float | None
    error: str | None
    epoch: int
    turn: int | None
    owner: str | None
    origin: str | None
    counts: Mapping[str, int]
    nodes: Sequence[NodeRecord] = ()
    undos: Sequence[UndoRecord] = ()
    signals: Sequence[SignalRecord] = ()
    outline: Sketch | None = None


def undo_records(records: Sequence[NodeRecord]) -> list[UndoRecord]:
    """What *records*, all of a run, say about undoing."""
    by_id = {record.node_id: record for record in records if is_of_undo(record.node_id)}
    waits = "due" if UNDO_BEGUN in by_id else "pending"
    found: list[tuple[int, UndoRecord]] = []
    for record_id, record in by_id.items():
        number = int(record_id.rpartition(":")[2]) if record_id.rpartition(":")[2].isdecimal() else 0
        if record_id != undo_id(number):
            continue
        undo, _, node_id = record.task.partition("\n")
        end = by_id.get(done_id(number))
        status = waits if end is None else "undone" if end.status == "succeeded" else "failed"
        error, recorded = (None, record.recorded) if end is None else (end.error, end.recorded)
        found.append((number, UndoRecord(node_id, undo, status, error, recorded)))
    return [undo_record for _, undo_record in sorted(found, key=lambda item: item[0])]
