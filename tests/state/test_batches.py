"""Batches of any size and mixture: all of it is in the file, later entries in place of earlier ones."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cascade.runtime.durability.records import Batch, Entry, Opening, Record
from cascade.state import SQLiteStateBackend

OPENING = Opening(False, ("target",), b"flow", {})


def entries(count: int) -> list[Entry]:
    """Nodes that succeeded, with values of all sizes, and a skipped one after every seven."""
    found = []
    for number in range(count):
        if number % 8 == 7:
            found.append(Entry(f"node#{number}", None, "upstream_failed", "skipped", b"%d" % number))
        else:
            found.append(Entry(f"node#{number}", "x" * number, digest=b"%d" % number, task_name="node"))
    return found


async def written(path: Path, batch: Batch) -> tuple[dict[str, Any], dict[str, Record]]:
    """The values and the records in the file after *batch*."""
    backend = SQLiteStateBackend("run", str(path))
    await backend.begin(OPENING)
    assert not await backend.write(batch)
    names = [entry.node_id for entry in (*batch.entries, *batch.notes)]
    found = await backend.get_results(names), await backend.recall(names)
    await backend.aclose()
    return found


def expected(some: Sequence[Entry]) -> tuple[dict[str, Any], dict[str, Record]]:
    last = {entry.node_id: entry for entry in some}
    values = {name: entry.value for name, entry in last.items() if entry.reason is None}
    return values, {name: Record(entry.digest, entry.reason) for name, entry in last.items()}


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 200])
async def test_all_of_a_batch_is_written(tmp_path: Path, count: int) -> None:
    some = entries(count)
    assert await written(tmp_path / "runs.db", Batch(some)) == expected(some)


@pytest.mark.parametrize("large", [0, 40, 99])
async def test_large_values_stand_among_small_ones(tmp_path: Path, large: int) -> None:
    some = entries(100)
    some[large] = Entry(f"node#{large}", "x" * 1_500_000)
    assert await written(tmp_path / "runs.db", Batch(some)) == expected(some)


async def test_the_last_of_several_entries_of_a_node_counts(tmp_path: Path) -> None:
    some = [Entry(f"node#{number % 5}", number, digest=b"%d" % number) for number in range(130)]
    assert await written(tmp_path / "runs.db", Batch(some)) == expected(some)


async def test_notes_are_written_after_the_entries(tmp_path: Path) -> None:
    notes = [Entry(f"note#{number}", status="failed", error="ValueError: no") for number in range(70)]
    assert await written(tmp_path / "runs.db", Batch(entries(70), notes)) == expected(entries(70))
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        failed = connection.execute("SELECT count(*), min(error) FROM nodes WHERE status = 'failed'").fetchone()
    assert failed == (70, "ValueError: no")


async def test_rows_are_written_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # After each statement the thread waits for the GIL, which a loop that computes does not give it at once.
    statements: list[str] = []

    class Traced(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.set_trace_callback(statements.append)

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Traced))
    await written(tmp_path / "runs.db", Batch(entries(1000)))
    assert sum("INTO nodes" in statement for statement in statements) <= 16
