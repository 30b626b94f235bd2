"""Reading a state store: what it has recorded of runs."""

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


@attrs.frozen
class RunRecord:
    """A recorded run.

    Attributes:
        run_id: Its id.
        status: ``"running"``, ``"interrupted"`` (begun and not ended, and no process executes it),
            ``"succeeded"``, ``"failed"`` or ``"cancelled"``.
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
    """All runs in a state store, the latest first, without their nodes.

    Reads in a worker thread. If cancelled, it returns at once and leaves the thread behind, which changes nothing.

    Args:
        state: URL of the store, such as ``sqlite:///runs.db``.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is malformed, or names a store that keeps nothing.
        StateError: If the store does not exist or cannot be read.
        TypeError: If *state* is no URL.
    """
    read = _reader(state, "read_runs")
    found: list[RunRecord] = await _reading(lambda: read(state))
    return sorted(found, key=lambda run: run.created, reverse=True)


async def recorded_run(state: str, run_id: str) -> RunRecord:
    """One run in a state store, with its nodes in the order in which they were recorded.

    Reads in a worker thread. If cancelled, it returns at once and leaves the thread behind, which changes nothing.

    Args:
        state: URL of the store, such as ``sqlite:///runs.db``.
        run_id: The run.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is malformed, or names a store that keeps nothing.
        StateError: If the store cannot be read, or has no such run.
        TypeError: If *state* is no URL.
    """
    read = _reader(state, "read_run")
    found: RunRecord | None = None
    if run_id.isprintable():  # as all ids are; stores can encode no others
        found = await _reading(lambda: read(state, run_id))
    if found is None:
        place = shown_url(state)
        raise StateError(f"there is no run {run_id!r} in {place!r}; `cascade runs --state {place}` lists what is")
    return found
