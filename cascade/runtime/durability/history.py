"""What a store tells of its runs, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

# "interrupted": it has not ended, and no process executes it any more.
RunState = Literal["running", "interrupted", "succeeded", "failed", "cancelled", "suspended"]


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
        counts: Number of recorded nodes by status.
        nodes: The nodes, if a single run was asked for; otherwise empty.
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
