"""Reads what a store has recorded of runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from cascade.model.errors import StateError
from cascade.model.shown.urls import shown_url
from cascade.runtime.durability.history import RunRecord
from cascade.runtime.engine.urls import history_reader
from cascade.runtime.foundation.threads import counted

T = TypeVar("T")


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
    read = history_reader(state, "read_runs")
    found: list[RunRecord] = await reading(lambda: read(state))
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
    return await run_to_show(state, run_id, None)


async def run_to_show(state: str, run_id: str, most_written: int | None) -> RunRecord:
    """As :func:`recorded_run`, but what nodes that succeeded wrote is read of the newest *most_written* only.

    Of a run that captures what its nodes print, all of it may be too much for the memory.

    Args:
        state: URL of the store.
        run_id: The run.
        most_written: So many; ``None``: of all.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is malformed, or names a store that keeps nothing.
        StateError: If the store cannot be read, or has no such run.
        TypeError: If *state* is no URL.
    """
    read = history_reader(state, "read_run")
    found: RunRecord | None = None
    if run_id.isprintable():  # as all ids are; stores can encode no others
        found = await reading(lambda: read(state, run_id, most_written))
    if found is None:
        place = shown_url(state)
        raise StateError(f"there is no run {run_id!r} in {place!r}; `cascade runs --state {place}` lists what is")
    return found


async def reading(read: Callable[[], T], *, is_abandoned: bool = True) -> T:
    """What *read* returns, called in a worker thread.

    Args:
        read: The function.
        is_abandoned: Whether a cancellation need not wait for it, as it changes nothing.
    """
    with counted():
        return await run_sync(read, abandon_on_cancel=is_abandoned, limiter=CapacityLimiter(1))
