"""Lines for people on text streams: escaped, and coloured on terminals."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, Final, Literal

import attrs

from cascade.model.shown.text import one_line

Style = Literal["plain", "bold", "dim", "red", "green", "yellow", "cyan"]

# Select Graphic Rendition: ECMA-48, 8.3.117.
_CODES: Final[dict[Style, str]] = {
    "plain": "", "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36",
}  # fmt: skip


@attrs.frozen
class Span:
    """A part of a line.

    Attributes:
        text: Any text; characters that cannot be printed are escaped when it is written.
        style: How it looks on a stream with colour.
    """

    text: str
    style: Style = "plain"


def is_terminal(stream: IO[str]) -> bool:
    """Whether *stream* is a terminal that can move its cursor and show colour."""
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # it is closed: writing to it raises the same
        return False


def has_colour(stream: IO[str]) -> bool:
    """Whether lines on *stream* are coloured: on terminals, unless ``NO_COLOR`` is set (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def width_of(stream: IO[str]) -> int | None:
    """How many columns *stream* has; ``None`` if it is no terminal."""
    if not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):  # a stream that claims to be a terminal, and is not one of the system
        return None


def write_line(stream: IO[str], *spans: str | Span) -> None:
    """Write *spans* as one line; characters that cannot be printed or encoded are escaped.

    Raises:
        OSError: If the stream cannot be written.
        ValueError: If it is closed.
    """
    stream.write(f"{for_stream(_rendered(spans, is_coloured=has_colour(stream)), stream)}\n")


def _rendered(spans: Iterable[str | Span], *, is_coloured: bool) -> str:
    words = []
    for span in spans:
        shown = one_line(span if isinstance(span, str) else span.text)
        code = "" if isinstance(span, str) or not is_coloured else _CODES[span.style]
        words.append(f"\x1b[{code}m{shown}\x1b[0m" if code and shown else shown)
    return "".join(words)


def for_stream(text: str, stream: IO[str]) -> str:
    """*text*, with characters that *stream* cannot encode escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(stream, "errors", None) or "strict")
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # a stream may claim an encoding that does not exist
        pass
    return text
