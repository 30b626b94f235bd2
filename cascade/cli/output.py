"""What the command line writes: results to standard output, all else to standard error.

Results are raw where they go to a program or a file. On a terminal, and in every other line, text that is not ours
is escaped. Secrets are left out of all of it.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from cascade.adapters.observers.terminal import Span, for_stream, is_terminal, width_of, write_line
from cascade.model.shown.raised import describe
from cascade.model.shown.secrets import redacted
from cascade.model.shown.text import columns, fitted, one_line

EXIT_USAGE: Final = 2
# Between the columns of a table, which are not cut to less than so many characters.
GAP: Final = "  "
LEAST_WIDTH: Final = 8


class OutputLost(Exception):
    """Standard output cannot be written.

    Attributes:
        has_no_reader: Whether that is because the program that read it has ended, as ``head`` does.
        status: What the exit status would be otherwise.
    """

    def __init__(self, reason: Exception | None = None) -> None:
        self.status = 0
        self.has_no_reader: bool = isinstance(reason, BrokenPipeError)
        why = "it is closed" if reason is None else _reason(reason)
        super().__init__(f"cannot write to standard output: {why}")


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or describe(error)


def prepare() -> None:
    """Let standard output take any text: names of files that are no text go out as the bytes that they are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(ValueError, OSError):  # closed: whoever writes is going to hear
            sys.stdout.reconfigure(errors="surrogateescape")


def say(*spans: str | Span) -> None:
    """Write a line to standard error. Where that cannot be written, there is nobody left to tell."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            write_line(sys.stderr, *map(_hidden, spans))
            sys.stderr.flush()


def out(*spans: str | Span) -> None:
    """Write a line to standard output.

    Raises:
        OutputLost: If that cannot be written.
    """
    if sys.stdout is None:
        raise OutputLost
    try:
        write_line(sys.stdout, *map(_hidden, spans))
    except (OSError, ValueError) as error:
        raise OutputLost(error) from error


def flush() -> None:
    """Send what has been written to standard output on its way.

    Raises:
        OutputLost: If that cannot be done.
    """
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            raise OutputLost(error) from error


def out_text(text: str) -> None:
    """Write *text* of several lines, with nothing escaped unless standard output is a terminal.

    Raises:
        OutputLost: If that cannot be written.
    """
    _out_raw(redacted(text))


def _out_raw(text: str) -> None:
    if sys.stdout is None:
        raise OutputLost
    if is_terminal(sys.stdout):
        text = "\n".join(one_line(line.expandtabs()) for line in text.split("\n"))
    try:
        sys.stdout.write(for_stream(text, sys.stdout))
    except (OSError, ValueError) as error:
        raise OutputLost(error) from error


def out_json(value: object) -> None:
    """Write *value*, which holds no secrets, as JSON, in ASCII."""
    _out_raw(json.dumps(value, indent=2) + "\n")


def out_table(head: Sequence[str], rows: Sequence[Sequence[str | Span]]) -> None:
    """Write *rows* below *head*, in columns; on a terminal they are cut to its width, but not the first one.

    Raises:
        OutputLost: If standard output cannot be written.
    """
    table = [[Span(name, "bold") for name in head], *([_span(cell) for cell in row] for row in rows)]
    widths = [max(columns(row[place].text) for row in table) for place in range(len(head))]
    screen = None if sys.stdout is None else width_of(sys.stdout)
    if screen is not None:
        widths = _narrowed(widths, screen)
    for row in table:
        while row and not row[-1].text:
            row.pop()  # no blanks at the end of a line
        out(*_spaced(row, widths))


def _narrowed(widths: Sequence[int], screen: int) -> list[int]:
    """*widths*, the widest of all but the first made smaller until a line fits on the screen."""
    first, *others = widths
    room = screen - first - len(GAP) * len(others)
    while others and sum(others) > room and max(others) > LEAST_WIDTH:
        others[others.index(max(others))] -= 1
    return [first, *others]


def _spaced(row: Sequence[Span], widths: Sequence[int]) -> Iterator[Span | str]:
    for place, (cell, width) in enumerate(zip(row, widths, strict=False)):
        shown = Span(fitted(cell.text, width), cell.style)
        yield shown
        if place < len(row) - 1:
            yield " " * (width - columns(shown.text)) + GAP


def _hidden(span: str | Span) -> str | Span:
    """*span* without secrets."""
    return redacted(span) if isinstance(span, str) else Span(redacted(span.text), span.style)


def _span(cell: str | Span) -> Span:
    """*cell* as it is going to be shown, so that its width is known."""
    return Span(one_line(cell)) if isinstance(cell, str) else Span(one_line(cell.text), cell.style)


def finish(status: int) -> int:
    """Send all that has been written on its way; returns the exit status."""
    try:
        flush()
    except OutputLost as lost:
        lost.status = status
        return given_up(lost)
    return status


def given_up(lost: OutputLost) -> int:
    """Say that output is lost; returns the exit status.

    A reader that has gone had enough: that is no failure. Nor is it, of this command, if the flow has failed.
    """
    if not lost.has_no_reader:
        say(f"cascade: {lost}")
    if sys.stdout is not None:
        # Python writes what is left once more when it ends, and would complain.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return lost.status or (0 if lost.has_no_reader else EXIT_USAGE)
