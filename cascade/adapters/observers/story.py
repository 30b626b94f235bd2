"""The sentences that tell people of a run, one for an event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import attrs

from cascade.model.events import (
    ConnectorConnected,
    ConnectorDisconnected,
    ControlChanged,
    EngineWarning,
    Event,
    EventsDropped,
    LoopProgress,
    NodeEvent,
    ResourceAcquired,
    ResourceReleased,
    RunFinished,
    RunResumed,
    RunStarted,
    SignalAwaited,
    SignalReceived,
    StageStarted,
    StaticAnalysisWarning,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
    UndoFinished,
    UndoStarted,
)
from cascade.model.outcomes import RACE_LOST
from cascade.model.shown.labels import labelled
from cascade.model.shown.text import counted, duration, moment
from cascade.model.skip_reasons import SkipReason, why_skipped

# Targets of a run that are named, at most.
SHOWN_TARGETS: Final = 5
# Errors that are remembered, at most.
MOST_ERRORS: Final = 1000


@attrs.define(eq=False)
class Story:
    """The sentences for one run, and what later sentences need to know.

    Attributes:
        expected: Number of nodes of the run; ``None`` if it is not known yet.
        told: Number of nodes by how they ended, of those that a sentence has told of: ``"succeeded"``,
            ``"skipped"``, ``"handled"`` (they failed, and that was handled), ``"cached"``.
        is_resumed: Whether other nodes have ended when the run was executed before.
        errors: Errors that a sentence has told, so that the last one does not repeat them.
        is_cut_off: Whether the connector has lost its connection.
    """

    expected: int | None = None
    told: Counter[str] = attrs.field(factory=Counter)
    is_resumed: bool = False
    errors: set[str] = attrs.field(factory=set)
    is_cut_off: bool = False

    def sentence(self, event: Event) -> str:
        """The sentence for *event*; empty for events that do not interest people."""
        match event := _with_label(event):
            case RunStarted():
                return self._begun(event)
            case RunResumed():
                return self._resumed(event)
            case RunFinished():
                return self._ended(event)
            case StageStarted():
                return _stage(event)
            case TaskExecutionStarted(task_id=task_id, items=None, worker=worker):
                return f"  {task_id} started{'' if worker is None else f' on {worker}'}"
            case TaskExecutionStarted(task_id=task_id, items=items):
                return f"  {task_id} started: {counted(items or 0, 'item')}"
            case TaskExecutionFinished():
                return self._finished(event)
            case TaskSkipped(task_id=task_id, reason=SkipReason.CACHE_HIT.value):
                self.told["cached"] += 1
                return f"  {task_id} taken from the cache"
            case TaskSkipped(task_id=task_id, reason=reason):
                self.told["skipped"] += 1
                return f"  {task_id} skipped: {why_skipped(reason)}"
            case TaskRetrying(task_id=task_id, attempt=attempt, max_attempts=most, delay=delay, error=error):
                return f"  {task_id} failed in attempt {attempt} of {most}, next in {duration(delay)}: {error}"
            case TaskBlocked(task_id=task_id, reason=reason, detail=detail):
                return f"  {task_id} waits: {detail or reason}"
            case _:
                return self._aside(event)

    def _begun(self, event: RunStarted) -> str:
        sizes = [size for maps in event.maps.values() for size in maps.values()]
        nodes = sum(event.calls.values()) + sum(size or 0 for size in sizes)
        is_known = None not in sizes
        self.expected = nodes if is_known else None
        shown = ", ".join(event.target_tasks[:SHOWN_TARGETS])
        more = len(event.target_tasks) - SHOWN_TARGETS
        shown += f" and {more} more" if more > 0 else ""
        size = f"{counted(nodes, 'node')}{'' if is_known else ' or more'}"
        # At its end, the run counts the maps as well.
        size += f" and {counted(len(sizes), 'map')}" if sizes else ""
        self.is_resumed = event.is_resumed
        begun = "resumed" if event.is_resumed else "started"
        return f"run {event.run_id} {begun}: {shown or 'nothing to do'}{f' ({size})' if nodes > 1 else ''}"

    def _resumed(self, event: RunResumed) -> str:
        if event.is_finished:
            when = "" if event.finished is None else f" at {moment(event.finished)}"
            return f"  it had finished{when}: nothing runs, its recorded result is returned"
        done = sum(event.by_task.values()) if event.by_task else event.recorded
        of = f" of {self.expected}" if self.expected is not None and done <= self.expected else ""
        nodes = "node" if done == 1 and not of else "nodes"
        return f"  {done}{of} {nodes} recorded earlier"

    def _ended(self, event: RunFinished) -> str:
        reason = f": {event.error}" if event.error and event.error not in self.errors else ""
        shown = self._counts(event.counts) or "nothing ran"
        return f"run {event.run_id} {event.status.lower()} after {duration(event.duration)} ({shown}){reason}"

    def _counts(self, counts: Mapping[str, int]) -> str:
        words = {state: f"{count} {state}" for state, count in counts.items() if count and state != "pending"}
        if counts.get("pending"):
            words["pending"] = f"{counts['pending']} not begun"
        told, handled = self.told, self.told["handled"]
        if told["cached"] and "succeeded" in words:
            words["succeeded"] += f", {told['cached']} of these from the cache"
        if handled and "failed" in words:
            others = counts["failed"] - handled
            words["failed"] = f"{f'{others} failed, ' if others else ''}{handled} failed (handled)"
        for state, now in (("succeeded", told["succeeded"] + told["cached"]), ("skipped", told["skipped"])):
            if self.is_resumed and counts.get(state, 0) > now:
                words[state] += f", {counts[state] - now} of these recorded earlier"
        return ", ".join(words.values())

    def _finished(self, event: TaskExecutionFinished) -> str:
        took = duration(event.duration)
        if event.status == "Succeeded":
            self.told["succeeded"] += 1
            return f"  {event.task_id} succeeded in {took}: {event.result_preview}"
        if event.error is None:
            why = ": it has lost a race" if event.reason == RACE_LOST else ""
            return f"  {event.task_id} {event.status.lower()} after {took}{why}"
        if len(self.errors) < MOST_ERRORS:
            self.errors.add(event.error)
        attempt = f" in attempt {event.attempt}" if event.attempt > 1 else ""
        self.told["handled"] += event.handled
        handled = " (handled)" if event.handled else ""
        return f"  {event.task_id} {event.status.lower()}{handled}{attempt} after {took}: {event.error}"

    def _undone(self, event: UndoFinished) -> str:
        took = duration(event.duration)
        if event.status == "Succeeded":
            return f"  {event.task_id} undone in {took}"
        if event.error is None:
            return f"  {event.task_id} not undone in time: {event.undo} cancelled after {took}"
        return f"  {event.task_id} not undone: {event.undo} failed after {took}: {event.error}"

    def _aside(self, event: Event) -> str:
        """The sentence for an event that not every run has."""
        match event:
            case UndoStarted(task_id=task_id, undo=undo):
                return f"  {task_id} is being undone by {undo}"
            case UndoFinished():
                return self._undone(event)
            case SignalAwaited(task_id=task_id, signal=signal, timeout=timeout):
                limit = "" if timeout is None else f", for {duration(timeout)} at most"
                return f"  {task_id} waits for signal {signal!r}{limit}"
            case SignalReceived(signal=signal, preview=value, is_default=is_default):
                return f"  signal {signal!r} {'did not come in time, and is' if is_default else 'is'} {value}"
            case _:
                return self._around(event)

    def _around(self, event: Event) -> str:
        """The sentence for an event that is about no node."""
        match event:
            case ControlChanged():
                return _rule(event)
            case ConnectorConnected(connector=name) if self.is_cut_off:
                self.is_cut_off = False
                return f"{name} is connected again"
            case ConnectorDisconnected(connector=name, reason=reason):
                self.is_cut_off = True
                return f"warning: {name} has no connection: {reason}; the last known rules stay in force"
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
                return f"warning: {counted(count, 'event')} dropped"
            case _:
                return ""


def _with_label(event: Event) -> Event:
    """*event*; about a node that the user has given a name, with that beside the id."""
    if isinstance(event, NodeEvent) and event.label is not None:
        return attrs.evolve(event, task_id=labelled(event.task_id, event.label))
    return event


def _stage(event: StageStarted) -> str:
    stage, size = f"stage {event.index}", counted(event.size, "node")
    return f"{stage}: {size}" if event.within is None else f"  {stage} in {event.within}: {size}"


def _rule(event: ControlChanged) -> str:
    rule = event.rule or f"{event.kind} {event.scope}"
    if event.action == "expired":
        return f"rule expired: {rule}"
    return f"rule {event.action} by {event.author}: {rule}"
