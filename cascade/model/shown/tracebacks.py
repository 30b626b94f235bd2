"""Tracebacks without the frames of this library, which say nothing to who reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from traceback import TracebackException
from types import TracebackType
from typing import Final

from cascade.model.shown.raised import describe

# Set to anything but 0, it has all frames shown.
_FULL: Final = "CASCADE_FULL_TRACEBACK"
# Frames in a text, the innermost ones, so that endless recursion costs little.
_MOST_FRAMES: Final = 200
# What the names of files that there are not begin with, if the library has written what would be in them.
WRITTEN: Final = "<cascade "
_HOME: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


class TrimmedTraceback:
    """A context manager for public functions: what leaves it has no frames of ours in its traceback.

    Where all frames are ours, the innermost one stays: it says what was wrong with what we were given.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            trim(error)


def trim(error: BaseException) -> None:
    """Take our frames out of the tracebacks of *error*, its parts, its causes and its contexts.

    Does nothing if all frames are to be shown.
    """
    if _shows_all():
        return
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        _trim_one(part)
        pending += [part.__cause__, part.__context__]
        if isinstance(part, BaseExceptionGroup):
            pending += part.exceptions


def text_of(error: BaseException) -> str:
    """The traceback of *error* as text, with causes and contexts, and without frames of ours. Never raises.

    Where all frames are ours, the innermost one stays. Secrets are in it.
    """
    try:
        shown = TracebackException.from_exception(error, limit=-_MOST_FRAMES)
        if not _shows_all():
            _trim_shown(shown)
        text = "".join(shown.format())
    except Exception:  # an exception may be of any class, and have anything in it
        text = describe(error)
    return text.rstrip("\n")


def _trim_shown(shown: TracebackException) -> None:
    pending, seen = [shown], set[int]()
    while pending:
        part = pending.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        # The note of an error from another process has the frames of that process.
        kept = [] if getattr(part, "__notes__", None) else part.stack[-1:]
        part.stack[:] = [frame for frame in part.stack if not is_ours(frame.filename)] or kept
        pending += [other for other in (part.__cause__, part.__context__) if other is not None]
        pending += part.exceptions or ()


def _shows_all() -> bool:
    return os.environ.get(_FULL, "0") not in ("", "0")


def is_ours(file: str) -> bool:
    """Whether *file* belongs to this library."""
    return file.startswith((_HOME, WRITTEN))


def _trim_one(error: BaseException) -> None:
    steps = list(_steps(error.__traceback__))
    kept = [step for step in steps if not is_ours(step.tb_frame.f_code.co_filename)]
    if len(kept) == len(steps):
        return
    traceback: TracebackType | None = None
    for step in reversed(kept or steps[-1:]):
        line: int | None = step.tb_lineno  # None where an interrupt struck between two lines
        traceback = TracebackType(traceback, step.tb_frame, step.tb_lasti, -1 if line is None else line)
    # As the interpreter does it: past __setattr__, in which frozen exceptions refuse.
    BaseException.__dict__["__traceback__"].__set__(error, traceback)


def _steps(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


trimmed: Final = TrimmedTraceback()
