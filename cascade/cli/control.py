"""``cascade control``: rules for the runs of other processes, and commands to them."""

from __future__ import annotations

import argparse
import time
from typing import Any

import anyio

from cascade.cli.output import out, out_table, say
from cascade.cli.targets import UsageError
from cascade.model.errors import InputError
from cascade.model.rules import ControlRule, Kind, Pause
from cascade.model.shown.raised import describe
from cascade.model.shown.text import duration, natural, one_line
from cascade.runtime.control.commands import tell
from cascade.runtime.control.connector import Connector
from cascade.runtime.control.plane import UNSET, expiry, limits
from cascade.runtime.control.remote_client import Remote
from cascade.runtime.engine.urls import open_connector

EXIT_UNREACHED = 1


def run_control(options: argparse.Namespace) -> int:
    """Say it, and wait until the runs have heard it; returns the exit status."""
    connector = connector_of(options.via)
    try:
        if options.action == "status":
            return anyio.run(_status, connector)
        if options.action == "send":
            return anyio.run(_send, connector, options)
        if options.action == "cancel":
            return anyio.run(_cancel, connector, _run_in(options.scope), options.node, options.patience)
        rules, lifted = _said(options)
        return anyio.run(_say, connector, options.scope, rules, lifted, options.patience)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except (LookupError, TimeoutError) as error:
        say(f"cascade: {error}")
        return EXIT_UNREACHED
    except OSError as error:
        say(f"cascade: {describe(error)}")
        return EXIT_UNREACHED


def connector_of(url: str) -> Connector:
    """What *url* stands for.

    Raises:
        UsageError: If it stands for nothing.
    """
    try:
        return open_connector(url)
    except (InputError, ImportError) as error:
        raise UsageError(str(error)) from error


def _said(options: argparse.Namespace) -> tuple[list[ControlRule], list[tuple[str, Kind]]]:
    match options.action:
        case "pause":
            return [Pause(scope=options.scope, author=options.author, expires_at=expiry(options.ttl))], []
        case "resume":
            return [], [(options.scope, "pause")]
        case _:
            if options.concurrency is options.rate is None:
                raise UsageError(
                    "limit takes --concurrency, --rate, or both, such as --concurrency 2 or --rate 10/s"
                )
            rules, kinds = limits(
                options.scope,
                _concurrency(options.concurrency),
                _limit(options.rate),
                options.burst,
                options.ttl,
                options.author,
            )
            return rules, [(options.scope, kind) for kind in kinds]


def _limit(text: str | None) -> Any:
    """What *text* says: nothing, no limit, or a limit."""
    if text is None:
        return UNSET
    return None if text == "none" else text


def _concurrency(text: str | None) -> Any:
    limit = _limit(text)
    if not isinstance(limit, str):
        return limit
    try:
        return int(limit)
    except ValueError:
        raise UsageError(f'--concurrency takes a whole number from 1, or "none", not {text!r:.100}') from None


async def _say(
    connector: Connector,
    scope: str,
    rules: list[ControlRule],
    lifted: list[tuple[str, Kind]],
    patience: float,
) -> int:
    await connector.connect()
    try:
        answer = await Remote(connector).say(rules, lifted, patience=patience)
    finally:
        await connector.disconnect()
    if answer.silent:
        say(
            f"cascade: not acknowledged within {patience:g} s by {', '.join(answer.silent)}; "
            "it will hold there as soon as it is heard"
        )
        return EXIT_UNREACHED
    out(f"acknowledged by {', '.join(answer.obeying)}" if answer.obeying else "said; no run is connected")
    kind, _, run_id = scope.partition(":")
    if kind == "run" and answer.obeying and run_id not in answer.obeying:
        say(f"cascade: none of them is {run_id!r}; that one hears of it when it starts")
    return 0


async def _send(connector: Connector, options: argparse.Namespace) -> int:
    kind, _, run_id = options.scope.partition(":")
    if kind != "run" or not run_id:
        raise UsageError(f"signals are sent to one run: run:ID, not {options.scope!r:.100}")
    await connector.connect()
    try:
        refused = await Remote(connector).send(
            run_id, options.name, options.value, author=options.author, patience=options.patience
        )
    finally:
        await connector.disconnect()
    if refused is not None:
        raise UsageError(one_line(refused))
    out(f"accepted by {run_id}")
    return 0


def _run_in(scope: str) -> str:
    kind, _, run_id = scope.partition(":")
    if kind != "run" or not run_id:
        raise UsageError(f"cancel takes run:ID and the id of a node, not {scope!r:.100}")
    return run_id


async def _cancel(connector: Connector, run_id: str, node_id: str, patience: float) -> int:
    await connector.connect()
    try:
        reply = await tell(connector, run_id, patience, command="cancel", node=node_id)
        engines = await Remote(connector).engines() if reply is None else []
    finally:
        await connector.disconnect()
    if reply is None:
        is_there = any(run_id in engine.runs for engine in engines)
        said = (
            f"run {run_id!r} has not answered within {patience:g} s"
            if is_there
            else f"no run {run_id!r} is connected"
        )
        say(f"cascade: {said}")
        return EXIT_UNREACHED
    if reply.verdict == "done":
        out(reply.text)
        return 0
    say(f"cascade: {reply.text}")
    return EXIT_UNREACHED


async def _status(connector: Connector) -> int:
    await connector.connect()
    try:
        remote = Remote(connector)
        rules, engines = await remote.rules(), await remote.engines()
    finally:
        await connector.disconnect()
    if rules:
        out_table(("RULE", "SET BY", "AGE", "ENDS IN"), [_row(rule) for rule in rules])
    else:
        out("no rules")
    out()
    runs = sorted((run for engine in engines for run in engine.runs), key=natural)
    if runs:
        out_table(("RUN",), [(run,) for run in runs])
    else:
        out("no run is connected")
    return 0


def _row(rule: ControlRule) -> tuple[str, ...]:
    ends = "" if rule.expires_at is None else duration(max(rule.expires_at - time.time(), 0))
    return str(rule), rule.author, duration(rule.age), ends
