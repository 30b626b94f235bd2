"""``cascade watch``: a live table of a run of another process, from its events."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import attrs

from cascade.cli.control import EXIT_UNREACHED, connector_of
from cascade.cli.targets import UsageError
from cascade.model.errors import describe
from cascade.model.rules import ControlRule
from cascade.runtime.remote import presence, present
from cascade.runtime.wire import (
    CONSTRAINTS,
    ENGINES,
    TELEMETRY,
    Connector,
    ConnectorRefused,
    Lost,
    Message,
    Subscription,
    decode,
    level,
    read_constraint,
)

# Redrawn at most, and at least, so often: seconds.
PERIOD: Final = 0.1
LONGEST: Final = 1.0
# Seconds over which rates are counted.
WINDOW: Final = 10.0
SHOWN_ROWS: Final = 20


@attrs.define
class Board:
    """What is known of a run from the events that have been heard.

    Attributes:
        run_id: The run; empty until one is heard of.
        state: How it stands.
        stage: Its present stage.
        running: Nodes that run, with the moment of their start.
        blocked: Nodes that wait, with the reason.
        ended: How many nodes ended, by status.
        missed: Events that were not heard.
        rules: The rules that stand, whatever they are about.
        engines: The runs of each engine that is connected, by topic.
        was_there: Whether one of them has had the run.
    """

    run_id: str = ""
    state: str = "no event yet"
    stage: str = ""
    running: dict[str, float] = attrs.field(factory=dict)
    blocked: dict[str, str] = attrs.field(factory=dict)
    ended: dict[str, int] = attrs.field(factory=dict)
    missed: int = 0
    rules: dict[tuple[str, str], ControlRule] = attrs.field(factory=dict)
    engines: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    was_there: bool = False
    _seq: int = 0
    _ends: deque[float] = attrs.field(factory=deque)

    @property
    def is_over(self) -> bool:
        """Whether the last event has been heard."""
        return self.state not in ("no event yet", "Running")

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in an event, as ``as_record`` says it; from a stranger, so what means nothing is passed over."""
        seq, kind, moment = event.get("seq"), event.get("type"), event.get("timestamp")
        if not isinstance(seq, int) or not isinstance(moment, (int, float)):
            return
        self.missed += max(seq - self._seq - 1, 0) if self._seq else 0
        self._seq = max(seq, self._seq)
        if not self.is_over:
            self.state = "Running"
        node = str(event.get("task_id"))[:100]
        match kind:
            case "StageStarted":
                self.stage = f"{event.get('index')} ({event.get('size')} tasks)"[:40]
            case "TaskExecutionStarted":
                self.blocked.pop(node, None)
                self.running[node] = moment
            case "TaskBlocked":
                self.blocked[node] = str(event.get("reason"))[:40]
            case "TaskRetrying":
                self.blocked[node] = f"failed, goes on in {event.get('delay')} s"[:60]
            case "TaskExecutionFinished" | "TaskSkipped":
                self._end(node, str(event.get("status", "Skipped"))[:20], moment)
            case "RunFinished":
                self.state = str(event.get("status"))[:20]
                self.running.clear()
                self.blocked.clear()

    def _end(self, node: str, status: str, moment: float) -> None:
        self.running.pop(node, None)
        self.blocked.pop(node, None)
        self.ended[status] = self.ended.get(status, 0) + 1
        self._ends.append(moment)

    def rate(self, now: float) -> float:
        """Nodes that ended per second, lately."""
        while self._ends and self._ends[0] < now - WINDOW:
            self._ends.popleft()
        return len(self._ends) / WINDOW

    def headline(self, now: float) -> str:
        """The run in one line."""
        counts = ", ".join(f"{count} {status.lower()}" for status, count in self.ended.items())
        parts = [f"run {self.run_id or '?'}: {self.state}", counts, f"{self.rate(now):.1f}/s"]
        parts += [f"stage {self.stage}"] if self.stage else []
        parts += [f"{self.missed} events missed"] if self.missed else []
        return "; ".join(part for part in parts if part)

    def hear_rule(self, message: Message) -> None:
        """Take in a rule, or that there is none any more; what means nothing is passed over."""
        with suppress(ValueError):
            kind, scope, rule = read_constraint(message)
            self.rules.pop((scope, kind), None)
            if rule is not None:
                self.rules[scope, kind] = rule

    def hear_engine(self, message: Message) -> None:
        """Take in which runs an engine has; what means nothing is passed over."""
        self.engines.pop(message.topic, None)
        with suppress(ValueError):
            if message.payload:
                self.engines[message.topic] = presence(message).runs
        self.was_there = self.was_there or self.run_id in self.runs()

    def runs(self) -> list[str]:
        """The runs that there are."""
        return sorted(run for runs in self.engines.values() for run in runs)

    def leave(self) -> None:
        """Nothing has been heard for a while: if no engine has the run any more, nothing will be."""
        if self.was_there and self.run_id not in self.runs() and not self.is_over:
            self.state = "gone"

    def standing(self) -> Iterator[str]:
        """The rules that may hold nodes of this run."""
        for rule in self.rules.values():
            kind, _, name = rule.scope.partition(":")
            if not rule.has_expired and (kind != "run" or name == self.run_id):
                yield f"{rule}, set by {rule.author} {rule.age:.0f} s ago"

    def rows(self, now: float) -> Iterator[tuple[str, str, str]]:
        """Node, state, and for how long or why."""
        for node, since in sorted(self.running.items(), key=lambda item: item[1])[:SHOWN_ROWS]:
            if node not in self.blocked:
                yield node, "running", f"{max(now - since, 0):.1f} s"
        for node, reason in list(self.blocked.items())[:SHOWN_ROWS]:
            yield node, "blocked", reason


def run_watch(options: argparse.Namespace) -> int:
    """Show the run until it ends; returns the exit status."""
    try:
        from rich.console import Console  # belongs to an extra
    except ImportError as error:
        raise UsageError("cascade watch needs rich; install the extra: pip install 'cascade[cli]'") from error
    connector = connector_of(options.via)
    try:
        anyio.run(watch_run, connector, options.run, Console())
    except ConnectorRefused as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        print(f"cascade: {describe(error)}", file=sys.stderr)
        return EXIT_UNREACHED
    return 0


async def watch_run(connector: Connector, run_id: str | None, console: Any) -> None:
    """Show the run, or the first there is or comes, on the console of rich until it ends.

    Raises:
        OSError: If the connector cannot connect.
    """
    from rich.live import Live  # see run_watch

    await connector.connect()
    board = Board(run_id or "")
    try:
        with Live(console=console, auto_refresh=False) as live:
            await _follow(connector, board, lambda: live.update(_drawn(board), refresh=True))
    finally:
        await connector.disconnect()


async def _follow(connector: Connector, board: Board, draw: Callable[[], None]) -> None:
    topics = f"{TELEMETRY}/+/{level(board.run_id) if board.run_id else '+'}/events"
    async with (
        connector.subscribe(topics) as stream,
        connector.subscribe(f"{CONSTRAINTS}/#", latest_only=True) as rules,
        connector.subscribe(f"{ENGINES}/#", latest_only=True) as engines,
    ):
        _hear_retained(board, rules, engines)
        runs = board.runs()
        board.run_id = board.run_id or (runs[0] if runs else "")
        board.was_there = board.run_id in runs
        what = f"run {board.run_id or 'that comes next'}"
        if board.run_id not in ("", *runs):
            what += f", which is not there yet; {_listed(runs)}"
        print(f"cascade: watching {what}", file=sys.stderr, flush=True)
        drawn = 0.0
        draw()
        while not board.is_over:
            signal = None
            with anyio.move_on_after(LONGEST):
                signal = await stream.receive()
            if isinstance(signal, Message):
                _hear(board, signal)
            elif isinstance(signal, Lost):
                board.stage = f"connection lost: {signal.reason}"
            _hear_retained(board, rules, engines)
            if signal is None:
                board.leave()
            now = time.monotonic()
            if signal is None or board.is_over or now - drawn >= PERIOD:
                draw()
                drawn = now


def _hear_retained(board: Board, rules: Subscription, engines: Subscription) -> None:
    for message in present(rules):
        board.hear_rule(message)
    for message in present(engines):
        board.hear_engine(message)


def _listed(runs: Sequence[str]) -> str:
    return f"there are {', '.join(runs)}" if runs else "no run is connected"


def _hear(board: Board, message: Message) -> None:
    try:
        event = decode(message.payload)
    except ValueError:
        return
    run_id = str(event.get("run_id"))[:200]
    if message.topic.split("/")[3:4] != [level(run_id)]:
        return
    board.run_id = board.run_id or run_id
    if run_id == board.run_id:
        board.hear(event)


def _drawn(board: Board) -> Any:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    now = time.time()
    table = Table("task", "state", "")
    for row in board.rows(now):
        table.add_row(*map(escape, row))
    return Group(Text(board.headline(now)), *map(Text, board.standing()), table)
