"""Output of a worker process and its children, and the standard streams on which it is shown."""

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

# Bytes that a pipe holds by default, and bytes that a pipe of an ordinary user holds at most.
_PIPE: Final = 1 << 16
_LARGEST_PIPE: Final = 1 << 20
# A mark begins with this byte, and has it nowhere else.
_START_OF_MARK: Final = b"\0"


def new_mark() -> bytes:
    """Bytes that no program writes by chance; few enough to be written to a pipe in one piece."""
    return _START_OF_MARK + os.urandom(8).hex().encode()


@attrs.define(eq=False)
class MarkedPipe:
    """The reading end of a pipe, with marks in what comes out of it.

    Attributes:
        fd: Its file descriptor, which does not block.
        stream: The stream of the worker at the other end.
        mark: The bytes of a mark.
    """

    fd: int
    stream: Stream
    mark: bytes
    # The text before, between and after the marks that have been read and not passed.
    _texts: deque[bytes] = attrs.field(factory=lambda: deque([b""]))
    # The last bytes, if a mark may begin with them.
    _rest: bytes = b""

    def read(self) -> bool:
        """Take in some of what is there; returns whether more may come."""
        try:
            data = os.read(self.fd, _PIPE)
        except BlockingIOError:
            return True
        self.feed(data)
        return bool(data)

    def read_last(self) -> None:
        """Take in what is there when the worker has ended. Reads once, as its children may go on writing."""
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
        """Note that nothing more will come, so that no further mark begins."""
        self._texts[-1] += self._rest
        self._rest = b""

    def take(self) -> bytes:
        """The text before the next mark; it is returned once."""
        text = self._texts[0]
        self._texts[0] = b""
        return text

    @property
    def is_at_mark(self) -> bool:
        """Whether a mark comes next, after the text that :meth:`take` returns."""
        return len(self._texts) > 1

    def pass_mark(self) -> None:
        """Go on after the mark, if one comes next."""
        if len(self._texts) > 1:
            self._texts.popleft()


@attrs.define(eq=False)
class Screen:
    """Writes to the present ``sys.stdout`` and ``sys.stderr``."""

    # One for each stream, as a character may come in two pieces.
    _decoders: dict[Stream, codecs.IncrementalDecoder] = attrs.field(init=False)
    # The stream that was written to last, unless it has been flushed.
    _open: Stream | None = None

    def __attrs_post_init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": make("surrogateescape"), "stderr": make("surrogateescape")}

    def write(self, name: Stream, data: Buffer) -> None:
        """Write *data*; a character that the stream cannot encode is written as an escape.

        Raises:
            Exception: Whatever the stream raises, as for ``print``.
        """
        if self._open not in (None, name):
            self.flush()  # both streams may lead to the same terminal or file, which has to show their order
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
        """Flush the stream that was written to last."""
        if self._open is not None:
            name, self._open = self._open, None
            stream = getattr(sys, name)
            if hasattr(stream, "flush"):
                stream.flush()
