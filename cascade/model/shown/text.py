"""Text as people are shown it: on one line, in columns, in a natural order, with durations that can be read; and
short previews of values."""

from __future__ import annotations

import math
import re
import time
import unicodedata
from typing import Any, Final

from cascade.model.shown.secrets import Secrets, secrets_in_force

_DIGITS: Final = re.compile(r"(\d+)", re.ASCII)
# Of spans of time: seconds in a large and a small unit, up to how many seconds these are used, and their names.
_SPANS: Final = (
    (60, 1, 3600, ("min", "s")),
    (3600, 60, 86_400, ("h", "min")),
    (86_400, 3600, math.inf, ("d", "h")),
)


def one_line(text: str) -> str:
    r"""*text* in a form that stays on its line and cannot steer a terminal.

    Each character that is not printable appears as Python writes it (``\n``, ``\x1b``, ``\u202e``, ``\udc80``):
    control characters, line breaks of every kind, marks that reverse the direction of reading, lone surrogates.
    All text that is not our own goes through here on its way to a terminal, a log line or a table.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def encodable(text: str) -> str:
    r"""*text* as UTF-8 can say it: lone surrogates, as in file names that are no text, appear as ``\udce9``."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def columns(text: str) -> int:
    """How many columns of a terminal *text*, which is one line, takes."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def fitted(text: str, width: int) -> str:
    """*text*, cut to *width* columns; what is cut ends in three dots."""
    if columns(text) <= width:
        return text
    dots = "..."[:width]
    left = width - len(dots)
    end = 0
    for letter in text:
        left -= _columns(letter)
        if left < 0:
            break
        end += 1
    return text[:end] + dots


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key for sorting in which ``fetch#2`` comes before ``fetch#10``."""
    parts = _DIGITS.split(text)
    # Compared by length first, numbers need no conversion, which refuses long ones.
    numbers = (part.lstrip("0") for part in parts[1::2])
    keys = [(0, part) for part in parts]
    keys[1::2] = [(len(number), number) for number in numbers]
    return tuple(keys)


def duration(seconds: float) -> str:
    """*seconds* for people: ``40 ms``, ``2.5 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if not 0 <= seconds < math.inf:  # from another process it may be anything
        return "?"
    if seconds < 0.9995:
        return "<1 ms" if 0 < seconds < 0.0005 else f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    large, small, _, names = next(span for span in _SPANS if round(seconds / span[1]) * span[1] < span[2])
    many, few = divmod(round(seconds / small), large // small)
    return f"{many} {names[0]} {few} {names[1]}" if few else f"{many} {names[0]}"


def moment(seconds: float) -> str:
    """A moment, in seconds since the epoch, as local date and time."""
    return _local("%Y-%m-%d %H:%M:%S", seconds)


def minute(seconds: float) -> str:
    """A moment as local date and time, without seconds."""
    return _local("%Y-%m-%d %H:%M", seconds)


def clock(seconds: float) -> str:
    """A moment, in seconds since the epoch, as local time of day."""
    return _local("%H:%M:%S", seconds)


def _local(form: str, seconds: float) -> str:
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # from another process it may be any number
        return "?"


def counted(number: int, noun: str) -> str:
    """*number* with *noun*, which takes an s: ``1 node``, ``2 nodes``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


# -- values ------------------------------------------------------------------------------------------------------

# Characters of a preview, at most.
_PREVIEWED: Final = 100


def preview(value: Any) -> str:
    """``repr`` of *value*, cut to 100 characters, without the secrets of the run around; never raises."""
    secrets = secrets_in_force()
    # A secret that is cut in two would not be found: so much more is looked at, and left out.
    slack = 0 if secrets is None else secrets.longest
    head: object = value
    # Subclasses may have a repr, or a length, of their own.
    if type(value) in (list, tuple, str, bytes) and len(value) > _PREVIEWED + slack:
        # Each item shows as at least one character, so the rest could not show anyway.
        head = value[: _PREVIEWED + slack]
    try:
        text = repr(head)
    except Exception as error:  # a value that cannot show itself must not fail the node that made it
        text = f"<{type(value).__name__}: its __repr__ raised {type(error).__name__}>"
    if secrets is not None:
        text = secrets.redact(text)
        text = text if head is value else text[: max(len(text) - slack, 0)]
    return text if len(text) <= _PREVIEWED and head is value else text[: _PREVIEWED - 3] + "..."


def without_secrets(value: Any, secrets: Secrets) -> Any:
    """*value*, a parameter of a run, as it may be shown: texts in it without *secrets*."""
    if value is None or isinstance(value, bool):
        return value
    if type(value) is str:
        return secrets.redact(value)
    if type(value) in (list, tuple):
        return type(value)(without_secrets(item, secrets) for item in value)
    if type(value) is dict:
        return {name: without_secrets(item, secrets) for name, item in value.items()}
    try:
        text = repr(value)
    except Exception:  # a __repr__ that raises shows no secret
        return value
    return value if secrets.redact(text) == text else preview(value)
