"""The one place where an outcome is recorded: counts, events, journal, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs
from anyio import current_time

from cascade.model.errors import describe
from cascade.model.events import TaskExecutionFinished, TaskSkipped, preview
from cascade.model.outcomes import Cancelled, Done, Failed, Outcome, Skipped, SkipReason, Status
from cascade.model.tasks import Task
from cascade.runtime.execution import Execution
from cascade.runtime.journal import Entry

_STATUS = {
    Done: Status.SUCCEEDED,
    Skipped: Status.SKIPPED,
    Failed: Status.FAILED,
    Cancelled: Status.CANCELLED,
}


@attrs.frozen
class Ending:
    """How a node ended.

    Attributes:
        outcome: The outcome.
        attempts: Number of the last attempt; 0 if none began.
        started: Start mark of the first attempt, on the loop's clock; ``None`` if none began.
        troubles: What went wrong after it had ended, and with what.
    """

    outcome: Outcome
    attempts: int = 0
    started: float | None = None
    troubles: Sequence[tuple[BaseException, str]] = ()


@attrs.frozen(eq=False)
class Settled:
    """A node as events and notes speak of it."""

    node_id: str
    task: Task[..., Any]
    most_attempts: int = 1


def record(execution: Execution, subject: Settled, ending: Ending) -> Status:
    """Record how a node ended, everywhere but in its frame; returns the status that it ended with."""
    outcome = ending.outcome
    status = _STATUS[type(outcome)]
    execution.counts[status] += 1
    match outcome:
        case Done(value=value, from_cache=True):
            execution.emit_node(TaskSkipped, subject, reason=SkipReason.CACHE_HIT.value)
            _journal(execution, Entry(subject.node_id, value))
        case Done(value=value):
            if ending.started is not None and execution.settings.schedule == "eager":
                execution.shared.durations.learn(subject.task.name, current_time() - ending.started)
            _finished(execution, subject, ending, "Succeeded", value=value)
            _journal(execution, Entry(subject.node_id, value))
        case Skipped(reason=reason):
            execution.emit_node(TaskSkipped, subject, reason=reason.value)
            _journal(execution, Entry(subject.node_id, None, reason))
        case Failed(error=error):
            _finished(execution, subject, ending, "Failed", error=error)
            execution.fail_node(error, subject.node_id, _note(execution, subject, ending))
        case Cancelled():
            if ending.started is not None:
                _finished(execution, subject, ending, "Cancelled")
    for trouble, origin in ending.troubles:
        execution.fail(trouble, origin)
    return status


def leave(execution: Execution, subject: Settled, ending: Ending) -> None:
    """Report a node that a draining run leaves: it is not settled, and begins anew when the run is resumed."""
    if ending.started is not None:
        _finished(execution, subject, ending, "Cancelled")
    for trouble, origin in ending.troubles:
        execution.fail(trouble, origin)


def _journal(execution: Execution, entry: Entry) -> None:
    if execution.journal is not None:
        execution.journal.add(entry)


def _finished(
    execution: Execution,
    subject: Settled,
    ending: Ending,
    status: Literal["Succeeded", "Failed", "Cancelled"],
    *,
    value: Any = None,
    error: BaseException | None = None,
) -> None:
    if not execution.wants(TaskExecutionFinished):
        return
    execution.emit_node(
        TaskExecutionFinished,
        subject,
        status=status,
        duration=0.0 if ending.started is None else max(current_time() - ending.started, 0.0),
        attempt=ending.attempts,
        result_preview=preview(value) if status == "Succeeded" else None,
        error=None if error is None else describe(error),
    )


def _note(execution: Execution, subject: Settled, ending: Ending) -> str:
    where = f"task {subject.task.name!r} (node {subject.node_id!r}"
    if subject.node_id.endswith("]"):
        map_id, _, item = subject.node_id[:-1].rpartition("[")
        where += f", item {item} of the map {map_id!r}"
    attempt = f", attempt {ending.attempts} of {subject.most_attempts}" if ending.attempts else ", before it began"
    return f"raised by {where}{attempt}) in run {execution.run_id!r}"
