"""What comes from a worker process: frames over its channel, and bytes over its pipes."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

import attrs

from cascade.adapters.executors.frames import Buffer, FrameBuffer, Kind
from cascade.adapters.executors.output import MarkedPipe, Screen
from cascade.adapters.serialization.logs import handle_record

# Bytes that are received at a time while it is not known how many there will be.
_CHUNK: Final = 1 << 18


@attrs.define(eq=False)
class Inbox:
    """Reads frames and output without blocking, and shows output and log records in the worker's order.

    Attributes:
        channel: The socket from which frames come.
        pipes: The pipes from its file descriptors 1 and 2; none if it shares those of this process.
        has_ended: Whether nothing more will come through the channel.
    """

    channel: socket.socket
    pipes: Sequence[MarkedPipe]
    has_ended: bool = False
    _received: bytearray = attrs.field(factory=lambda: bytearray(_CHUNK), repr=False)
    _frames: FrameBuffer = attrs.field(factory=FrameBuffer)
    _screen: Screen = attrs.field(factory=Screen)

    def read(self) -> bool:
        """Take in some of what is there; returns whether anything came through the channel."""
        count = 0
        try:
            count = self._receive()
            self.has_ended = not count
        except BlockingIOError:
            pass
        except ConnectionError:
            self.has_ended = True
        for pipe in self.pipes:
            self.has_ended |= not pipe.read()
        return bool(count)

    def _receive(self) -> int:
        space = self._frames.space()
        if space is None:
            count = self.channel.recv_into(self._received)
            with memoryview(self._received) as received:
                self._frames.feed(received[:count])
            return count
        with space:
            count = self.channel.recv_into(space)
        self._frames.fill(count)
        return count

    def answer(self) -> tuple[Kind, Buffer] | None:
        """Show output and records up to the next frame of another kind; that frame, if it is there.

        Raises:
            Exception: Whatever ``sys.stdout``, ``sys.stderr`` or a filter of :mod:`logging` raises.
        """
        try:
            while (taken := self._take()) is not None:
                if not self._show(*taken):
                    return taken
            return None
        finally:
            self._screen.flush()

    def _take(self) -> tuple[Kind, Buffer] | None:
        """The next frame, once everything that the worker wrote before it has been shown."""
        for pipe in self.pipes:
            if text := pipe.take():
                self._screen.write(pipe.stream, text)
        if not all(pipe.is_at_mark for pipe in self.pipes) and not self.has_ended:
            return None
        taken = self._frames.take()
        if taken is not None:
            for pipe in self.pipes:
                pipe.pass_mark()
        return taken

    def _show(self, kind: Kind, data: Buffer) -> bool:
        """Show a frame if it is output or a log record; returns whether it is."""
        if kind is Kind.STDOUT or kind is Kind.STDERR:
            self._screen.write("stdout" if kind is Kind.STDOUT else "stderr", data)
            return True
        if kind is Kind.RECORD:
            self._screen.flush()
            handle_record(bytes(data))
            return True
        return False

    def show_rest(self) -> None:
        """Show what the worker, which has ended, had written; drops frames that would be answers."""
        while self.read():
            pass
        self.has_ended = True
        for pipe in self.pipes:
            pipe.read_last()
        while self.answer() is not None:
            pass
