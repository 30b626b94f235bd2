"""``cascade show RUN NODE`` and ``cascade show RUN --failed``: why nodes failed, and with which arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

import attrs

from cascade.adapters.observers.terminal import Span
from cascade.cli.output import out, out_json, out_text, say
from cascade.cli.recorded.looks import facts, status_of
from cascade.cli.targets import UsageError
from cascade.model.shown.labels import labelled
from cascade.model.shown.text import clock, counted, duration, fitted, moment
from cascade.model.shown.urls import shown_url
from cascade.model.skip_reasons import why_skipped
from cascade.runtime.durability.details import NodeDetail
from cascade.runtime.durability.history import NodeRecord, RunRecord

# How nodes ended of which --failed tells.
FAILED: Final = ("failed", "retrying")
_NOTHING: Final = NodeDetail()
# Columns of a line of code that are shown where there are many.
MOST_OF_CODE: Final = 50
# The line of a traceback that names a file of Python's own library or of an installed one, of whichever machine.
_OF_LIBRARY: Final = re.compile(
    r'File "(<frozen |[^"]*[/\\](site-packages|dist-packages|lib(64)?[/\\]python\d[^/\\]*|Python\d+[/\\]Lib)[/\\])'
)


def command(run: RunRecord, state: str, *words: str, name: str = "show") -> str:
    """A command line about *run*."""
    return shlex.join(["cascade", name, run.run_id, *words, "--state", shown_url(state)])


def show_node(run: RunRecord, node_id: str, state: str, format: str) -> None:
    """Print all that is recorded of one node."""
    node = find(run, node_id)
    if format == "json":
        out_json(attrs.asdict(node))
        return
    detail = node.detail or _NOTHING
    began = detail.started if node.started is None else node.started
    facts({
        "node": node.node_id,
        "name": node.label or "",
        "task": node.task,
        "status": status_of(node.status),
        "begun": "" if began is None else moment(began),
        "took": _took(node),
        "where": node.worker or detail.worker or "",
        "reason": why_skipped(node.reason) if node.reason else "",
        "error": node.error or "",
        "handled": "the run does not fail by it" if detail.handled else "",
        "because": "" if detail.caused_by is None else f"{detail.caused_by} failed",
        "value": "" if node.is_durable else "not durable: a resumed run computes it again",
    })  # fmt: skip
    _print_detail(detail)
    if detail.caused_by is not None:
        say(f"cascade: see {command(run, state, detail.caused_by)}")
    if detail.log is not None:
        lines = counted(len(detail.log.splitlines()), "line")
        out()
        out(Span("output", "bold"), f"  {lines}; all of it: {command(run, state, node.node_id, '--log')}")


def _print_detail(detail: NodeDetail) -> None:
    if detail.arguments:
        _head("called with")
        for name, text in detail.arguments:
            out(f"  {name}={text}" if name else f"  {text}")
    if len(detail.attempts) > 1 or detail.remarks:
        _head("attempts")
        lines = [
            (a.started, f"attempt {a.number} took {duration(a.duration)}: {a.error}") for a in detail.attempts
        ]
        lines += [(remark.at, remark.text) for remark in detail.remarks]
        for at, text in sorted(lines):
            out("  ", Span(clock(at), "dim"), f"  {text}")
    if detail.traceback is not None:
        out()
        for line in detail.traceback.splitlines():
            out(line)


def _head(text: str) -> None:
    out()
    out(Span(text, "bold"))


def show_log(run: RunRecord, node_id: str) -> None:
    """Print what a node printed and logged."""
    node = find(run, node_id)
    log = (node.detail or _NOTHING).log
    if log is None:
        say(f"cascade: nothing is recorded that {node.node_id!r} wrote; cascade run --capture records it")
    else:
        out_text(log if log.endswith("\n") else f"{log}\n")


def find(run: RunRecord, node_id: str) -> NodeRecord:
    """The node with this id, or else the only one with this name.

    Raises:
        UsageError: If there is none.
    """
    by_id = {node.node_id: node for node in run.nodes}
    if node_id in by_id:
        return by_id[node_id]
    named = [node for node in run.nodes if node.label == node_id]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(node.node_id for node in named[:5])
        raise UsageError(
            f"run {run.run_id!r} has {len(named)} nodes with the name {node_id!r}: {ids}; give the id"
        )
    close = get_close_matches(node_id, by_id, n=3, cutoff=0.5) or list(by_id)[:3]
    like = f"; there are {', '.join(close)}" if close else "; no node of it is recorded"
    raise UsageError(f"run {run.run_id!r} has no record of a node {node_id!r}{like}")


def failed_nodes(run: RunRecord) -> list[NodeRecord]:
    """The nodes that failed, or waited for another attempt when the run was cut short."""
    return [node for node in run.nodes if node.status in FAILED]


def show_failed(run: RunRecord, state: str) -> None:
    """Print the nodes that failed, each with what is known of it, and how to go on."""
    nodes = failed_nodes(run)
    own = [node for node in nodes if (node.detail or _NOTHING).caused_by is None]
    own.sort(key=lambda node: (node.detail or _NOTHING).handled)  # what the run fails by is looked for first
    out(f"run {run.run_id}: ", status_of(run.status), f", begun {moment(run.created)}; {_sum(own, run)}")
    if run.error and not own:
        out(f"  {run.error}")
    for node in own:
        out()
        for line in _block(node):
            out(*line)
    passed = [node for node in nodes if (node.detail or _NOTHING).caused_by is not None]
    if passed:
        out()
        for node in passed:
            out(f"{labelled(node.node_id, node.label)} failed because {(node.detail or _NOTHING).caused_by} did")
    out()
    if own:
        out(Span("more of one", "dim"), f"   {command(run, state, own[0].node_id)}")
    if run.status in ("failed", "interrupted", "cancelled", "suspended"):
        out(Span("to go on", "dim"), f"      {command(run, state, name='resume')}")


def _sum(own: Sequence[NodeRecord], run: RunRecord) -> str:
    counts = sum(run.counts.values())
    failed = [node for node in own if node.status == "failed"]
    if not own:
        return f"none of {counted(counts, 'recorded node')} failed"
    words = f"{len(failed)} of {counted(counts, 'recorded node')} failed"
    handled = sum((node.detail or _NOTHING).handled for node in failed)
    if handled:
        words += f", {handled} of these handled" if len(failed) > 1 else ", which was handled"
    waiting, others = len(own) - len(failed), _failures(run) - len(failed)
    words += f", and {others} because of {'it' if len(failed) == 1 else 'these'}" if others else ""
    return words + (f", {waiting} waited for another attempt" if waiting else "")


def _failures(run: RunRecord) -> int:
    return run.counts.get("failed", 0) + run.counts.get("handled", 0)


def _block(node: NodeRecord) -> Iterator[tuple[str | Span, ...]]:
    """What is known of a node that failed, in a few lines."""
    detail = node.detail or _NOTHING
    began = "" if detail.started is None else f", begun {clock(detail.started)}"
    # Which thread it was helps nobody; which process or machine may.
    is_here = detail.worker is None or detail.worker == "event loop" or detail.worker.startswith("thread ")
    where = "" if is_here else f", in {detail.worker}"
    how = "failed" if node.status == "failed" else "was to be attempted again"
    how += " (handled: the run does not fail by it)" if detail.handled else ""
    name = Span(labelled(node.node_id, node.label), "yellow" if detail.handled else "red")
    yield name, f" {how} after {_took(node) or 'no attempt'}{began}{where}"
    if node.error:
        yield (f"  {node.error}",)
    if detail.arguments:
        yield (
            "  called with " + ", ".join(f"{name}={text}" if name else text for name, text in detail.arguments),
        )
    place = _place(detail.traceback or "")
    if place:
        yield (f"  {place}",)


def _took(node: NodeRecord) -> str:
    """How long it took, and in how many attempts."""
    if not node.attempts:
        return ""
    if node.status == "retrying":
        return counted(node.attempts, "attempt")
    return f"{duration(node.duration)}, {counted(node.attempts, 'attempt')}"


def _place(traceback: str) -> str:
    """The innermost line of code in a traceback that is no library's, or else that of a library, on one line."""
    lines = traceback.splitlines()
    frames = [at for at, line in enumerate(lines) if line.startswith('  File "')]
    if not frames:
        return ""
    at = next((at for at in reversed(frames) if not _OF_LIBRARY.search(lines[at])), frames[-1])
    code = lines[at + 1].strip() if at + 1 < len(lines) and lines[at + 1].startswith("    ") else ""
    return f"{lines[at].strip()}: {fitted(code, MOST_OF_CODE)}" if code else lines[at].strip()
