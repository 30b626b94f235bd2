"""Observers that write a line per event: for people, and for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO

from cascade.adapters.trusted_paths import open_private
from cascade.model.events import (
    ConnectorDisconnected,
    ControlChanged,
    EngineWarning,
    Event,
    EventsDropped,
    LoopProgress,
    ResourceAcquired,
    ResourceReleased,
    RunFinished,
    RunStarted,
    StageStarted,
    StaticAnalysisWarning,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
    as_record,
)
from cascade.runtime.bus import EventStream
from cascade.runtime.settings import Observer


def json_lines(target: str | os.PathLike[str] | TextIO) -> Observer:
    """An observer that writes each event as a line of JSON.

    Args:
        target: A file to append to, or a text stream, which is left open. A file that is not there is made, for
            this user only (mode 0600); one that is there keeps its mode.
    """

    async def write_json_lines(events: EventStream) -> None:
        with _opened(target) as file:
            async for event in events:
                file.write(json.dumps(as_record(event), separators=(",", ":")) + "\n")
                if not events.statistics().unread:
                    file.flush()

    return write_json_lines


def human_log(stream: TextIO | None = None) -> Observer:
    """An observer that writes what happens as lines for people.

    Args:
        stream: Where to; standard error by default.
    """

    async def write_human_log(events: EventStream) -> None:
        file = stream or sys.stderr
        async for event in events:
            text = " ".join(sentence(event).splitlines())
            if text:
                clock = time.strftime("%H:%M:%S", time.localtime(event.timestamp))
                file.write(f"{clock} {text}\n")
                if not events.statistics().unread:
                    file.flush()

    return write_human_log


def _opened(target: str | os.PathLike[str] | Any) -> AbstractContextManager[TextIO]:
    if isinstance(target, (str, os.PathLike)):
        return open(target, "a", encoding="utf-8", opener=open_private)
    return nullcontext(target)


def sentence(event: Event) -> str:
    """What a person would say of *event*; nothing of the less interesting ones."""
    match event:
        case RunStarted(run_id=run_id, target_tasks=targets):
            return f"run {run_id} started: {', '.join(targets[:5]) or 'nothing to do'}"
        case RunFinished(run_id=run_id, status=status, duration=duration, counts=counts, error=error):
            shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
            reason = f": {error}" if error else ""
            return f"run {run_id} {status.lower()} after {duration:.2f} s ({shown or 'no tasks'}){reason}"
        case StageStarted(index=index, size=size):
            return f"stage {index}: {size} task{'s' if size != 1 else ''}"
        case TaskExecutionStarted(task_id=task_id):
            return f"  {task_id} started"
        case TaskExecutionFinished(task_id=task_id, status="Succeeded", duration=duration, result_preview=shown):
            return f"  {task_id} succeeded in {duration:.3f} s: {shown}"
        case TaskExecutionFinished(task_id=task_id, status=status, duration=duration, error=error):
            reason = f": {error}" if error else ""
            return f"  {task_id} {status.lower()} after {duration:.3f} s{reason}"
        case TaskSkipped(task_id=task_id, reason=reason):
            return f"  {task_id} skipped: {reason}"
        case TaskRetrying(task_id=task_id, attempt=attempt, max_attempts=most, delay=delay, error=error):
            return f"  {task_id} failed in attempt {attempt} of {most}, next in {delay:.2f} s: {error}"
        case TaskBlocked(task_id=task_id, reason=reason):
            return f"  {task_id} waits: {reason}"
        case _:
            return _aside(event)


def _aside(event: Event) -> str:
    match event:
        case ControlChanged(kind=kind, scope=scope, action=action, author=author):
            return f"{kind} {scope} {action} by {author}"
        case ConnectorDisconnected(connector=name, reason=reason):
            return f"warning: {name} has lost its connection: {reason}"
        case ResourceAcquired(resource_name=name, scope=scope):
            return f"  resource {name} opened ({scope})"
        case ResourceReleased(resource_name=name, scope=scope):
            return f"  resource {name} closed ({scope})"
        case LoopProgress(task_name=name, turns=turns):
            return f"  {name}: {turns} turns"
        case StaticAnalysisWarning(warning_code=code, message=message):
            return f"warning {code}: {message}"
        case EngineWarning(code=code, message=message):
            return f"warning {code}: {message}"
        case EventsDropped(count=count):
            return f"warning: {count} events were dropped"
        case _:
            return ""
