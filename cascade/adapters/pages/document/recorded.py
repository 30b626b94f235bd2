"""The document of a run, from what a store has recorded of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cascade.adapters.pages.document.chronicle import Chronicle
from cascade.adapters.pages.document.head import MOST_PARAMS, MOST_TARGETS
from cascade.adapters.pages.document.known_flow import flow_of_graph, flow_of_outline
from cascade.adapters.pages.document.troubles import MOST_OUTPUTS
from cascade.graph.nodes import Graph
from cascade.model.events import (
    Event,
    RunFinished,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
    TaskStatus,
    UndoFinished,
)
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.durability.history import NodeRecord, RunRecord

_STATUSES: Final[dict[str, TaskStatus]] = {
    "succeeded": "Succeeded", "failed": "Failed", "cancelled": "Cancelled",
}  # fmt: skip


def chronicle_of(run: RunRecord, graph: Graph | None = None) -> Chronicle:
    """What events would have told of *run*, as far as its record knows that.

    Args:
        run: A run with its nodes.
        graph: Its flow. ``None`` (default): what was recorded of it, if that was.
    """
    chronicle = Chronicle()
    if graph is not None:
        chronicle.boxes.know(flow_of_graph(graph))
    elif run.outline is not None:
        chronicle.boxes.know(flow_of_outline(run.outline))
    for event in _events(run):
        chronicle.hear(event)
    return chronicle


def recorded_document(run: RunRecord, chronicle: Chronicle | None = None) -> dict[str, Any]:
    """The document of *run*.

    Args:
        run: A run with its nodes.
        chronicle: What :func:`chronicle_of` has made of it. ``None`` (default): it is made here.
    """
    document = (chronicle or chronicle_of(run)).document(run.updated)
    document["run"] |= {
        "id": run.run_id, "status": run.status, "started": run.created, "finished": run.finished,
        "error": run.error, "targets": list(run.flow[:MOST_TARGETS]), "epoch": run.epoch, "turns": run.turn,
        "targets_left_out": max(len(run.flow) - MOST_TARGETS, 0), "source": "records",
        "params": dict([*run.params.items()][:MOST_PARAMS]),
        "is_estimated": any(node.attempts and _known_start(node) is None for node in run.nodes),
    }  # fmt: skip
    details = {node.node_id: _detail(node) for node in run.nodes if node.status == "failed"}
    for failure in document["failures"]:
        failure |= details.get(failure["id"], {})
    listed = {failure["id"] for failure in document["failures"]}
    document["failures"] = [one for one in document["failures"] if one["caused_by"] not in listed]
    document["outputs"], document["left_out"]["outputs"] = _outputs(run, document["failures"])
    document["signals"] = [
        {"name": signal.name, "at": signal.accepted, "preview": signal.value or "", "is_default": False}
        for signal in run.signals
    ]
    return document


def _outputs(run: RunRecord, failures: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """What the last nodes of *run* wrote, and how many more wrote something; without those of *failures*."""
    told = {failure["id"] for failure in failures}
    wrote = [
        (node, node.detail)
        for node in sorted(run.nodes, key=_ended)  # those written at once have one time, and no order
        if node.detail is not None and node.detail.log is not None and node.node_id not in told
    ]
    shown = [
        {
            "id": node.node_id, "label": node.label, "task": node.task, "status": node.status, "at": _ended(node),
            "started": _known_start(node), "worker": node.worker or detail.worker, "text": detail.log,
        }
        for node, detail in wrote[-MOST_OUTPUTS:]
        if detail.log
    ]  # fmt: skip
    return shown, len(wrote) - len(shown)


def _events(run: RunRecord) -> Iterator[Event]:
    about: dict[str, Any] = {"seq": 0, "run_id": run.run_id}
    maps = {node.node_id.rpartition("[")[0]: 0 for node in run.nodes if node.node_id.endswith("]")}
    # What was written at once has one time; a map ends after its items.
    for node in sorted(run.nodes, key=lambda node: (node.recorded, node.node_id in maps)):
        yield from _events_of(node, about, is_map=node.node_id in maps)
    for undo in run.undos:
        if undo.status == "undone":
            yield UndoFinished(
                **about, timestamp=undo.recorded, task_id=undo.node_id, task_name=undo.undo, undo=undo.undo,
                status="Succeeded", duration=0.0,
            )  # fmt: skip
    if run.finished is not None:
        # Its status is taken from the record, which knows more of them.
        yield RunFinished(
            **about,
            timestamp=run.finished,
            status="Succeeded",
            duration=0.0,
            error=run.error,
            failures=(),
            counts={},
        )


def _events_of(node: NodeRecord, about: dict[str, Any], *, is_map: bool) -> Iterator[Event]:
    named = about | {"task_id": node.node_id, "task_name": node.task, "label": node.label}
    end = node.recorded
    if node.status == "skipped":
        yield TaskSkipped(**named, timestamp=end, reason=node.reason or "")
    elif node.status == "retrying":
        yield TaskRetrying(
            **named, timestamp=end, attempt=node.attempts, max_attempts=0, delay=0.0, error=node.error or ""
        )
    elif node.status == "succeeded" and node.task and not node.attempts and not is_map:
        yield TaskSkipped(**named, timestamp=end, reason=SkipReason.CACHE_HIT.value)
    else:
        started = _began(node)
        status = _STATUSES.get(node.status, "Cancelled")
        yield TaskExecutionStarted(**named, timestamp=started, items=0 if is_map else None)
        yield TaskExecutionFinished(
            **named, timestamp=started + node.duration, status=status, duration=node.duration,
            attempt=node.attempts, error=node.error, worker=node.worker,
            handled=node.counts_as == "handled",
        )  # fmt: skip


def _began(node: NodeRecord) -> float:
    """When *node* began to run. Of older records only failures say it; others are taken to end when written."""
    known = _known_start(node)
    return node.recorded - node.duration if known is None else known


def _ended(node: NodeRecord) -> float:
    return _began(node) + node.duration


def _known_start(node: NodeRecord) -> float | None:
    detailed = None if node.detail is None else node.detail.started
    return detailed if node.started is None else node.started


def _detail(node: NodeRecord) -> dict[str, Any]:
    """What the record says of a failure beyond its error."""
    detail = node.detail
    if detail is None:
        return {}
    return {
        "worker": detail.worker,
        "arguments": [list(pair) for pair in detail.arguments],
        "traceback": detail.traceback or "",
        "caused_by": detail.caused_by,
        "earlier": [
            {"attempt": one.number, "error": one.error, "at": one.started}
            for one in detail.attempts
            if one.number < node.attempts
        ],
        "remarks": [{"at": remark.at, "text": remark.text} for remark in detail.remarks],
        "log": detail.log or "",
        "handled": detail.handled,
    }
