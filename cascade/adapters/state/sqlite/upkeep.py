"""Keeps an SQLite state file in order: deletes runs, gives room back, and finds what cannot be read."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cascade.adapters.sqlite_file import PATIENCE, is_busy, transaction, trusted
from cascade.adapters.state.damage import damage_of_digest, damage_of_pickle, damaged_fields
from cascade.adapters.state.ownership import Owner, seconds_left
from cascade.adapters.state.sqlite.backend import is_shared, path_of
from cascade.adapters.state.sqlite.details import has_table
from cascade.adapters.state.sqlite.lease import VERSION, of_another_version
from cascade.adapters.state.sqlite.ledger import read_run, read_runs
from cascade.model.errors import StateError, describe
from cascade.runtime.durability.history import Damage, RunRecord
from cascade.runtime.foundation.fairness import considerate

# Seconds by which the clock of another machine may differ from ours.
_APART: Final = 3600.0
_PARTS: Final = ("nodes", "events", "signals", "details", "outlines")


@contextmanager
def _opened(url: str) -> Iterator[sqlite3.Connection]:
    path = path_of(url)
    if not Path(path).is_file():
        raise StateError(f"there is no state file {path!r}")
    try:
        connection = sqlite3.connect(
            trusted(path, makes=False, shared=is_shared(url)), timeout=PATIENCE, isolation_level=None
        )
        connection.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                raise StateError(of_another_version(path, version))
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        why = "another program uses it" if is_busy(error) else describe(error)
        raise StateError(f"the SQLite file {path!r} cannot be used: {why}") from error


def delete_runs(url: str, runs: Sequence[RunRecord]) -> list[str]:
    """Delete *runs*, as they were read, with all that is recorded of them, each at once or not at all.

    Leaves out a run that was written since, or that a process executes. Gives the room back to the system, if the
    file is not in use meanwhile.

    Returns:
        The ids of those that were deleted.
    """
    deleted = []
    with _opened(url) as connection:
        parts = [part for part in _PARTS if has_table(connection, part)]
        for run in runs:
            with transaction(connection):
                row = connection.execute(
                    "SELECT id, updated, owner, lease_until FROM runs WHERE run_id = ?", (run.run_id,)
                ).fetchone()
                if row is None or row[1] > run.updated or _is_held(row[2], row[3]):
                    continue
                for part in parts:
                    connection.execute(f"DELETE FROM {part} WHERE run = ?", (row[0],))
                connection.execute("DELETE FROM runs WHERE id = ?", (row[0],))
                deleted.append(run.run_id)
        if deleted:
            with suppress(sqlite3.OperationalError):  # the room is used again, though the file stays as large
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return deleted


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
