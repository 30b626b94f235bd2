"""Keeps what a store has recorded of runs in order."""

from __future__ import annotations

from collections.abc import Sequence

from cascade.runtime.durability.history import Damage, RunRecord
from cascade.runtime.engine.history import reading
from cascade.runtime.engine.urls import history_reader


async def delete_runs(state: str, runs: Sequence[RunRecord]) -> list[str]:
    """Delete *runs*, as they were read from the store at the URL *state*; returns the ids of those that are gone.

    A run that was written since, or that a process executes, is left out. Each is deleted whole. A deletion that
    has begun is not cancelled.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is malformed, or names a store that keeps nothing.
        StateError: If the store does not exist, cannot be written, or is in use for longer than 20 s.
    """
    delete = history_reader(state, "delete_runs", "upkeep")
    deleted: list[str] = await reading(lambda: delete(state, runs), is_abandoned=False)
    return deleted


async def find_damage(state: str) -> list[Damage]:
    """What cannot be read of all that is recorded in the store at the URL *state*. Changes nothing.

    Values are looked at without unpickling them, so whether the flow's own classes are still there is not known.
    Reads in a worker thread. If cancelled, it returns at once and leaves the thread behind.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is malformed, or names a store that keeps nothing.
        StateError: If the store does not exist or cannot be read.
    """
    find = history_reader(state, "find_damage", "upkeep")
    found: list[Damage] = await reading(lambda: find(state))
    return found


async def size_of(state: str) -> int | None:
    """Bytes that the store at the URL *state* takes; ``None`` if that is not known."""
    measure = history_reader(state, "size", "upkeep")
    size: int | None = await reading(lambda: measure(state))
    return size
