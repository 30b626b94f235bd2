"""What a store tells people of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import attrs
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from cascade.model.errors import InputError, StateError, shown_url
from cascade.runtime.plugins import adapter
from cascade.runtime.stores import check_state
from cascade.runtime.threads import counted

T = TypeVar("T")

# "interrupted": it was begun and has not ended, and nobody executes it.
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


def _reader(state: str, name: str) -> Any:
    check_state(state)
    scheme = str(state).partition(":")[0]
    if scheme not in _READERS:
        raise InputError(
            [f"{shown_url(state)!r} keeps nothing once the process has ended; give sqlite:///... or redis://..."]
        )
    return adapter(f"{_READERS[scheme]}:{name}")


async def _reading(read: Callable[[], T]) -> T:
    """What *read* gives; if cancelled, does not wait for it: it changes nothing."""
    with counted():
        return await run_sync(read, abandon_on_cancel=True, limiter=CapacityLimiter(1))


async def recorded_runs(state: str) -> list[RunRecord]:
    """The runs in the store at the URL *state*, the latest first; without their nodes.

    Raises:
        InputError: If the URL means nothing.
        StateError: If the store is not there, or cannot be read.
    """
    read = _reader(state, "read_runs")
    found: list[RunRecord] = await _reading(lambda: read(state))
    return sorted(found, key=lambda run: run.created, reverse=True)


async def recorded_run(state: str, run_id: str) -> RunRecord:
    """The run *run_id* in the store at the URL *state*, with its nodes in the order in which they were recorded.

    Raises:
        InputError: If the URL means nothing.
        StateError: If the store cannot be read, or has no such run.
    """
    read = _reader(state, "read_run")
    found: RunRecord | None = None
    if run_id.isprintable():  # as all ids are; stores can encode no others
        found = await _reading(lambda: read(state, run_id))
    if found is None:
        place = shown_url(state)
        raise StateError(f"there is no run {run_id!r} in {place!r}; `cascade runs --state {place}` lists what is")
    return found
