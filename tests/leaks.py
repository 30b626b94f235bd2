"""Everything that a run shows to people, as text, to look for what must not be in it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cascade
from cascade.model.events import as_record
from cascade.testing import Recorded


def texts_of_events(recorded: Recorded) -> str:
    """All events, as their ``repr`` and as JSON."""
    events = recorded.of(cascade.Event)
    return "\n".join([*map(repr, events), *(json.dumps(as_record(event), ensure_ascii=False) for event in events)])


def notes_of(error: BaseException | None) -> str:
    """The notes of an error, of what is in it if it is a group, and of its causes."""
    return "\n".join(_notes(error))


def _notes(error: BaseException | None) -> Iterator[str]:
    if error is None:
        return
    yield from getattr(error, "__notes__", ())
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _notes(part)
    yield from _notes(error.__cause__)


def texts_in_sqlite(path: Path) -> str:
    """All that stands as text in an SQLite file; values that tasks gave are pickled, and no text."""
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows: list[Any] = [row for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return "\n".join(cell for row in rows for cell in row if isinstance(cell, str))
