"""The values that pass between a run and its state store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from cascade.model.errors import StateError

NodeStatus = Literal["succeeded", "skipped", "failed", "cancelled", "retrying"]
RecordedStatus = Literal["running", "succeeded", "failed", "cancelled"]

# Ids of nodes whose values the store could not take, and why.
NotDurable = Sequence[tuple[str, Exception]]


@attrs.frozen
class Entry:
    """How a node ended, on its way to the store.

    Attributes:
        node_id: The node.
        value: Its value, if it succeeded.
        reason: Why it was skipped; ``None`` if it was not.
        status: How it ended. ``"failed"`` and ``"cancelled"`` are kept for people to read; such a node runs again.
            ``"retrying"`` has not ended: it waits for its next attempt, and the attempts made are kept.
        digest: Digest of its code, its arguments and everything upstream; ``None`` if nothing is to be compared.
        task_name: Name of its task.
        attempts: Number of attempts made.
        duration: Seconds from the start of the first attempt.
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
    """The beginning of a turn of a loop of tail calls: enough to resume the loop there.

    Attributes:
        turn: Number of the turn, from 1.
        value: The call to run: what the target of the turn before returned.
    """

    turn: int
    value: Any


@attrs.frozen
class Batch:
    """What a store writes at once: all of it or nothing.

    Attributes:
        entries: Nodes that have settled, in order.
        notes: Nodes that failed, were cancelled, or wait for another attempt.
        continuation: If given, the store first forgets the records of all earlier nodes.
    """

    entries: Sequence[Entry] = ()
    notes: Sequence[Entry] = ()
    continuation: Continuation | None = None


@attrs.frozen
class Record:
    """What a store knows of a node, without its value.

    Attributes:
        digest: Digest of its content when it ran; ``None`` if the store does not know.
        reason: Why it was skipped; ``None`` if it was not.
        is_durable: Whether the store has its value.
    """

    digest: bytes | None = None
    reason: str | None = None
    is_durable: bool = True


@attrs.frozen
class Opening:
    """What a run tells the store when it begins.

    Attributes:
        is_new: Whether the id was made for this run, so that the store cannot know it.
        flow: Names of the nodes whose values the run returns.
        flow_digest: Digest of the whole flow.
        params: ``repr`` of each parameter, by name.
        origin: How the command line can start the run again, as JSON.
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
        status: How the run ended, or ``"running"`` if it was cut short.
        flow_digest: Digest of the flow that was recorded; ``None`` if the store does not know.
        nodes: Ids of the nodes that have a record; ``None`` if the store has to be asked for each.
        result: The result of the run, boxed, if the run has finished and the store has it.
        continuation: The turn in which its loop of tail calls goes on; ``None`` if it is the first.
        epoch: How often the run was begun, from 1.
        retrying: Nodes that waited for another attempt: their digests, and the attempts made.
        unreadable: Why the result, or the continuation, cannot be read; ``None`` if both can.
        finished: When the run ended, in seconds since the epoch; ``None`` if it has not, or that is not known.
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
        status: How the run ended.
        error: ``"Type: message"`` of what it raises; ``None`` if it raises nothing.
        result: Its result, boxed, if it succeeded.
    """

    status: RecordedStatus
    error: str | None = None
    result: tuple[Any] | None = None
