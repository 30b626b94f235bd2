"""Writes text to where a user says: into a file, all of it or nothing, or into a pipe, device or stream."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

# How streams that this process has open are called, besides by their numbers.
_STREAMS: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED: Final = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})", re.ASCII)


def write_whole(path: Path, text: str) -> None:
    """Put *text* into a file for this user only, in the place of one that is there.

    A symbolic link stays, and the file to which it leads is replaced. What is there and is no file, such as a pipe
    or ``/dev/stdout``, is written to.

    Raises:
        OSError: If it cannot be written.
    """
    stream = _stream_at(path)
    if stream is not None:
        with os.fdopen(stream, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return
    place = os.path.realpath(path)
    # Beside the file, so that it can take its place; mkstemp makes it for this user only.
    handle, made = tempfile.mkstemp(dir=os.path.dirname(place), prefix=".", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        os.replace(made, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(made)
        raise


def _stream_at(path: Path) -> int | None:
    """A descriptor of what is at *path*; ``None`` if that is a file, or nothing."""
    # The file that a shell opened for us may not be opened anew: it would be written from its beginning.
    numbered = _NUMBERED.fullmatch(str(path))
    number = int(numbered[1]) if numbered is not None else _STREAMS.get(str(path))
    if number is not None:
        return os.dup(number)
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return None
    return None if is_file else os.open(path, os.O_WRONLY)
