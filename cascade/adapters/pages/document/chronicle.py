"""The document of a run, from its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from cascade.adapters.observers.tally import Active, Tally
from cascade.adapters.pages.document.boxes import Boxes
from cascade.adapters.pages.document.changes import NOTHING_SEEN, Changes, Mark
from cascade.adapters.pages.document.critical import as_steps, critical_path
from cascade.adapters.pages.document.head import Head
from cascade.adapters.pages.document.known_flow import flow_of_graph
from cascade.adapters.pages.document.shape import VERSION, hidden, tasks_of
from cascade.adapters.pages.document.timeline import SHORTEST_WAIT, Bar, Timeline
from cascade.adapters.pages.document.troubles import Outputs, Troubles, named, worker_of
from cascade.model.events import (
    AttemptStarted,
    Event,
    NodeEvent,
    RunFinished,
    SignalAwaited,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.observation.details import FlowKnown, NodeFailed, NodesRecalled, NodeWrote, RecallWithdrawn

# What a chronicle has to be told of.
KINDS: Final = (Event, AttemptStarted, FlowKnown, NodeFailed, NodesRecalled, NodeWrote, RecallWithdrawn)
# Nodes that are shown as they run or wait, at most.
MOST_ACTIVE: Final = 100
MOST_WAITING: Final = 15
# Nodes of a graph of which the critical path is looked for while the run goes on.
QUICKLY_SEARCHED: Final = 2000
_BLOCKED: Final = {"ResourceContention": "resource", "ConstraintViolation": "rule"}


@attrs.define
class _Open:
    """A node that has begun to run or to wait, and has not ended."""

    task: str
    status: str
    since: float
    kind: str = ""
    reason: str = ""


@attrs.define(eq=False)
class Chronicle:
    """Follows one run by its events, and tells its document.

    What it keeps is bounded, except for two numbers for each node of the flow itself; items of maps, and nodes of
    flows that were returned, are counted.
    """

    tally: Tally = attrs.field(factory=Tally)
    boxes: Boxes = attrs.field(factory=Boxes)
    timeline: Timeline = attrs.field(factory=Timeline)
    troubles: Troubles = attrs.field(factory=Troubles)
    outputs: Outputs = attrs.field(factory=Outputs)
    _head: Head = attrs.field(factory=Head)
    _open: dict[str, _Open] = attrs.field(factory=dict)
    _maps: set[str] = attrs.field(factory=set)
    _times: dict[str, tuple[float, float]] = attrs.field(factory=dict)
    _latest: float = 0.0
    _changes: Changes = attrs.field(factory=Changes)

    # -- events --------------------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """Take in *event*, which comes after those before it."""
        at = event.timestamp
        self._latest = max(self._latest, at)
        self.timeline.begin(at)
        self._head.begin(event.run_id, at)
        self.tally.hear(event, at)
        match event:
            case NodeFailed():
                self.troubles.explain(event)
            case NodeWrote():
                self.troubles.wrote(event)
                self.outputs.add(event)
            case NodeEvent():
                self._hear_node(event, at)
            case FlowKnown(graph=graph):
                self.boxes.know(flow_of_graph(graph))
            case NodesRecalled(succeeded=succeeded, skipped=skipped, handled=handled):
                for node_id, number in succeeded.items():
                    self.boxes.count(node_id, "succeeded", number)
                for status, node_ids in (("skipped", skipped), ("handled", handled)):
                    for node_id in node_ids:
                        self.boxes.count(node_id, status, 1)
            case _:
                self._head.hear(event, at)
        if isinstance(event, RunFinished):
            for node_id in [*self._open]:
                self._close(node_id)

    def _hear_node(self, event: NodeEvent, at: float) -> None:
        node_id = event.task_id
        match event:
            case TaskExecutionStarted(items=items):
                if items is not None:
                    self._maps.add(node_id)
                self._move(event, at, "running")
            case AttemptStarted():
                self._move(event, at, "running")
            case TaskRetrying():
                self.troubles.retry(event)
                self._move(event, at, "waiting", "retry", "rests before another attempt")
            case TaskBlocked(reason=reason, detail=detail):
                self._move(event, at, "waiting", _BLOCKED.get(reason, ""), detail.partition(", ")[0] or reason)
            case SignalAwaited(signal=signal):
                self._move(event, at, "waiting", "signal", f"signal {signal!r}")
            case TaskExecutionFinished():
                self._end(event, at)
            case RecallWithdrawn(was_skipped=was_skipped):
                self.boxes.count(node_id, "skipped" if was_skipped else "succeeded", -1)
            case TaskSkipped(reason=reason):
                self._leave(event, at)
                self.boxes.count(node_id, "succeeded" if reason == SkipReason.CACHE_HIT.value else "skipped", 1)

    def _move(self, event: NodeEvent, at: float, status: str, kind: str = "", reason: str = "") -> None:
        """A node begins to run, or to wait."""
        self._leave(event, at)
        self._open[event.task_id] = _Open(event.task_name, status, at, kind, reason)
        if event.task_id not in self._maps:
            self.boxes.count(event.task_id, status, 1)
            if status == "running":
                self.timeline.start(event.task_name, at)

    def _leave(self, event: NodeEvent, at: float) -> None:
        """A node does no longer what it did."""
        known = self._close(event.task_id)
        if known is not None and known.status == "waiting":
            seconds = max(at - known.since, 0.0)
            self.troubles.wait(known.kind, known.reason, seconds)
            if seconds >= SHORTEST_WAIT:
                self.timeline.bars.add(
                    Bar(known.since, at, "waiting", event.task_id, event.task_name, reason=known.reason)
                )

    def _close(self, node_id: str) -> _Open | None:
        """Forget what a node did; returns that."""
        known = self._open.pop(node_id, None)
        if known is not None and node_id not in self._maps:
            self.boxes.count(node_id, known.status, -1)
            if known.status == "running":
                self.timeline.withdraw(known.task, known.since)
        return known

    def _end(self, event: TaskExecutionFinished, at: float) -> None:
        node_id, status = event.task_id, "handled" if event.handled else event.status.lower()
        self._leave(event, at)
        self.troubles.end(event)
        started = at - event.duration
        if self.boxes.may_have(node_id):
            self._times[node_id] = started, at
        if node_id in self._maps:  # its items are what runs
            self._maps.remove(node_id)
            if status != "succeeded":
                self.boxes.mark(node_id, status)
            return
        self.boxes.count(node_id, status, 1)
        if not event.attempt:
            return
        worker = worker_of(event)
        self.timeline.work(Bar(started, at, status, node_id, event.task_name, worker or "", event.attempt))
        if self.troubles.is_slow(event.duration):
            took = {"started": started, "duration": event.duration, "worker": worker, "status": status}
            self.troubles.took(event.duration, named(event) | took)

    # -- views ---------------------------------------------------------------------------------------------

    def document(self, now: float | None = None) -> dict[str, Any]:
        """The document as it is now: plain JSON, bounded in size, without the secrets in force.

        Args:
            now: Seconds since the epoch. ``None`` (default): the time of the last event.
        """
        bars = self.timeline.rows()
        document: dict[str, Any] = hidden({"version": VERSION, **self._sections(now), "bars": bars})
        return document

    def changes(self, since: Mark | None = None, now: float | None = None) -> tuple[dict[str, Any], Mark]:
        """What is new to somebody who has seen the document up to *since*, and how far they have seen it then.

        Args:
            since: What they have seen. ``None`` (default): nothing.
            now: Seconds since the epoch. ``None`` (default): the time of the last event.
        """
        bars = hidden(self.timeline.rows())
        sections = hidden(self._sections(now))
        return self._changes.since(since or NOTHING_SEEN, sections, bars, self.timeline.bars.version)

    def svg(self) -> str:
        """The picture of the flow for a page, with the states of its nodes; empty if the flow is not known."""
        svg: str = hidden(self.boxes.svg(self.tally.tasks))
        return svg

    def _sections(self, now: float | None) -> dict[str, Any]:
        now = self._latest if now is None or self.tally.is_over else max(now, self._latest)
        tally, troubles = self.tally, self.troubles
        tasks, tasks_left_out = tasks_of(tally.tasks.values())
        active, active_left_out = self._active()
        failures = troubles.shown()
        outputs, outputs_left_out = self.outputs.shown(failures)
        critical, critical_left_out = self._critical()
        return {
            "run": self._head.shown(tally),
            "tasks": tasks,
            "timeline": self.timeline.shown(now),
            "active": active,
            "waits": troubles.waits(),
            "failures": failures,
            "outputs": outputs,
            "retries": troubles.retries,
            "slowest": troubles.slowest(),
            "critical": critical,
            "signals": list(self._head.signals),
            "warnings": list(self._head.warnings),
            "graph": self.boxes.shown(tally.tasks),
            "left_out": {
                "tasks": tasks_left_out, "active": active_left_out, "critical": critical_left_out,
                "failures": troubles.failures_left_out, "retries": troubles.retries_left_out,
                "bars": self.timeline.bars.left_out, "outputs": outputs_left_out,
            },
        }  # fmt: skip

    def _active(self) -> tuple[list[dict[str, Any]], int]:
        """The nodes that run, and then some that wait: of a run that is paused, that may be very many."""
        nodes: Mapping[str, Active] = self.tally.active
        waiting = [node_id for node_id, node in nodes.items() if node.waits]
        running = [node_id for node_id, node in nodes.items() if not node.waits and node_id not in self._maps]
        waits = waiting[:MOST_WAITING]
        shown = [*running[: MOST_ACTIVE - len(waits)], *waits]
        rows = []
        for node_id in shown:
            node, known = nodes[node_id], self._open.get(node_id)
            kind = "" if known is None else known.kind
            rows.append({
                "id": node_id, "label": node.label, "task": node.task.name, "since": node.since,
                "waits": node.waits, "kind": kind,
            })  # fmt: skip
        return rows, len(waiting) + len(running) - len(rows)

    def _critical(self) -> tuple[list[dict[str, Any]], int]:
        flow = self.boxes.flow
        if flow is None or not (self.tally.is_over or len(flow.sources) <= QUICKLY_SEARCHED):
            return [], 0
        return as_steps(critical_path(flow, self._times))
