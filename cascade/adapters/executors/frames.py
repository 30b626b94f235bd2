"""Messages between this process and a worker process: a kind, a length and bytes, over a stream of bytes."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import attrs

from cascade.adapters.serialization.context import Variables
from cascade.adapters.serialization.logs import Levels
from cascade.adapters.serialization.main_module import MainModule

HEADER: Final = struct.Struct("!BQ")
# Frames that are longer are received in their place, and not copied out of a buffer.
_LARGE: Final = 1 << 16

Buffer = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a frame is. The first four go to the worker, the others come from it."""

    START = 0  # a pickled Start
    CALLER = 1  # a pickled Caller, which holds for all calls that follow
    CALL = 2  # a pickled pair: reference to the function, what makes a FarAttempt or None
    ARGUMENTS = 3  # of the call before
    READY = 4  # empty: the worker has started
    UNLOADABLE = 5  # text: why it has not
    STDOUT = 6
    STDERR = 7
    RECORD = 8  # of logging
    RESULT = 9
    ERROR = 10  # a pickled FarError
    REFUSAL = 11  # a pickled Refusal
    UNSENDABLE = 12  # text: why the result cannot be sent


@attrs.frozen
class Start:
    """What a worker process is told first.

    Attributes:
        mark: Separates what was written to its file descriptors 1 and 2 before a frame from what was written after
            it; empty if nobody looks for marks there.
        argv: The arguments of the program.
        main: The script to load.
    """

    mark: bytes
    argv: Sequence[str]
    main: MainModule | None


@attrs.frozen(eq=False)
class Caller:
    """What calls take along from where the flow was run."""

    variables: Variables
    levels: Levels


def frame(kind: Kind, data: Buffer) -> list[memoryview]:
    """The pieces of a frame, for :func:`send_some`."""
    return [memoryview(HEADER.pack(kind, len(data))), memoryview(data)]


def send_some(channel: socket.socket, pieces: list[memoryview]) -> None:
    """Send as much of *pieces* as goes in one call of the system, and take that away from them.

    Raises:
        BlockingIOError: If nothing can be sent at the moment.
        OSError: If nobody is there to take it.
    """
    # Together: each send may wake the other process, which then finds that there is more to come.
    count = channel.sendmsg(pieces) if sys.platform != "win32" else channel.send(pieces[0])
    while pieces and count >= len(pieces[0]):
        count -= len(pieces.pop(0))
    if count:
        pieces[0] = pieces[0][count:]


@attrs.define(eq=False)
class FrameBuffer:
    """Frames, put together from pieces of any size."""

    # As long as all of a large frame, once that has begun: it is received in its place, and never moved.
    _received: bytearray = attrs.field(factory=bytearray)
    # How much of that has been received.
    _filled: int = 0

    def feed(self, data: Buffer) -> None:
        """Take in more of the stream."""
        space = self.space()
        if space is not None:
            count = min(len(space), len(data))
            space[:count] = data[:count]
            space.release()
            self.fill(count)
            data = data[count:]
        self._received += data
        self._filled += len(data)

    def space(self) -> memoryview | None:
        """Where the rest of a large frame goes that has begun; to be released before anything else is called.

        ``None`` if there is no such frame.
        """
        if self._filled < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._received)[1]
        if self._filled >= end or end <= _LARGE:
            return None
        if len(self._received) < end:
            whole = bytearray(end)
            whole[: self._filled] = self._received
            self._received = whole
        return memoryview(self._received)[self._filled :]

    def fill(self, count: int) -> None:
        """Say that *count* bytes have been put into :meth:`space`."""
        self._filled += count

    def take(self) -> tuple[Kind, Buffer] | None:
        """The next frame, if all of it is there."""
        received = self._received
        if self._filled < HEADER.size:
            return None
        kind, size = HEADER.unpack_from(received)
        end = HEADER.size + size
        if self._filled < end:
            return None
        self._filled -= end
        if not self._filled and size > _LARGE:  # not worth a copy, and there may be no room for one
            self._received = bytearray()
            return Kind(kind), memoryview(received)[HEADER.size :]
        data = bytes(received[HEADER.size : end])
        del received[:end]
        return Kind(kind), data
