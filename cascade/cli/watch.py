"""``cascade watch``: how far a run of another process is, live, from its events."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import attrs

from cascade.adapters.observers.picture import Line, cut, picture, plain_line, stopwatch
from cascade.adapters.observers.progress import text_of
from cascade.adapters.observers.tally import Tally
from cascade.adapters.observers.terminal import Span
from cascade.cli.control import EXIT_UNREACHED, connector_of
from cascade.cli.output import flush, out, say
from cascade.cli.targets import UsageError
from cascade.model.events import Event
from cascade.model.events.records import from_record
from cascade.model.rules import ControlRule
from cascade.model.shown.labels import labelled
from cascade.model.shown.raised import describe
from cascade.model.shown.text import clock, columns, counted, fitted, natural, one_line
from cascade.runtime.control.connector import (
    Connector,
    ConnectorRefused,
    Found,
    Lost,
    Message,
    Missed,
    Signal,
    Subscription,
)
from cascade.runtime.control.protocol import CONSTRAINTS, ENGINES, TELEMETRY, decode, level, read_constraint
from cascade.runtime.control.remote_client import presence, present

# Seconds between two drawings; between two lines where nothing can be drawn; until it is seen that a run is gone.
PERIOD: Final = 0.25
LINE_PERIOD: Final = 10.0
LONGEST: Final = 1.0
# Nodes that are shown.
SHOWN_ROWS: Final = 20


@attrs.define
class Board:
    """What is known of a run from the events that have been heard.

    Attributes:
        run_id: The run; empty until one is heard of.
        tally: How far it is.
        missed: Events that were not heard.
        trouble: Why nothing is heard at present.
        is_gone: Whether no process has the run any more, though its last event has not been heard.
        rules: The rules that stand, whatever they are about.
        engines: The runs of each engine that is connected, by topic.
        was_there: Whether one of them has had the run.
    """

    run_id: str = ""
    tally: Tally = attrs.field(factory=Tally)
    missed: int = 0
    trouble: str = ""
    is_gone: bool = False
    rules: dict[tuple[str, str], ControlRule] = attrs.field(factory=dict)
    engines: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    was_there: bool = False
    _seq: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard."""
        return self.tally.is_over or self.is_gone

    def hear(self, event: Event, now: float) -> None:
        """Take in an event of the run, heard at the moment *now*; clocks of others are not believed."""
        self.missed += max(event.seq - self._seq - 1, 0) if self._seq else 0
        self._seq = max(event.seq, self._seq)
        self.tally.hear(event, now)

    def take(self, signal: Signal) -> None:
        """Take in what has come over the connection; what is no event of the run is passed over."""
        match signal:
            case Message():
                with suppress(ValueError):  # from a stranger, it may be anything
                    self._read(signal)
            case Lost(reason=reason):
                self.trouble = f"connection lost: {reason}"
            case Found():
                self.trouble = ""
            case Missed(count=count):
                self.missed += count

    def _read(self, message: Message) -> None:
        event = from_record(decode(message.payload))
        if message.topic.split("/")[3:4] == [level(event.run_id)]:
            self.run_id = self.run_id or event.run_id
            if event.run_id == self.run_id:
                self.hear(event, time.time())

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
        return sorted({run for runs in self.engines.values() for run in runs}, key=natural)

    def leave(self) -> None:
        """Nothing has been heard for a while: if no engine has the run any more, nothing will be."""
        if self.was_there and self.run_id not in self.runs():
            self.is_gone = True

    # -- views ---------------------------------------------------------------------------------------------

    def drawn(self, now: float, *, width: int, height: int, is_ascii: bool = False) -> list[Line]:
        """All of it, in lines that are not longer than *width*, and not more than *height*."""
        lines = picture(self.tally, now, width=width, height=max(height // 2, 4), is_ascii=is_ascii)
        lines += self._remarks()
        rows = list(self._rows(now, max(height - len(lines) - 2, 0), width))
        return [cut(line, width) for line in ([*lines, [], *rows] if rows else lines)]

    def _remarks(self) -> Iterator[Line]:
        if self.is_gone:
            yield [Span("  no process has this run any more", "yellow")]
        if self.trouble:
            yield [Span(f"  {self.trouble}", "yellow")]
        if self.missed:
            yield [Span(f"  {counted(self.missed, 'event')} missed", "yellow")]
        for rule in self.rules.values():
            kind, _, name = rule.scope.partition(":")
            if not rule.has_expired and (kind != "run" or name == self.run_id):
                yield [Span(f"  rule: {rule}, set by {rule.author} {stopwatch(rule.age)} ago", "yellow")]

    def _rows(self, now: float, most: int, width: int) -> Iterator[Line]:
        """The nodes that run, the longest first, and those that wait: id, and for how long or why."""
        nodes = sorted(self.tally.active.items(), key=lambda item: (bool(item[1].waits), item[1].since))
        most = min(most, SHOWN_ROWS)
        shown = nodes[:most] if len(nodes) <= most else nodes[: max(most - 1, 0)]
        names = [fitted(one_line(labelled(name, node.label)), max(width // 2, 1)) for name, node in shown]
        widest = max(map(columns, names), default=0)
        for name, (_, node) in zip(names, shown, strict=True):
            gap = " " * (widest - columns(name))
            if node.waits:
                yield [Span(f"  {name}{gap}  "), Span("waits: ", "yellow"), Span(node.waits)]
            else:
                yield [Span(f"  {name}{gap}  runs for {stopwatch(now - node.since)}")]
        if len(nodes) > len(shown):
            yield [Span(f"  and {counted(len(nodes) - len(shown), 'more node')}", "dim")]


def run_watch(options: argparse.Namespace) -> int:
    """Show the run until it ends; returns the exit status."""
    try:
        from rich.console import Console  # belongs to an extra
    except ImportError as error:
        raise UsageError(
            "cascade watch needs rich; install the extra: pip install 'cascade-anyio[cli]'"
        ) from error
    if options.run is not None and not options.run.isprintable():
        raise UsageError(f"an id of a run is printable text, not {options.run!r:.100}")
    connector = connector_of(options.via)
    try:
        anyio.run(watch_run, connector, options.run, Console())
    except ConnectorRefused as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        say(f"cascade: {describe(error)}")
        return EXIT_UNREACHED
    return 0


async def watch_run(connector: Connector, run_id: str | None, console: Any) -> None:
    """Show the run, or the first there is or comes, on the console of rich until it ends.

    Raises:
        OSError: If the connector cannot connect.
    """
    await connector.connect()
    board = Board(run_id or "")
    try:
        if not console.is_interactive:
            await _follow(connector, board, lambda: _write(board), LINE_PERIOD)
            return
        from rich.live import Live  # see run_watch

        with Live(console=console, auto_refresh=False) as live:
            await _follow(connector, board, lambda: live.update(_text(board, console), refresh=True), PERIOD)
    finally:
        await connector.disconnect()


def _text(board: Board, console: Any) -> Any:
    width, height = console.size
    is_ascii = not console.encoding.startswith("utf")
    return text_of(board.drawn(time.time(), width=width, height=height - 1, is_ascii=is_ascii))


def _write(board: Board) -> None:
    now = time.time()
    text = "no process has it any more" if board.is_gone else plain_line(board.tally, now)
    out(Span(clock(now), "dim"), " ", f"run {board.run_id}: {text}" if board.is_gone else text)
    flush()


async def _follow(connector: Connector, board: Board, show: Callable[[], None], period: float) -> None:
    topics = f"{TELEMETRY}/+/{level(board.run_id) if board.run_id else '+'}/events"
    async with (
        connector.subscribe(topics) as stream,
        connector.subscribe(f"{CONSTRAINTS}/#", latest_only=True) as rules,
        connector.subscribe(f"{ENGINES}/#", latest_only=True) as engines,
    ):
        _hear_retained(board, rules, engines)
        runs = board.runs()
        board.run_id = board.run_id or (runs[0] if runs else "")
        board.tally.run_id = board.run_id
        board.was_there = board.run_id in runs
        what = f"run {board.run_id or 'that comes next'}"
        if board.run_id not in ("", *runs):
            what += f", which is not there yet; {_listed(runs)}"
        say(f"cascade: watching {what}")
        heard = due = time.monotonic()
        while not board.is_over:
            signal = await _next(stream, min(LONGEST, period))
            if signal is not None:
                board.take(signal)
                heard = time.monotonic()
            _hear_retained(board, rules, engines)
            if time.monotonic() - heard >= LONGEST:
                board.leave()
            if time.monotonic() >= due:
                show()
                due = time.monotonic() + period
        show()


async def _next(stream: Subscription, seconds: float) -> Signal | None:
    """The next signal; ``None`` if there is none within so many seconds."""
    with suppress(anyio.WouldBlock):
        return stream.receive_nowait()
    with anyio.move_on_after(seconds):
        return await stream.receive()
    return None


def _hear_retained(board: Board, rules: Subscription, engines: Subscription) -> None:
    for message in present(rules):
        board.hear_rule(message)
    for message in present(engines):
        board.hear_engine(message)


def _listed(runs: Sequence[str]) -> str:
    return f"there are {', '.join(runs)}" if runs else "no run is connected"
