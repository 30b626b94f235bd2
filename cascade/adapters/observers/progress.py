"""An observer that shows progress: drawn in the terminal with rich, elsewhere as a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final

import anyio
import attrs
from anyio import current_time

from cascade.adapters.observers.notebook import Cell, is_notebook
from cascade.adapters.observers.picture import picture, plain_line
from cascade.adapters.observers.tally import KINDS, Tally
from cascade.adapters.observers.terminal import Span, is_terminal, write_line
from cascade.model.events import Event
from cascade.model.shown.text import clock
from cascade.runtime.context.settings import Observer
from cascade.runtime.observation.bus import EventStream

try:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text
except ImportError:  # the extra is not installed
    _IS_INSTALLED = False
else:
    _IS_INSTALLED = True

# Seconds between two drawings, and between two lines where nothing can be drawn.
PERIOD: Final = 0.25
LINE_PERIOD: Final = 10.0


def progress(console: Console | None = None) -> Observer:
    """An observer that shows how far a run is: a bar, a line for each task, and the time that is left.

    In a notebook the picture is below the cell, and no widgets are needed. Where there is no terminal either, it
    writes a line every ten seconds and one at the end. If the observer is cancelled (it has not ended within
    ``cleanup_timeout``), the picture stays as it was drawn last.

    Args:
        console: A console of rich. ``None`` (default): the notebook, or standard error.

    Raises:
        ImportError: If rich is not installed. A notebook does without it.
    """
    if not _IS_INSTALLED and not (console is None and is_notebook()):
        raise ImportError("progress() needs rich; install the extra: pip install 'cascade-anyio[cli]'")
    return _Progress(console)


@attrs.define(eq=False)
class _Progress:
    """The observer. Runs that are executed at the same time share the screen."""

    console: Console | None
    __name__ = "progress"
    kinds = KINDS
    _screen: Screen | None = None

    async def __call__(self, events: EventStream) -> None:
        tally = Tally()
        if self.console is None and is_notebook():
            cell = Cell(tally)
            await follow(events, tally, PERIOD, cell.draw)
            cell.draw()
            return
        if self._draws():
            self._screen = screen = self._screen or Screen(self.console or Console(stderr=True))
            screen.add(tally)
            try:
                await follow(events, tally, PERIOD, screen.draw)
            finally:
                screen.remove(tally)
                self._screen = screen if screen.tallies else None
            return
        file = sys.stderr if self.console is None else self.console.file
        await follow(events, tally, LINE_PERIOD, lambda: _write(file, tally))
        _write(file, tally)

    def _draws(self) -> bool:
        if self.console is not None:
            return self.console.is_interactive
        return sys.stderr is not None and is_terminal(sys.stderr)


def _write(file: IO[str] | None, tally: Tally) -> None:
    if file is not None:  # standard error may be closed
        write_line(file, Span(clock(time.time()), "dim"), " ", plain_line(tally, current_time()))
        file.flush()


async def follow(events: EventStream, tally: Tally, period: float, show: Callable[[], None]) -> None:
    """Count *events* in *tally* until the last one, and call *show* every *period* seconds."""
    due = current_time() + period
    while True:
        try:
            event = await _next(events, max(due - current_time(), 0))
        except anyio.EndOfStream:
            return
        if event is not None:
            tally.hear(event, current_time())
        if current_time() >= due:
            show()
            due = current_time() + period
            await anyio.lowlevel.checkpoint()


async def _next(events: EventStream, seconds: float) -> Event | None:
    """The next event; ``None`` if none comes within *seconds*."""
    with suppress(anyio.WouldBlock):
        return events.receive_nowait()
    with anyio.move_on_after(seconds):
        return await events.receive()
    return None


@attrs.define(eq=False)
class Screen:
    """Draws runs on a terminal, one below the other; what tasks print appears above them.

    Attributes:
        console: The terminal.
        tallies: The runs that are drawn.
    """

    console: Console
    tallies: list[Tally] = attrs.field(factory=list)
    _live: Any = None

    def add(self, tally: Tally) -> None:
        """Draw a run from now on."""
        self.tallies.append(tally)
        if self._live is None:
            # If stdout is a file or a pipe, what tasks print must go there, and not to the terminal.
            has_terminal = sys.stdout is not None and is_terminal(sys.stdout)
            self._live = Live(console=self.console, auto_refresh=False, redirect_stdout=has_terminal)
            self._live.start()

    def draw(self) -> None:
        """Draw all runs as they are now."""
        self._live.update(self._drawn(self.tallies), refresh=True)

    def remove(self, tally: Tally) -> None:
        """Draw a run for the last time, and leave that on the terminal."""
        try:
            if len(self.tallies) > 1:
                self.console.print(self._drawn([tally]))
            else:
                self.draw()
        finally:
            self.tallies.remove(tally)
            if not self.tallies:
                live, self._live = self._live, None
                live.stop()

    def _drawn(self, tallies: list[Tally]) -> Text:
        width, height = self.console.size
        is_ascii = not self.console.encoding.startswith("utf")
        now = current_time()
        lines = [
            line
            for tally in tallies
            for line in picture(tally, now, width=width, height=height // len(tallies), is_ascii=is_ascii)
        ]
        return text_of(lines)


def text_of(lines: list[list[Span]]) -> Text:
    """*lines* for rich, which takes nothing in them as markup, and cuts what is wider than the screen."""
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        for span in line:
            text.append(span.text, None if span.style == "plain" else span.style)
    return text
