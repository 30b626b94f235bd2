"""Tracebacks as text, without frames of ours and without secrets."""

from __future__ import annotations

import os
import traceback
from typing import Final

from cascade.model.shown.raised import describe
from cascade.model.shown.secrets import redacted
from cascade.model.shown.tracebacks import FULL, is_ours

# Characters of a traceback that are shown, and how many of them are of its beginning if it is longer.
LONGEST: Final = 8192
_HEAD: Final = 2048
_MOST_FRAMES: Final = 200


def traceback_of(error: BaseException) -> str:
    """The traceback of *error*, cut to 8192 characters in the middle; of other frames, the innermost one of ours.

    Never raises.
    """
    try:
        shown = traceback.TracebackException.from_exception(error, limit=-_MOST_FRAMES)
        if os.environ.get(FULL, "0") in ("", "0"):
            _trim(shown)
        text = "".join(shown.format())
    except Exception:  # an exception may be of any class, and have anything in it
        text = describe(error)
    text = redacted(text.rstrip("\n"))
    return text if len(text) <= LONGEST else f"{text[:_HEAD]}\n  ... (cut here) ...\n{text[_HEAD - LONGEST :]}"


def _trim(shown: traceback.TracebackException) -> None:
    pending, seen = [shown], set[int]()
    while pending:
        part = pending.pop()
        if id(part) not in seen:
            seen.add(id(part))
            part.stack[:] = [frame for frame in part.stack if not is_ours(frame.filename)] or part.stack[-1:]
            pending += [other for other in (part.__cause__, part.__context__) if other is not None]
            pending += part.exceptions or ()
