"""The one place where an outcome is recorded: counts, events, journal, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import attrs

from cascade.graph.nodes import Graph
from cascade.model.calls.callee import Callee
from cascade.model.events import TaskExecutionFinished, TaskSkipped
from cascade.model.outcomes import Cancelled, Done, Failed, NodeOutcome, Outcome, Skipped, Status
from cascade.model.shown.raised import describe
from cascade.model.shown.text import preview
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.details import NodeDetail
from cascade.runtime.durability.records import Entry, NodeStatus
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.execution.telling import ON_LOOP, Account, detail_of, wall_clock_lead
from cascade.runtime.frame.frame import Ended, Frame
from cascade.runtime.observation.details import NodeFailed
from cascade.runtime.observation.outcome_stream import NodeSettled

_STATUS = {
    Done: Status.SUCCEEDED,
    Skipped: Status.SKIPPED,
    Failed: Status.FAILED,
    Cancelled: Status.CANCELLED,
}

_RECORDED: Final[dict[type, NodeStatus]] = {
    Done: "succeeded",
    Skipped: "skipped",
    Failed: "failed",
    Cancelled: "cancelled",
}


@attrs.frozen
class Ending:
    """How a node ended.

    Attributes:
        outcome: The outcome.
        attempts: Number of the last attempt; 0 if none began.
        started: Start mark of the first attempt, on the loop's clock; ``None`` if none began.
        troubles: What went wrong after it had ended, and with what.
        failed: Number of the last attempt that failed and was to be followed by another.
        bound: What the last attempt was called with, if it failed.
        called_with: The same in words.
        arguments: The same one by one, for its record.
        worker: Where the last attempt ran, if not in this process.
        account: What happened on the way, if it failed.
        place: Where it ran in this process, as far as that is known.
    """

    outcome: NodeOutcome
    attempts: int = 0
    started: float | None = None
    troubles: Sequence[tuple[BaseException, str]] = ()
    failed: int = 0
    bound: Arguments | None = None
    called_with: str = ""
    arguments: Sequence[tuple[str, str]] = ()
    worker: str | None = None
    account: Account | None = None
    place: str | None = None


@attrs.frozen(eq=False)
class Settled:
    """A node as events, notes and records speak of it.

    Attributes:
        digest: Its content, for the store.
        is_recorded: Whether it goes to the store.
        goes_on: Whether what it gives is no result, but a flow that goes on in its place.
        label: What people call it.
    """

    node_id: str
    task: Callee
    most_attempts: int = 1
    digest: bytes | None = None
    is_recorded: bool = True
    goes_on: bool = False
    label: str | None = None


def record(run_context: RunContext, subject: Settled, ending: Ending, *, is_handled: bool = False) -> Ending:
    """Record how a node ended, everywhere but in its frame.

    Args:
        run_context: The run.
        subject: The node.
        ending: How it ended.
        is_handled: Whether whoever wants the node can do with its failure.

    Returns:
        The same; of a failure it is known which node has raised the error.
    """
    outcome = ending.outcome
    run_context.progress.counts[_STATUS[type(outcome)]] += 1
    match outcome:
        case Done(value=value, from_cache=True):
            run_context.events.emit_node(TaskSkipped, subject, reason=SkipReason.CACHE_HIT.value)
            _journal(run_context, subject, ending)
        case Done(value=value):
            if ending.started is not None and run_context.settings.schedule == "eager":
                run_context.shared.durations.learn(
                    subject.task.name, run_context.beginning.clock() - ending.started
                )
            _finished(run_context, subject, ending, "Succeeded", value=value)
            _journal(run_context, subject, ending)
        case Skipped(reason=reason):
            run_context.events.emit_node(TaskSkipped, subject, reason=reason.value)
            _journal(run_context, subject, ending)
        case Failed(error=error):
            _finished(run_context, subject, ending, "Failed", error=error, is_handled=is_handled)
            _journal(run_context, subject, ending, is_handled=is_handled)
            failed = Failed(error, subject.node_id, ending.attempts)
            note = _note(run_context, subject, ending, is_handled=is_handled)
            failed = run_context.failures.fail_node(failed, note, is_handled=is_handled)
            if run_context.events.wants(NodeFailed):
                _explain(run_context, subject, ending, failed)
            ending = attrs.evolve(ending, outcome=failed)
        case Cancelled():
            if ending.started is not None:
                _finished(run_context, subject, ending, "Cancelled")
                _journal(run_context, subject, ending)
    for trouble, origin in ending.troubles:
        run_context.failures.fail_beside(trouble, origin)
    if run_context.events.wants(NodeSettled):
        tell_outcome(run_context, subject, ending.outcome, ending.attempts)
    return ending


def tell_outcome(
    run_context: RunContext,
    subject: Settled,
    outcome: NodeOutcome,
    attempts: int = 0,
    *,
    is_recalled: bool = False,
) -> None:
    """Tell the streams of outcomes how a node has ended, if it is one of the flow that the run has begun with.

    A value that is a flow is none: what later turns come to is told when they have ended.
    """
    is_over = not (subject.goes_on and isinstance(outcome, Done))
    if is_over and not run_context.progress.is_past_first_turn():
        told = _told(subject, outcome, attempts)
        run_context.events.emit_node(NodeSettled, subject, outcome=told, is_recalled=is_recalled)


def tell_of_later_turns(run_context: RunContext, graph: Graph, outcome: NodeOutcome) -> None:
    """Tell the streams of outcomes what the loop came to that a node of *graph* has gone on in, if one has.

    Args:
        run_context: The run.
        graph: The flow that it has begun with.
        outcome: What it came to.
    """
    index = run_context.progress.went_on
    if index is not None and run_context.events.wants(NodeSettled):
        subject = Settled(graph.name(index), graph.task(index))
        run_context.events.emit_node(NodeSettled, subject, outcome=_told(subject, outcome))


def _told(subject: Settled, outcome: NodeOutcome, attempts: int = 0) -> Outcome[Any] | None:
    """What users are told of an outcome; ``None`` of a node that was cancelled."""
    match outcome:
        case Done(value=value):
            return Done(value)
        case Failed(error=error):
            return Failed(error, subject.node_id, attempts)
        case Skipped(reason=reason):
            return Skipped(reason, subject.node_id)
        case Cancelled():
            return None


def _journal(run_context: RunContext, subject: Settled, ending: Ending, *, is_handled: bool = False) -> None:
    if run_context.store.journal is None or not subject.is_recorded:
        return
    value: Any = None
    reason: str | None = None
    error: str | None = None
    detail: NodeDetail | None = None
    status, attempts = _RECORDED[type(ending.outcome)], ending.attempts
    match ending.outcome:
        case Done(value=given):
            if subject.goes_on:  # which is recorded as such
                return
            value = given
        case Skipped(reason=skip):
            reason = skip.value
        case Failed(error=raised):
            error = describe(raised)
            detail = attrs.evolve(_detail(run_context, subject, ending, raised), handled=is_handled)
        case Cancelled() if ending.failed:
            status, attempts = "retrying", ending.failed  # which counts when the run goes on
            detail = _detail(run_context, subject, ending)
    started = None if ending.started is None else ending.started + wall_clock_lead(run_context)
    run_context.store.journal.add(
        Entry(
            subject.node_id, value, reason, status, subject.digest, subject.task.name, attempts,
            _duration(run_context, ending), error, subject.label, detail, started,
            ending.worker or _place(subject, ending),
        )
    )  # fmt: skip


def _detail(
    run_context: RunContext, subject: Settled, ending: Ending, error: BaseException | None = None
) -> NodeDetail:
    return detail_of(
        run_context, ending.account, ending.started, error=error, node_id=subject.node_id,
        arguments=ending.arguments, worker=ending.worker or ending.place,
    )  # fmt: skip


def record_silently(run_context: RunContext, frame: Frame, ended: Ended, ahead: float) -> None:
    """What :func:`record` does for a plain node that has succeeded, if nobody is told of nodes but the store.

    Args:
        run_context: The run.
        frame: Whose node it is.
        ended: The node.
        ahead: What makes seconds since the epoch of its times.
    """
    index, value, started, now, place = ended
    duration = now - started
    run_context.progress.counts[Status.SUCCEEDED] += 1
    journal = run_context.store.journal
    name = frame.graph.task(index).name
    if run_context.settings.schedule == "eager":
        learn(run_context, frame, index, duration)
    if journal is not None and frame.turn.is_recorded and index != frame.turn.flow:
        digest, duration, label = frame.digest(index), max(duration, 0.0), frame.label(index)
        journal.add(
            Entry(
                frame.name(index), value, None, "succeeded", digest, name, 1, duration, None, label, None,
                started + ahead, place,
            )
        )  # fmt: skip


def learn_node(run_context: RunContext, frame: Frame, index: int, ending: Ending) -> None:
    """Note how long the node has taken, if it has run and that matters; what its task takes is noted already."""
    durations, outcome = frame.turn.durations, ending.outcome
    if durations is None or ending.started is None:
        return
    if isinstance(outcome, Done) and not outcome.from_cache:
        durations.learn(index, _duration(run_context, ending))


def learn(run_context: RunContext, frame: Frame, index: int, seconds: float) -> None:
    """Note that the node has succeeded in so many seconds, for the ranks of later nodes and runs."""
    run_context.shared.durations.learn(frame.graph.task(index).name, seconds)
    if frame.turn.durations is not None:
        frame.turn.durations.learn(index, max(seconds, 0.0))


def _duration(run_context: RunContext, ending: Ending) -> float:
    return 0.0 if ending.started is None else max(run_context.beginning.clock() - ending.started, 0.0)


def leave(run_context: RunContext, subject: Settled, ending: Ending) -> None:
    """Report a node that a draining run leaves: it is not settled, and begins anew when the run is resumed."""
    if ending.started is not None:
        _finished(run_context, subject, ending, "Cancelled")
    for trouble, origin in ending.troubles:
        run_context.failures.fail_beside(trouble, origin)


def _finished(
    run_context: RunContext,
    subject: Settled,
    ending: Ending,
    status: Literal["Succeeded", "Failed", "Cancelled"],
    *,
    value: Any = None,
    error: BaseException | None = None,
    is_handled: bool = False,
) -> None:
    if not run_context.events.wants(TaskExecutionFinished):
        return
    run_context.events.emit_node(
        TaskExecutionFinished,
        subject,
        status=status,
        duration=_duration(run_context, ending),
        attempt=ending.attempts,
        result_preview=preview(value) if status == "Succeeded" else None,
        error=None if error is None else describe(error),
        handled=is_handled,
        reason=ending.outcome.reason if isinstance(ending.outcome, Cancelled) else None,
        worker=ending.worker,
        place=_place(subject, ending),
    )


def _place(subject: Settled, ending: Ending) -> str | None:
    """Where the node ran in this process or for it, in words; ``None`` if it did not, or that is not known."""
    if not ending.attempts or ending.worker is not None:
        return None
    task = subject.task
    return ending.place or (ON_LOOP if task.is_async or task.mode == "inline" else None)


def _explain(run_context: RunContext, subject: Settled, ending: Ending, failed: Failed) -> None:
    """Tell why a node has failed, to whoever shows that to people."""
    cause = None if failed.task_id == subject.node_id else failed.task_id
    run_context.events.emit_node(
        NodeFailed, subject, error=failed.error, arguments=ending.arguments, caused_by=cause
    )


def _note(run_context: RunContext, subject: Settled, ending: Ending, *, is_handled: bool) -> str:
    hint = ""
    where = f"task {subject.task.name!r} (node {subject.node_id!r}"
    if subject.label is not None:
        where += f" named {subject.label!r}"
    if subject.node_id.endswith("]"):
        map_id, _, item = subject.node_id[:-1].rpartition("[")
        where += f", item {item} of the map {map_id!r}"
        hint = "" if is_handled else '; .with_errors("collect") on the map makes failed items values of its list'
    attempt = f", attempt {ending.attempts} of {subject.most_attempts}" if ending.attempts else ", before it began"
    if ending.worker is not None:
        attempt += f", on worker {ending.worker!r}"
    called = f", called with {ending.called_with}" if ending.called_with else ""
    return f"raised by {where}{attempt}) in run {run_context.run_id!r}{called}{hint}"
