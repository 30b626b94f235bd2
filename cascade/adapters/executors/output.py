"""Output of a worker process: what it and its children write to the file descriptors 1 and 2."""

from __future__ import annotations

import codecs
import os
import sys
from collections import deque
from contextlib import suppress
from typing import Final, Literal

import attrs

from cascade.adapters.executors.frames import Buffer

Stream = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, ...]] = ("stdout", "stderr")

# As much as a pipe holds, unless it was made larger than an ordinary user may make one.
_PIPE: Final = 1 << 16
_LARGEST_PIPE: Final = 1 << 20
# Marks begin with a byte that is in no other place of them.
_START_OF_MARK: Final = b"\0"


def new_mark() -> bytes:
    """Bytes that nobody writes by chance; few enough for a pipe to take them in one piece."""
    return _START_OF_MARK + os.urandom(8).hex().encode()


@attrs.define(eq=False)
class MarkedPipe:
    """The reading end of a pipe, with marks in what comes out of it.

    Attributes:
        fd: Its file descriptor, which does not block.
        stream: What the other end is to the worker.
        mark: The bytes of a mark.
    """

    fd: int
    stream: Stream
    mark: bytes
    # What stands before, between and behind the marks that have been read and not been passed.
    _texts: deque[bytes] = attrs.field(factory=lambda: deque([b""]))
    # What may be the beginning of a mark.
    _rest: bytes = b""

    def read(self) -> bool:
        """Take in what is there, or some of it; returns whether there may be more later."""
        try:
            data = os.read(self.fd, _PIPE)
        except BlockingIOError:
            return True
        self.feed(data)
        return bool(data)

    def read_last(self) -> None:
        """Take in what is there at the end of the worker, whose children may go on writing."""
        with suppress(BlockingIOError):
            self.feed(os.read(self.fd, _LARGEST_PIPE))
        self.finish()

    def feed(self, data: bytes) -> None:
        """Take in *data*."""
        first, *others = (self._rest + data).split(self.mark)
        self._texts[-1] += first
        self._texts.extend(others)
        last = self._texts[-1]
        start = last.rfind(_START_OF_MARK, max(0, len(last) - len(self.mark) + 1))
        has_begun = start >= 0 and self.mark.startswith(last[start:])
        self._rest = last[start:] if has_begun else b""
        if has_begun:
            self._texts[-1] = last[:start]

    def finish(self) -> None:
        """Nothing more will come: what looks like the beginning of a mark is none."""
        self._texts[-1] += self._rest
        self._rest = b""

    def take(self) -> bytes:
        """What stands before the next mark."""
        text = self._texts[0]
        self._texts[0] = b""
        return text

    @property
    def is_at_mark(self) -> bool:
        """Whether a mark is next, once :meth:`take` has been called."""
        return len(self._texts) > 1

    def pass_mark(self) -> None:
        """Go on behind the mark."""
        if len(self._texts) > 1:
            self._texts.popleft()


@attrs.define(eq=False)
class Screen:
    """Writes to what ``sys.stdout`` and ``sys.stderr`` are at the moment."""

    # Characters may be cut in two on their way.
    _decoders: dict[Stream, codecs.IncrementalDecoder] = attrs.field(init=False)
    # What has been written to and not flushed.
    _open: Stream | None = None

    def __attrs_post_init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": make("surrogateescape"), "stderr": make("surrogateescape")}

    def write(self, name: Stream, data: Buffer) -> None:
        """Write *data*; what the stream cannot encode is written as an escape.

        Raises:
            Exception: Whatever the stream raises, as ``print`` would.
        """
        if self._open not in (None, name):
            self.flush()  # both may lead to the same place, where the order is to be seen
        stream = getattr(sys, name)
        text = self._decoders[name].decode(data)
        if stream is None or not text:
            return
        try:
            stream.write(text)
        except UnicodeEncodeError as error:
            stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        self._open = name

    def flush(self) -> None:
        """Have what was written be seen."""
        if self._open is not None:
            name, self._open = self._open, None
            stream = getattr(sys, name)
            if hasattr(stream, "flush"):
                stream.flush()
