"""Messages between this process and a worker process: a kind, a length and bytes, over a stream of bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import attrs

from cascade.adapters.serialization.context import Variables
from cascade.adapters.serialization.logs import Levels
from cascade.adapters.serialization.main_module import MainModule

HEADER: Final = struct.Struct("!BQ")
# Frames that fit are sent in one piece.
SMALL: Final = 1 << 16

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


def frame(kind: Kind, data: Buffer) -> list[Buffer]:
    """The pieces of a frame, each to be sent whole."""
    header = HEADER.pack(kind, len(data))
    return [header + data] if len(data) <= SMALL else [header, data]


@attrs.define(eq=False)
class FrameBuffer:
    """Frames, put together from pieces of any size."""

    _received: bytearray = attrs.field(factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Take in more of the stream."""
        self._received += data

    @property
    def missing(self) -> int:
        """How many bytes are still to come of the frame that has begun; 0 if that is not known."""
        if len(self._received) < HEADER.size:
            return 0
        size: int = HEADER.unpack_from(self._received)[1]
        return max(HEADER.size + size - len(self._received), 0)

    def take(self) -> tuple[Kind, Buffer] | None:
        """The next frame, if all of it is there."""
        received = self._received
        if len(received) < HEADER.size:
            return None
        kind, size = HEADER.unpack_from(received)
        end = HEADER.size + size
        if len(received) < end:
            return None
        if len(received) == end and size > SMALL:  # not worth a copy, and there may be no room for one
            self._received = bytearray()
            return Kind(kind), memoryview(received)[HEADER.size :]
        data = bytes(received[HEADER.size : end])
        del received[:end]
        return Kind(kind), data
