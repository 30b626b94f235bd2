"""An observer that shows a run's progress in the terminal, with rich."""

from __future__ import annotations

from typing import Any

import anyio
from anyio import current_time

from cascade.model.events import (
    LoopProgress,
    RunFinished,
    StageStarted,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from cascade.runtime.bus import EventStream
from cascade.runtime.settings import Observer

try:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
except ImportError:  # the extra is not installed
    _IS_INSTALLED = False
else:
    _IS_INSTALLED = True

# Redrawn at most this often, in seconds; rich's own refreshing would need a thread.
PERIOD = 0.1


def progress(console: Console | None = None) -> Observer:
    """An observer that draws a bar: tasks done, running, skipped and failed, and the time.

    Args:
        console: Where to draw; standard error by default.

    Raises:
        ImportError: If rich is not installed.
    """
    if not _IS_INSTALLED:
        raise ImportError("progress() needs rich; install the extra: pip install 'cascade[cli]'")

    async def draw_progress(events: EventStream) -> None:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} done, {task.fields[running]} running"),
            TextColumn("{task.fields[remarks]}"),
            TimeElapsedColumn(),
            console=console or Console(stderr=True),
            auto_refresh=False,
        )
        with bar:
            await _follow(events, bar)

    return draw_progress


async def _follow(events: EventStream, bar: Progress) -> None:
    line = bar.add_task("run", total=None, running=0, remarks="")
    known: dict[str, Any] = {"total": 0, "completed": 0, "running": 0, "remarks": ""}
    running: set[str] = set()  # a task may finish without having started: its claim was refused
    remarks = {"skipped": 0, "failed": 0}
    drawn = current_time()
    async for event in events:
        match event:
            case StageStarted(size=size):
                known["total"] += size
            case TaskExecutionStarted(task_id=name):
                running.add(name)
            case TaskExecutionFinished(task_id=name, status=status):
                running.discard(name)
                known["completed"] += 1
                remarks["failed"] += status == "Failed"
            case TaskSkipped():
                known["completed"] += 1
                remarks["skipped"] += 1
            case LoopProgress(task_name=name, turns=turns):
                known["remarks"] = f"{name}: {turns} turns"
            case RunFinished(status=status):
                known["remarks"] = status.lower()
        if any(remarks.values()) and not isinstance(event, RunFinished):
            known["remarks"] = ", ".join(f"{count} {what}" for what, count in remarks.items() if count)
        is_last = isinstance(event, RunFinished)
        if is_last or current_time() - drawn >= PERIOD:
            # More items than a stage announced come from maps and sub-flows, so the end is not known before.
            known["running"] = len(running)
            total = max(known["total"], known["completed"] + len(running))
            bar.update(line, **{**known, "total": known["completed"] if is_last else total})
            bar.refresh()
            drawn = current_time()
            await anyio.lowlevel.checkpoint()
