"""Keeps an SQLite state file in order: deletes runs, gives room back, and finds what cannot be read."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Final

from cascade.adapters.sqlite_file import PATIENCE, is_busy, transaction
from cascade.adapters.state.damage import damage_of_digest, damage_of_pickle, damaged_fields
from cascade.adapters.state.ownership import Owner, seconds_left
from cascade.adapters.state.sqlite.backend import path_of
from cascade.adapters.state.sqlite.details import has_table
from cascade.adapters.state.sqlite.ledger import read_run, read_runs
from cascade.adapters.state.sqlite.opening import opened
from cascade.adapters.state.sqlite.outlines import forget_left
from cascade.model.shown.raised import describe
from cascade.runtime.durability.history import Damage, RunRecord
from cascade.runtime.foundation.fairness import considerate

# Seconds by which the clock of another machine may differ from ours.
_APART: Final = 3600.0
_PARTS: Final = ("nodes", "events", "signals", "details", "outlines")


def _opened(url: str) -> AbstractContextManager[sqlite3.Connection]:
    return opened(url, partial(sqlite3.connect, timeout=PATIENCE, isolation_level=None), _why_not)


def _why_not(error: sqlite3.Error) -> str:
    return f"used: {'another program uses it' if is_busy(error) else describe(error)}"


def delete_runs(url: str, runs: Sequence[RunRecord]) -> list[str]:
    """Delete *runs*, as they were read, with all that is recorded of them, each at once or not at all.

    Leaves out a run that was written since, or that a process executes. Gives the room back to the system, unless
    the file is in use.

    Returns:
        The ids of those that were deleted.
    """
    with _opened(url) as connection:
        forget_left(connection)
        parts = [part for part in _PARTS if has_table(connection, part)]
        # An id that is no UTF-8 is looked for as it is shown.
        numbers = dict(connection.execute("SELECT run_id, id FROM runs").fetchall())
        deleted = [run.run_id for run in runs if _delete(connection, numbers.get(run.run_id), run.updated, parts)]
        if deleted and not _is_in_use(connection):
            connection.execute("PRAGMA busy_timeout = 0")  # whoever prunes waits for nobody, as nothing is lost
            with suppress(sqlite3.OperationalError):  # the room is used again, though the file stays as large
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return deleted


def _delete(connection: sqlite3.Connection, number: int | None, updated: float, parts: Sequence[str]) -> bool:
    """Delete a run that was last written then, unless it must stay; whether it was deleted.

    Args:
        connection: The file.
        number: The run; ``None`` if it is not there.
        updated: When it had been written last.
        parts: The tables with what is recorded of runs.
    """
    with transaction(connection):
        row = connection.execute("SELECT updated, owner, lease_until FROM runs WHERE id = ?", (number,)).fetchone()
        if row is None or row[0] > updated or _is_held(row[1], row[2]):
            return False
        for part in parts:
            connection.execute(f"DELETE FROM {part} WHERE run = ?", (number,))
        connection.execute("DELETE FROM runs WHERE id = ?", (number,))
    return True


def _is_in_use(connection: sqlite3.Connection) -> bool:
    """Whether a run of the file is executed: it could not write while the file is copied, and might fail."""
    leases = connection.execute("SELECT owner, lease_until FROM runs WHERE owner IS NOT NULL")
    return any(_is_held(owner, until) for owner, until in leases.fetchall())


def _is_held(owner: Any, until: Any) -> bool:
    """Whether a process may execute the run: the holder of its lease is not known to be gone."""
    if owner is None:
        return False
    try:
        holder, end = Owner.read(owner), float(until)
    except (TypeError, ValueError):  # damaged: nobody can hold it
        return False
    if holder.is_dead():
        return False
    margin = 0.0 if holder.is_on_this_machine() else _APART
    return seconds_left(holder, end, time.time()) + margin > 0


def size(url: str) -> int | None:
    """Bytes that the store takes."""
    path = path_of(url)
    return sum(os.path.getsize(name) for name in (path, f"{path}-wal") if os.path.exists(name))


def find_damage(url: str) -> list[Damage]:
    """What cannot be read in the file at *url*. Reads all of it."""
    found: list[Damage] = []
    with _opened(url) as connection:
        for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall():
            if line != "ok":
                found.append(Damage(None, None, f"the file is damaged: {line}"))
        for table, *_ in connection.execute("PRAGMA foreign_key_check").fetchmany(20):
            found.append(Damage(None, None, f"table {table!r} has rows of a run that is not there"))
        for run_id, *values in connection.execute("SELECT run_id, flow_digest, result, continuation FROM runs"):
            for what, wrong in _wrong(("digest of the flow", "result", "loop"), values):
                found.append(Damage(str(run_id), None, f"its {what} cannot be read: {wrong}"))
        rows = connection.execute(
            "SELECT run_id, node_id, digest, value, NULL FROM nodes JOIN runs ON runs.id = nodes.run"
        )
        for run_id, node_id, *values in considerate(rows):
            for what, wrong in _wrong(("digest", "value", ""), values):
                found.append(Damage(str(run_id), str(node_id), f"its {what} cannot be read: {wrong}"))
    for run in read_runs(url):
        whole = read_run(url, run.run_id)
        found += damaged_fields(run if whole is None else whole)
    return found


def _wrong(names: tuple[str, str, str], values: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Names and damage of those of *values* that are damaged: a digest, then two pickles."""
    damage = (damage_of_digest(values[0]), *map(damage_of_pickle, values[1:]))
    return ((name, wrong) for name, wrong in zip(names, damage, strict=True) if wrong is not None)
