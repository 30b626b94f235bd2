"""Messages between this process and a worker process. A frame is a kind, a length and that many bytes."""

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
# Longer frames are received into a buffer of their own, so that they are not copied.
_LARGE: Final = 1 << 16

Buffer = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a frame holds. The first four kinds go to the worker, the others come from it."""

    START = 0  # a pickled Start
    CALLER = 1  # a pickled Caller, for all calls that follow
    CALL = 2  # a pickled pair: reference to the function, fields of a FarAttempt or None
    ARGUMENTS = 3  # the pickled arguments of the last CALL
    READY = 4  # empty: the worker has started
    UNLOADABLE = 5  # text: why it has not
    STDOUT = 6
    STDERR = 7
    RECORD = 8  # a log record, for handle_record
    RESULT = 9  # the pickled result
    ERROR = 10  # a pickled FarError
    REFUSAL = 11  # a pickled Refusal
    UNSENDABLE = 12  # text: why the result cannot be sent


@attrs.frozen
class Start:
    """The first message to a worker process.

    Attributes:
        mark: Bytes to write to the file descriptors 1 and 2 before each frame, so that output is shown in its
            order; empty for no marks.
        argv: The value of ``sys.argv``.
        main: The script to load; ``None`` if there is none.
    """

    mark: bytes
    argv: Sequence[str]
    main: MainModule | None


@attrs.frozen(eq=False)
class Caller:
    """The context variables and log levels of the code that runs the flow."""

    variables: Variables
    levels: Levels


def frame(kind: Kind, data: Buffer) -> list[memoryview]:
    """The pieces of a frame, for :func:`send_some`."""
    return [memoryview(HEADER.pack(kind, len(data))), memoryview(data)]


def send_some(channel: socket.socket, pieces: list[memoryview]) -> None:
    """Send as much of *pieces* as one system call takes, and remove that from *pieces*.

    Raises:
        BlockingIOError: If nothing can be sent at the moment.
        OSError: If the other process is gone.
    """
    # All pieces in one call: each send may wake the other process, which would find half a frame.
    count = channel.sendmsg(pieces) if sys.platform != "win32" else channel.send(pieces[0])
    while pieces and count >= len(pieces[0]):
        count -= len(pieces.pop(0))
    if count:
        pieces[0] = pieces[0][count:]


@attrs.define(eq=False)
class FrameBuffer:
    """Puts frames together from pieces of any size."""

    # Once a large frame has begun, as long as that frame, so that its bytes are never moved.
    _received: bytearray = attrs.field(factory=bytearray)
    # Bytes of it that have been received.
    _filled: int = 0

    def feed(self, data: Buffer) -> None:
        """Take in the next bytes of the stream."""
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
        """Where to receive the rest of a large frame that has begun; ``None`` if there is no such frame.

        The caller releases it before it calls any other method.
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
        """Note that *count* bytes have been received into :meth:`space`."""
        self._filled += count

    def take(self) -> tuple[Kind, Buffer] | None:
        """The next frame; ``None`` if it is not complete."""
        received = self._received
        if self._filled < HEADER.size:
            return None
        kind, size = HEADER.unpack_from(received)
        end = HEADER.size + size
        if self._filled < end:
            return None
        self._filled -= end
        if not self._filled and size > _LARGE:  # not copied: that takes time, and the memory may not suffice
            self._received = bytearray()
            return Kind(kind), memoryview(received)[HEADER.size :]
        data = bytes(received[HEADER.size : end])
        del received[:end]
        return Kind(kind), data
