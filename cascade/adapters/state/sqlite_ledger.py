"""Reading what an SQLite state file says about runs; changes nothing in it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cascade.adapters.state.ownership import Owner, run_state
from cascade.adapters.state.sqlite import VERSION, path_of
from cascade.model.errors import StateError, describe
from cascade.runtime.ledger import NodeRecord, RunRecord

_RUNS: Final = (
    "SELECT id, run_id, status, flow, params, origin, created, updated, finished, error, epoch, owner, "
    "lease_until, turn FROM runs"
)
_NODES: Final = (
    "SELECT node_id, task, status, reason, attempts, duration, error, recorded, is_durable FROM nodes "
    "WHERE run = ? ORDER BY recorded, node_id"
)


@contextmanager
def _opened(url: str) -> Iterator[sqlite3.Connection]:
    path = path_of(url)
    if not Path(path).is_file():
        raise StateError(f"there is no state file {path!r}")
    try:
        connection = sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                raise StateError(f"{path!r} is no state file of this version of cascade")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StateError(f"the SQLite file {path!r} cannot be read: {describe(error)}") from error


def _run(connection: sqlite3.Connection, row: tuple[Any, ...], nodes: tuple[NodeRecord, ...] = ()) -> RunRecord:
    number, run_id, status, flow, params, origin, *times, error, epoch, owner, until, turn = row
    created, updated, finished = times
    holder = None if owner is None else Owner.read(owner)
    counts = connection.execute("SELECT status, count(*) FROM nodes WHERE run = ? GROUP BY status", (number,))
    owner = None if holder is None else str(holder)
    return RunRecord(
        run_id, run_state(status, holder, until), json.loads(flow or "[]"), json.loads(params or "{}"), created,
        updated, finished, error, epoch, turn, owner, origin, dict(counts), nodes,
    )  # fmt: skip


def read_runs(url: str) -> list[RunRecord]:
    """All runs in the file at *url*, without nodes."""
    with _opened(url) as connection:
        return [_run(connection, row) for row in connection.execute(_RUNS).fetchall()]


def read_run(url: str, run_id: str) -> RunRecord | None:
    """One run in the file at *url*."""
    with _opened(url) as connection:
        row = connection.execute(f"{_RUNS} WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            return None
        nodes = tuple(_node(columns) for columns in connection.execute(_NODES, (row[0],)))
        return _run(connection, row, nodes)


def _node(row: tuple[Any, ...]) -> NodeRecord:
    node_id, task, status, reason, attempts, duration, error, recorded, is_durable = row
    return NodeRecord(
        node_id, task or "", status, reason, attempts or 0, duration or 0.0, error, recorded, bool(is_durable)
    )
