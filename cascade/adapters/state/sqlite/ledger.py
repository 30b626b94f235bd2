"""Reads the history of an SQLite state file, without changing it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cascade.adapters.state.detail_text import UNREAD
from cascade.adapters.state.lenient import Fields, read_node_record, read_run_record, read_signal_records
from cascade.adapters.state.ownership import Owner, seconds_left
from cascade.adapters.state.sqlite.details import HANDLED, has_table
from cascade.adapters.state.sqlite.lease import later_columns
from cascade.adapters.state.sqlite.opening import opened
from cascade.adapters.state.sqlite.outlines import read as read_outline
from cascade.model.shown.raised import describe
from cascade.runtime.durability.details import SignalRecord
from cascade.runtime.durability.history import NodeRecord, RunRecord
from cascade.runtime.durability.records import UNDO_MARK
from cascade.runtime.foundation.fairness import considerate

_COLUMNS: Final = (
    "run_id", "status", "flow", "params", "origin", "created", "updated", "finished", "error", "epoch", "owner",
    "until", "turn",
)  # fmt: skip
_RUNS: Final = f"SELECT id, {', '.join(_COLUMNS)} FROM runs".replace(" until,", " lease_until,")
_OF_NODES: Final = ("task", "status", "reason", "attempts", "duration", "error", "recorded", "is_durable")
_NODES: Final = "SELECT node_id, {columns} FROM nodes WHERE run = ? ORDER BY recorded, node_id"
# When a node ended: what is written at once has one time. Files of before do not know when it began.
_ENDED: Final = "coalesce(started + duration, recorded)"
_COUNTS: Final = (
    f"SELECT status, count(*) FROM nodes WHERE run = ? AND node_id NOT GLOB '{UNDO_MARK}*' GROUP BY status"
)
# Of nodes that succeeded there are details only if they wrote something.
_OF_OTHERS: Final = """SELECT node_id, detail FROM details WHERE run = :run AND node_id IN (
    SELECT node_id FROM nodes WHERE run = :run AND status <> 'succeeded'
)"""
_NEWEST: Final = f"""SELECT node_id, detail FROM details WHERE run = :run AND node_id IN (
    SELECT node_id FROM nodes WHERE run = :run AND status = 'succeeded' AND node_id NOT GLOB '{UNDO_MARK}*'
    AND EXISTS (SELECT 1 FROM details WHERE details.run = nodes.run AND details.node_id = nodes.node_id)
    ORDER BY {{ended}} DESC, node_id DESC LIMIT :most
)"""


def _opened(url: str) -> AbstractContextManager[sqlite3.Connection]:
    return opened(url, _connect, lambda error: f"read: {describe(error)}")


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)


def _run(
    connection: sqlite3.Connection,
    row: tuple[Any, ...],
    nodes: Sequence[NodeRecord] = (),
    signals: Sequence[SignalRecord] = (),
    outline: str | None = None,
) -> RunRecord:
    fields = {**dict(zip(_COLUMNS, row[1:], strict=True)), "outline": outline}
    return read_run_record(Fields(fields), _counts(connection, row[0]), nodes, _left, signals)


def _counts(connection: sqlite3.Connection, number: int) -> dict[str, int]:
    counts: dict[str, int] = dict(connection.execute(_COUNTS, (number,)))
    if "failed" in counts and has_table(connection, "details"):
        ((handled,),) = connection.execute(f"SELECT count(*) FROM ({HANDLED})", (number,))
        counts |= {"failed": counts["failed"] - handled, "handled": handled}
    return {status: count for status, count in counts.items() if count}


def _left(holder: Owner, until: float) -> float:
    return seconds_left(holder, until, time.time())


def read_runs(url: str) -> list[RunRecord]:
    """All runs in the file at *url*, without their nodes."""
    with _opened(url) as connection:
        return [_run(connection, row) for row in connection.execute(_RUNS).fetchall()]


def read_run(url: str, run_id: str, most_written: int | None = None) -> RunRecord | None:
    """The run *run_id* in the file at *url*, with its nodes; ``None`` if there is none.

    Args:
        url: The file.
        run_id: The run.
        most_written: Of how many nodes that succeeded what they wrote is read: of the newest ones. ``None``
            (default): of all.
    """
    with _opened(url) as connection:
        row = connection.execute(f"{_RUNS} WHERE run_id = ?", (run_id,)).fetchone()
        return (
            None
            if row is None
            else _run(
                connection,
                row,
                _nodes(connection, row[0], most_written),
                _signals(connection, row[0]),
                read_outline(connection, row[0]),
            )
        )


def _details(connection: sqlite3.Connection, number: int, most_written: int | None) -> dict[str, Any]:
    if not has_table(connection, "details"):
        return {}
    if most_written is None:
        return dict(connection.execute("SELECT node_id, detail FROM details WHERE run = ?", (number,)))
    known = connection.execute("SELECT node_id FROM details WHERE run = ?", (number,))
    details: dict[str, Any] = dict.fromkeys((node_id for (node_id,) in considerate(known)), UNREAD)
    details.update(connection.execute(_OF_OTHERS, {"run": number}))
    ended = _ENDED if "started" in later_columns(connection) else "recorded"
    details.update(connection.execute(_NEWEST.format(ended=ended), {"run": number, "most": most_written}))
    return details


def _nodes(connection: sqlite3.Connection, number: int, most_written: int | None) -> list[NodeRecord]:
    names = (*_OF_NODES, *later_columns(connection))
    details = _details(connection, number, most_written)
    return [
        read_node_record(
            str(columns[0]),
            Fields({**dict(zip(names, columns[1:], strict=True)), "detail": details.get(columns[0])}),
        )
        for columns in considerate(connection.execute(_NODES.format(columns=", ".join(names)), (number,)))
    ]


def _signals(connection: sqlite3.Connection, number: int) -> list[SignalRecord]:
    if not has_table(connection, "signals"):
        return []
    rows = connection.execute("SELECT key, value, recorded FROM signals WHERE run = ?", (number,)).fetchall()
    return read_signal_records((str(key), value, recorded) for key, value, recorded in rows)
