"""The records that pass between a run and its store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import attrs

from cascade.model.errors import StateError
from cascade.runtime.durability.details import NodeDetail

NodeStatus = Literal["succeeded", "skipped", "failed", "cancelled", "retrying"]
RecordedStatus = Literal["running", "succeeded", "failed", "cancelled", "suspended"]

# Ids of nodes whose values the store could not take, and why.
NotDurable = Sequence[tuple[str, Exception]]

# Records under these ids are not nodes: they say what is to be undone (``~undo:7`` is the seventh success of a
# node with an undo), what has been undone (``~undone:7``), and that undoing has begun. A record ``~undone`` counts
# how often nodes were undone in earlier executions. No task name begins so.
UNDO_MARK: Final = "~undo"
UNDO_TIMES: Final = "~undone"


def undo_id(number: int) -> str:
    """The id of the record of a success that can be undone."""
    return f"~undo:{number}"


def done_id(number: int) -> str:
    """The id of the record that says that a success has been undone."""
    return f"~undone:{number}"


UNDO_BEGUN: Final = done_id(0)


def is_of_undo(node_id: str) -> bool:
    """Whether a record is about undoing, so that it outlives the turn of a loop, and is no node."""
    return node_id.startswith(UNDO_MARK)


def roots(name: str) -> Iterator[str]:
    """The nodes to which *name* may belong: itself, the map of an item, and the node of a sub-flow."""
    yield name
    yield from (name[:place] for place, letter in enumerate(name) if letter in "/[")


# More than 12 fields: one for each column of a store, and a tuple in it would have to be made for each node.
class Entry(NamedTuple):
    """The outcome of a node, on its way to the store. A tuple, as that is quickest to make.

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
        label: What the user has called the node; ``None`` if nothing.
        detail: Why it failed, and what it wrote, for people. ``None`` if there is nothing to tell. A store
            need not keep it.
        started: When its first attempt began, in seconds since the epoch; ``None`` if none began. A store need not
            keep it.
        worker: Where its last attempt ran, in words: the event loop, a thread, a process or a remote worker.
            ``None`` if none began, or that is not known. A store need not keep it.
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
    label: str | None = None
    detail: NodeDetail | None = None
    started: float | None = None
    worker: str | None = None

    def is_outcome(self) -> bool:
        """Whether the node need not run again."""
        return self.status in ("succeeded", "skipped")


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
        continuation: If not ``None``, all records of nodes before it are deleted; those whose id
            :func:`is_of_undo` stay.
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
        outline: What the flow is made of, as text; ``None`` if nobody will read it. A store need not keep it.
    """

    is_new: bool
    flow: Sequence[str]
    flow_digest: bytes
    params: Mapping[str, str]
    origin: str | None = None
    outline: str | None = None


@attrs.frozen
class Past:
    """What a store knows of a run when the run begins.

    Args:
        is_known: Whether there may be records of it.
        status: ``"running"`` (default), also if it was cut short; ``"succeeded"``, ``"failed"``, ``"cancelled"``
            or ``"suspended"``.
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
        failed: Ids of the nodes that last failed or were cancelled, each with whether that was handled. They run
            again, so this is only for people; by default none are known.
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
    failed: Mapping[str, bool] = attrs.field(factory=dict)

    def handled(self) -> list[str]:
        """Ids of the nodes whose last failure was handled."""
        return [name for name, is_handled in self.failed.items() if is_handled]


@attrs.frozen
class Closing:
    """What a run tells the store when it ends.

    Attributes:
        status: ``"succeeded"``, ``"failed"``, ``"suspended"`` (it waits for signals) or ``"cancelled"``; the last
            also for a run that was drained.
        error: ``"Type: message"`` of what it raises, or what it waits for; ``None`` if it succeeded.
        result: Its result in a tuple of one; ``None`` if it has none.
        durations: How long the nodes of its flows take, by a digest of each flow; see
            :meth:`StateBackend.durations`. By default nothing is known.
    """

    status: RecordedStatus
    error: str | None = None
    result: tuple[Any] | None = None
    durations: Mapping[bytes, bytes] = attrs.field(factory=dict)
