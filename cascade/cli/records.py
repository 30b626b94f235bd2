"""Showing recorded runs: ``cascade runs``, ``cascade show``; and going on with one: ``cascade resume``."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import attrs

from cascade import api
from cascade.adapters.observers.terminal import Span
from cascade.cli.output import out, out_json, out_table, say
from cascade.cli.params import Kept
from cascade.cli.recorded.choosing import chosen
from cascade.cli.recorded.failed import command, failed_nodes, show_failed, show_log, show_node
from cascade.cli.recorded.looks import WORDS, facts, status_of
from cascade.cli.recorded.reading import read
from cascade.cli.targets import UsageError, working_folder
from cascade.model.shown.labels import labelled
from cascade.model.shown.secrets import keep_secret
from cascade.model.shown.text import counted, duration, fitted, minute, moment, natural, one_line
from cascade.model.shown.urls import shown_url
from cascade.model.skip_reasons import why_skipped
from cascade.runtime.durability.details import SignalRecord
from cascade.runtime.durability.history import NodeRecord, RunRecord, UndoRecord
from cascade.runtime.engine.sending import send
from cascade.runtime.engine.urls import from_folder

# Targets of a run that are named in a table; the JSON form has all of them.
SHOWN_TARGETS: Final = 5
# Characters of an error in a table, where no terminal is narrower; the JSON form has all of it.
MOST_CHARACTERS: Final = 200
# What begins the id of a node that belongs to another or is numbered.
_WITHIN: Final = re.compile(r"[#\[/]")


def show_runs(options: argparse.Namespace) -> None:
    """Print the runs in a store that are asked for, the latest first."""
    state = options.state
    known = read(api.recorded_runs, state)
    runs = chosen(known, options.status, options.since, options.limit, time.time())
    if options.format == "json":
        out_json(
            [
                attrs.asdict(
                    run, filter=lambda field, _: field.name not in ("nodes", "undos", "signals", "outline")
                )
                for run in runs
            ]
        )
        return
    if not runs:
        what = f"none of {counted(len(known), 'run')} is such a one" if known else "no run is recorded"
        say(f"{what} in {shown_url(state)}")
        return
    rows = [
        (
            run.run_id, status_of(run.status), minute(run.created), duration(_taken(run)), _size(run.counts),
            _flow(run.flow),
        )
        for run in runs
    ]  # fmt: skip
    out_table(("RUN", "STATUS", "BEGUN", "TOOK", "NODES", "FLOW"), rows)


def show(options: argparse.Namespace) -> None:
    """Print a run, the nodes of it that failed, or one node.

    Raises:
        UsageError: If there is no such run or node, or what is asked for contradicts itself.
    """
    state, node_id = options.state, options.node
    if options.log and node_id is None:
        raise UsageError("cascade show: --log shows what one node wrote; say which: cascade show RUN NODE --log")
    if options.failed and node_id is not None:
        raise UsageError(
            f"cascade show: --failed is about a run, and {node_id!r} is one node of it; leave one of them out"
        )
    if options.log and options.format == "json":
        raise UsageError("cascade show: --log shows text; leave out --format json, or --log for all of the node")
    run = read(api.recorded_run, state, options.run_id)
    if node_id is not None and options.log:
        show_log(run, node_id)
    elif node_id is not None:
        show_node(run, node_id, state, options.format)
    else:
        _show_nodes(attrs.evolve(run, nodes=in_order(failed_nodes(run) if options.failed else run.nodes)), options)


def _show_nodes(run: RunRecord, options: argparse.Namespace) -> None:
    if options.format == "json":
        out_json(attrs.asdict(run))
    elif options.failed:
        show_failed(run, options.state)
    else:
        _show_run(run)
        if failed_nodes(run):  # which the list may hide among many
            say(f"cascade: why nodes failed: {command(run, options.state, '--failed')}")


def _show_run(run: RunRecord) -> None:
    """Print a run and its nodes, those of one task together, in the order in which they came."""
    nodes = run.nodes
    facts({
        "run": run.run_id,
        "status": status_of(run.status),
        "flow": _flow(run.flow),
        "params": ", ".join(f"{name}={value}" for name, value in run.params.items()),
        "begun": moment(run.created)
        + (f", resumed {counted(run.epoch - 1, 'time')} since" if run.epoch > 1 else ""),
        "took": duration(_taken(run)) + (", including the time until it was resumed" if run.epoch > 1 else ""),
        "turn": "" if run.turn is None else str(run.turn),
        "by": run.owner or "",
        "nodes": _counts(run.counts),
        "error": run.error or "",
        "signals": ", ".join(map(_signal, run.signals)),
    })  # fmt: skip
    if nodes:
        out()
        out_table(("NODE", "STATE", "ATTEMPTS", "TOOK", ""), [_row(node) for node in nodes])
    if run.undos:
        out()
        out_table(("UNDO OF", "BY", "STATE", ""), [_undo_row(undo) for undo in run.undos])


def _signal(signal: SignalRecord) -> str:
    """A signal that was accepted, with its value if that may be shown, and when it was."""
    shown = signal.name if signal.value is None else f"{signal.name}={signal.value}"
    return shown if signal.accepted is None else f"{shown} (accepted {moment(signal.accepted)})"


def in_order(nodes: Iterable[NodeRecord]) -> list[NodeRecord]:
    """*nodes*, which come in the order in which they were recorded, with those of one task together."""
    places: dict[str, int] = {}
    for node in nodes:
        places.setdefault(_root(node.node_id), len(places))
    return sorted(nodes, key=lambda node: (places[_root(node.node_id)], natural(node.node_id)))


def _root(node_id: str) -> str:
    return _WITHIN.split(node_id, maxsplit=1)[0]


def arguments_to_resume(state: str, run_id: str, given: Mapping[str, str], control: str | None) -> list[str]:
    """The command line that goes on with a run, whose folder is the working directory after this.

    Args:
        state: Where it is recorded.
        run_id: The run.
        given: Parameters that are given anew.
        control: The URL of its rules, given anew.

    Raises:
        UsageError: If there is no such run, the command line did not start it, or something is missing that is
            not in the record because it is secret.
    """
    run = read(api.recorded_run, state, run_id)
    if run.origin is None:
        raise UsageError(
            f"run {run_id!r} was not started by the command line; make the same call of cascade.run again, "
            f"with run_id={run_id!r}"
        )
    origin, folder = _origin(run_id, run.origin)
    _see_that_all_is_given(run_id, origin.asks, given, control)
    state = from_folder(state, working_folder())
    try:
        os.chdir(folder)
    except OSError as error:
        raise UsageError(f"run {run_id!r} was started in {folder!r}: {error.strerror}") from error
    more = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    more += [] if control is None else ["--control", control]
    return [*origin.words, "--state", state, "--run-id", run_id, *more]


def _see_that_all_is_given(
    run_id: str, asks: Sequence[tuple[str, str]], given: Mapping[str, str], control: str | None
) -> None:
    """See that what the record asks for has been given; that counts as secret, though no flow may say so yet."""
    missing = []
    for option, shown in asks:
        value = given.get(shown.partition("=")[0]) if option == "-p" else control
        keep_secret(value)
        missing += [f"{option} {shown}"] if value is None else []
    if missing:
        raise UsageError(f"the record of run {run_id!r} keeps no secrets; give again: {', '.join(missing)}")


def origin_of(kept: Kept) -> str:
    """What :func:`arguments_to_resume` reads."""
    return json.dumps({"arguments": kept.words, "asks": kept.asks, "folder": working_folder()})


def _origin(run_id: str, text: str) -> tuple[Kept, str]:
    """What is kept of the command line, and the folder in which it was given."""
    try:
        origin = json.loads(text)
        asks = [(str(option), str(shown)) for option, shown in origin.get("asks", ())]
        return Kept([str(word) for word in origin["arguments"]], asks), str(origin["folder"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the store does not say how run {run_id!r} was started; start it as it was") from error


def send_signal(state: str, run_id: str, name: str, value: str) -> None:
    """Send a value to a recorded run."""
    sys.path.insert(0, working_folder())  # the type of the signal may be a class in a module there
    run = read(partial(send, state=state), run_id, name, value)
    if run.status == "running":
        out(f"accepted by {run_id}")
    else:
        words = shlex.join(["cascade", "resume", run_id, "--state", shown_url(state)])
        out(f"accepted by {run_id}, which is {run.status}; it goes on with: {words}")


def _flow(targets: Sequence[str]) -> str:
    more = len(targets) - SHOWN_TARGETS
    return ", ".join(targets[:SHOWN_TARGETS]) + (f" and {more} more" if more > 0 else "")


def _row(node: NodeRecord) -> tuple[str | Span, ...]:
    # Fetched from a cache, a node has a task and no attempt; one that was copied from another run has neither.
    is_hit = node.status == "succeeded" and node.task and not node.attempts
    remarks = (
        why_skipped(node.reason) if node.reason else "", node.error, "" if node.is_durable else "not durable",
        "cache hit" if is_hit else "",
    )  # fmt: skip
    said = next(filter(None, remarks), "")
    attempts, took = (str(node.attempts), duration(node.duration)) if node.attempts else ("", "")
    name = labelled(node.node_id, node.label)
    return (
        name,
        status_of(node.counts_as),
        attempts,
        took,
        fitted(one_line(said), MOST_CHARACTERS),
    )


def _undo_row(undo: UndoRecord) -> tuple[str | Span, ...]:
    said = fitted(one_line(undo.error or ""), MOST_CHARACTERS)
    return undo.node_id, undo.undo, status_of(undo.status), said


def _taken(run: RunRecord) -> float:
    return (run.updated if run.finished is None else run.finished) - run.created


def _size(counts: Mapping[str, int]) -> str:
    """How many nodes there are, and how many of these did not succeed."""
    others = {status: count for status, count in counts.items() if status != "succeeded"}
    return ", ".join(filter(None, (str(sum(counts.values())), _counts(others))))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {WORDS.get(status, status)}" for status, count in sorted(counts.items()))
