"""Observers that write one line for each event: for people, and for programs."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TextIO

from cascade.adapters.observers.story import Story
from cascade.adapters.observers.terminal import Span, Style, write_line
from cascade.adapters.trusted_paths import open_private
from cascade.model.events import (
    ConnectorDisconnected,
    EngineWarning,
    Event,
    EventsDropped,
    RunFinished,
    StageStarted,
    StaticAnalysisWarning,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    UndoFinished,
    UndoStarted,
    as_record,
)
from cascade.model.shown.text import clock
from cascade.runtime.context.settings import Observer
from cascade.runtime.observation.bus import EventStream


def json_lines(target: str | os.PathLike[str] | TextIO) -> Observer:
    """An observer that writes each event as one line of JSON, in ASCII.

    If the observer is cancelled (it has not ended within ``cleanup_timeout``), a file that it opened is closed,
    and the events that are left are not written. An error of writing detaches the observer and does not fail the
    run.

    Args:
        target: A file to append to, or a text stream, which stays open. A new file is made for this user only
            (mode 0600); an existing one keeps its mode.
    """

    async def write_json_lines(events: EventStream) -> None:
        with _opened(target) as file:
            async for event in events:
                file.write(json.dumps(as_record(event), separators=(",", ":")) + "\n")
                if not events.statistics().unread:
                    file.flush()

    return write_json_lines


def human_log(stream: TextIO | None = None) -> Observer:
    """An observer that writes what happens as lines for people, in colour on terminals.

    Text in a line, such as the message of an error, stays on that line and cannot control the terminal. If the
    observer is cancelled (it has not ended within ``cleanup_timeout``), the events that are left are not shown.

    Args:
        stream: Where to write. ``None`` (default): standard error, as it is when a line is written.
    """

    async def write_human_log(events: EventStream) -> None:
        stories: dict[str, Story] = {}
        async for event in events:
            file: TextIO | None = sys.stderr if stream is None else stream
            text = stories.setdefault(event.run_id, Story()).sentence(event)
            if isinstance(event, RunFinished):
                del stories[event.run_id]
            if text and file is not None:  # standard error may be closed
                write_line(file, Span(clock(event.timestamp), "dim"), " ", Span(text, _style(event)))
                if not events.statistics().unread:
                    file.flush()

    return write_human_log


def _opened(target: str | os.PathLike[str] | Any) -> AbstractContextManager[TextIO]:
    if isinstance(target, (str, os.PathLike)):
        return open(target, "a", encoding="utf-8", opener=open_private)
    return nullcontext(target)


_WARNINGS: Final = (
    ConnectorDisconnected,
    EngineWarning,
    EventsDropped,
    StaticAnalysisWarning,
    TaskBlocked,
    TaskRetrying,
)
_STATUSES: Final[dict[str, Style]] = {
    "Succeeded": "plain",
    "Failed": "red",
    "Cancelled": "yellow",
    "Drained": "yellow",
    "Suspended": "yellow",
}


def _style(event: Event) -> Style:
    match event:
        case RunFinished(status="Succeeded"):
            return "green"
        case RunFinished(status=status) | TaskExecutionFinished(status=status) | UndoFinished(status=status):
            return _STATUSES[status]
        case TaskExecutionStarted() | UndoStarted() | StageStarted():
            return "dim"
        case _:
            return "yellow" if isinstance(event, _WARNINGS) else "plain"
