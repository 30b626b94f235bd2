"""Reads what a store has recorded of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from cascade.model.errors import StateError, shown_url
from cascade.runtime.durability.history import RunRecord
from cascade.runtime.engine.urls import history_reader
from cascade.runtime.foundation.threads import counted

T = TypeVar("T")


async def recorded_runs(state: str) -> list[RunRecord]:
    """The runs in the store at the URL *state*, the latest first; without their nodes.

    Reads in a thread. If cancelled, does not wait for that.

    Raises:
        InputError: If the URL is invalid, or its store does not outlive the process.
        StateError: If the store is not there, or cannot be read.
    """
    read = history_reader(state, "read_runs")
    found: list[RunRecord] = await _reading(lambda: read(state))
    return sorted(found, key=lambda run: run.created, reverse=True)


async def recorded_run(state: str, run_id: str) -> RunRecord:
    """The run *run_id* in the store at the URL *state*, with its nodes in the order in which they were recorded.

    Reads in a thread. If cancelled, does not wait for that.

    Raises:
        InputError: If the URL is invalid, or its store does not outlive the process.
        StateError: If the store cannot be read, or has no such run.
    """
    read = history_reader(state, "read_run")
    found: RunRecord | None = None
    if run_id.isprintable():  # as all ids are; stores can encode no others
        found = await _reading(lambda: read(state, run_id))
    if found is None:
        place = shown_url(state)
        raise StateError(f"there is no run {run_id!r} in {place!r}; `cascade runs --state {place}` lists what is")
    return found


async def _reading(read: Callable[[], T]) -> T:
    """What *read* returns. It changes nothing, so a cancellation need not wait for it."""
    with counted():
        return await run_sync(read, abandon_on_cancel=True, limiter=CapacityLimiter(1))
