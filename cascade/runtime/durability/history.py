"""What a store tells of its runs, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

# "interrupted": it was begun and has not ended, and nobody executes it.
RunState = Literal["running", "interrupted", "succeeded", "failed", "cancelled"]


@attrs.frozen
class NodeRecord:
    """A node of a recorded run.

    Attributes:
        node_id: The node.
        task: Name of its task.
        status: ``"succeeded"``, ``"skipped"``, ``"failed"``, ``"cancelled"``, or ``"retrying"``.
        reason: Why it was skipped, if it was.
        attempts: How many were made.
        duration: Seconds from the start of the first.
        error: ``"Type: message"``, if it failed.
        recorded: When that was written, in seconds since the epoch.
        is_durable: Whether its value is in the store.
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


@attrs.frozen
class RunRecord:
    """A recorded run.

    Attributes:
        run_id: Its id.
        status: How it ended, or whether it is executed.
        flow: Ids of the nodes whose values it returns.
        params: ``repr`` of what was given, by name.
        created: When it was begun first, in seconds since the epoch.
        updated: When it was written last.
        finished: When it ended, if it has.
        error: ``"Type: message"`` of what it raised; and what of its record is damaged, if anything is.
        epoch: How often it was begun.
        turn: Number of the turn that its loop goes on with, if it is one.
        owner: Who executes it, in words.
        origin: How the command line started it, as JSON.
        counts: Number of recorded nodes, by status.
        nodes: The nodes, where a single run was asked for.
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
