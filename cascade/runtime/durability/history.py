"""The history of a store: its recorded runs, for people to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import attrs
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from cascade.model.errors import InputError, StateError, shown_url
from cascade.runtime.durability.store_urls import check_state
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.foundation.threads import counted

T = TypeVar("T")

# "interrupted": it has not ended, and no process executes it any more.
RunState = Literal["running", "interrupted", "succeeded", "failed", "cancelled"]

_READERS: Final = {
    "sqlite": "state.sqlite.ledger",
    "redis": "state.redis.ledger",
    "rediss": "state.redis.ledger",
}


@attrs.frozen
class NodeRecord:
    """A node of a recorded run.

    Attributes:
        node_id: The node.
        task: Name of its task.
        status: ``"succeeded"``, ``"skipped"``, ``"failed"``, ``"cancelled"``, or ``"retrying"``.
        reason: Why it was skipped; ``None`` if it was not.
        attempts: Number of attempts made.
        duration: Seconds from the start of the first attempt.
        error: ``"Type: message"``, if it failed.
        recorded: When the record was written, in seconds since the epoch.
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


# More than 12 fields: a public record, whose shape is fixed.
@attrs.frozen
class RunRecord:
    """A recorded run.

    Attributes:
        run_id: Its id.
        status: How it ended, or whether a process executes it.
        flow: Ids of the nodes whose values it returns.
        params: ``repr`` of each parameter, by name.
        created: When it was begun for the first time, in seconds since the epoch.
        updated: When it was last written, in seconds since the epoch.
        finished: When it ended, in seconds since the epoch; ``None`` if it has not.
        error: ``"Type: message"`` of what it raised, and which fields of its record are damaged; ``None`` if there
            is neither.
        epoch: How often it was begun.
        turn: Number of the turn in which its loop of tail calls goes on; ``None`` if it is no loop, or is in its
            first turn.
        owner: The process that executes it, in words; ``None`` if none does.
        origin: How the command line started it, as JSON; ``None`` if it did not.
        counts: Number of recorded nodes, by status.
        nodes: The nodes; empty in a list of runs.
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


def _reader(state: str, name: str) -> Any:
    check_state(state)
    scheme = str(state).partition(":")[0]
    if scheme not in _READERS:
        raise InputError(
            [f"{shown_url(state)!r} keeps nothing once the process has ended; give sqlite:///... or redis://..."]
        )
    return adapter(f"{_READERS[scheme]}:{name}")


async def _reading(read: Callable[[], T]) -> T:
    """What *read* returns, called in a thread. If cancelled, leaves the thread behind, which changes nothing."""
    with counted():
        return await run_sync(read, abandon_on_cancel=True, limiter=CapacityLimiter(1))


async def recorded_runs(state: str) -> list[RunRecord]:
    """The runs in the store at the URL *state*, the latest first, without their nodes.

    Raises:
        InputError: If the URL names no store that outlives its process.
        StateError: If the store is not there, or cannot be read.
    """
    read = _reader(state, "read_runs")
    found: list[RunRecord] = await _reading(lambda: read(state))
    return sorted(found, key=lambda run: run.created, reverse=True)


async def recorded_run(state: str, run_id: str) -> RunRecord:
    """The run *run_id* in the store at the URL *state*, with its nodes in the order in which they were recorded.

    Raises:
        InputError: If the URL names no store that outlives its process.
        StateError: If the store cannot be read, or has no such run.
    """
    read = _reader(state, "read_run")
    found: RunRecord | None = None
    if run_id.isprintable():  # as all ids are; a store may be unable to encode others
        found = await _reading(lambda: read(state, run_id))
    if found is None:
        place = shown_url(state)
        raise StateError(f"there is no run {run_id!r} in {place!r}; `cascade runs --state {place}` lists what is")
    return found
