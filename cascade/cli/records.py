"""Showing recorded runs: ``cascade runs``, ``cascade show``; and going on with one: ``cascade resume``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import anyio
import attrs

from cascade import api
from cascade.cli.params import Kept
from cascade.cli.targets import UsageError
from cascade.model.errors import InputError, StateError
from cascade.model.secrets import keep_secret
from cascade.runtime.ledger import NodeRecord, RunRecord

T = TypeVar("T")

# Characters of an error in a table; the JSON form has all of it.
WIDTH: Final = 80


def show_runs(state: str, format: str) -> None:
    """Print the runs in a store, the latest first."""
    runs = _read(api.recorded_runs, state)
    if format == "json":
        _print_json([attrs.asdict(run, filter=lambda field, _: field.name != "nodes") for run in runs])
        return
    rows = [
        (run.run_id, run.status, _moment(run.created), _seconds(_taken(run)), _counts(run), ", ".join(run.flow))
        for run in runs
    ]
    _print_table(("RUN", "STATUS", "BEGUN", "TOOK", "NODES", "FLOW"), rows)


def show_run(state: str, run_id: str, format: str) -> None:
    """Print a run and its nodes."""
    run = _read(api.recorded_run, state, run_id)
    if format == "json":
        _print_json(attrs.asdict(run))
        return
    facts = {
        "run": run.run_id,
        "status": run.status,
        "flow": ", ".join(run.flow),
        "params": ", ".join(f"{name}={value}" for name, value in run.params.items()),
        "begun": f"{_moment(run.created)}, {run.epoch} time{'s' * (run.epoch != 1)}",
        "took": _seconds(_taken(run)),
        "turn": "" if run.turn is None else str(run.turn),
        "by": run.owner or "",
        "error": run.error or "",
    }
    for name, fact in facts.items():
        if fact:
            sys.stdout.write(f"{name:<7} {fact}\n")
    sys.stdout.write("\n")
    _print_table(("NODE", "STATE", "ATTEMPTS", "TOOK", ""), [_row(node) for node in run.nodes])


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
    run = _read(api.recorded_run, state, run_id)
    if run.origin is None:
        raise UsageError(
            f"run {run_id!r} was not started by the command line; make the same call of cascade.run again, "
            f"with run_id={run_id!r}"
        )
    origin = json.loads(run.origin)
    _see_that_all_is_given(run_id, origin.get("asks", ()), given, control)
    if state.startswith("sqlite:///"):
        state = f"sqlite:///{os.path.abspath(state.removeprefix('sqlite:///'))}"
    try:
        os.chdir(origin["folder"])
    except OSError as error:
        raise UsageError(f"run {run_id!r} was started in {origin['folder']!r}: {error.strerror}") from error
    more = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    more += [] if control is None else ["--control", control]
    return [*origin["arguments"], "--state", state, "--run-id", run_id, *more]


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
    return json.dumps({"arguments": kept.words, "asks": kept.asks, "folder": os.getcwd()})


def _read(read: Callable[..., Awaitable[T]], *args: Any) -> T:
    try:
        return anyio.run(read, *args)
    except (InputError, StateError, ImportError) as error:
        raise UsageError(str(error)) from error


def _row(node: NodeRecord) -> tuple[str, ...]:
    said = node.reason or node.error or ("" if node.is_durable else "not durable")
    attempts = str(node.attempts) if node.attempts else ""
    return node.node_id, node.status, attempts, _seconds(node.duration) if node.attempts else "", said[:WIDTH]


def _taken(run: RunRecord) -> float:
    return (run.updated if run.finished is None else run.finished) - run.created


def _counts(run: RunRecord) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(run.counts.items()))


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        sys.stdout.write("  ".join(map(str.ljust, line, widths)).rstrip() + "\n")


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
