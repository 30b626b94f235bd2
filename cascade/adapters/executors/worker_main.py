"""The program of a worker process: makes the calls that its parent sends, one after another."""

from __future__ import annotations

import io
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from cascade.adapters.executors.frames import HEADER, Buffer, Caller, Kind, Start, frame, send_some
from cascade.adapters.executors.parent import end_with_parent
from cascade.adapters.serialization.calls import FarAttempt, Refusal, Returned, perform
from cascade.adapters.serialization.context import Variables
from cascade.adapters.serialization.functions import Reference
from cascade.adapters.serialization.logs import Levels, LogForwarder, apply_levels, undoing_configuration
from cascade.adapters.serialization.main_module import ALIAS, MainModule
from cascade.adapters.serialization.values import dumps, shortened

# Bytes of text without an end of line that are kept back for more.
_LINE: Final = 1 << 13


class Channel:
    """The socket to the parent process.

    Frames and what is written to the file descriptors 1 and 2 arrive in their order. In a forked child of this
    process the channel is closed: text goes to the file descriptors, and other frames are dropped.

    Attributes:
        is_forked: Whether this process is a forked child.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.is_forked: bool = False
        self._connection = connection
        self._file = connection.makefile("rb")
        self._lock = threading.RLock()
        self._text = bytearray()
        self._kind = Kind.STDOUT
        self._frames: deque[tuple[Kind, Buffer]] = deque()
        self._is_sending = False
        self._mark = b""
        self._pipes: Sequence[int] = ()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._leave
            )

    def mark_pipes(self, mark: bytes) -> None:
        """From now on, write *mark* to the file descriptors 1 and 2 before each frame; if empty, write nothing."""
        self._mark = mark
        # Duplicates, as the user's code may redirect the file descriptors 1 and 2.
        self._pipes = [os.dup(fd) for fd in (1, 2)] if mark else ()

    def receive(self) -> tuple[Kind, bytes] | None:
        """The next frame; ``None`` if no more will come."""
        header = self._file.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        kind, size = HEADER.unpack(header)
        data = self._file.read(size)
        return (Kind(kind), data) if len(data) == size else None

    def send(self, kind: Kind, data: Buffer) -> None:
        """Send a frame, after all text. Ends the process if the parent is gone."""
        with self._lock:
            self.flush()
            self._put(kind, data)

    def write(self, kind: Kind, text: bytes) -> None:
        """Send *text* at the next end of line, or before the next frame of another kind."""
        with self._lock:
            if self.is_forked:
                _write_all(1 if kind is Kind.STDOUT else 2, text)
                return
            if kind is not self._kind:
                self.flush()
                self._kind = kind
            self._text += text
            if text.endswith(b"\n") or len(self._text) > _LINE:
                self.flush()

    def flush(self) -> None:
        """Send the text that was kept back."""
        with self._lock:
            if self._text:
                text, self._text = self._text, bytearray()
                self._put(self._kind, text)

    def _put(self, kind: Kind, data: Buffer) -> None:
        self._frames.append((kind, data))
        if self._is_sending or self.is_forked:
            return  # a signal handler or finalizer writes while a frame is sent; the loop there sends this one
        self._is_sending = True
        try:
            while self._frames:
                for fd in self._pipes:
                    _write_all(fd, self._mark)
                pieces = frame(*self._frames.popleft())
                while pieces:
                    send_some(self._connection, pieces)
        except OSError:
            os._exit(1)
        finally:
            self._is_sending = False

    def _leave(self) -> None:
        """In a forked child: close its copy of the channel."""
        self.is_forked = True
        self._lock = threading.RLock()
        self._connection.close()
        for fd in self._pipes:
            os.close(fd)


def _write_all(fd: int, data: Buffer) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class StandardStream(io.RawIOBase):
    """The raw stream of ``sys.stdout`` or ``sys.stderr``: sends what is written to the parent."""

    def __init__(self, channel: Channel, kind: Kind) -> None:
        super().__init__()
        self._channel = channel
        self._kind = kind
        self.name = "<stdout>" if kind is Kind.STDOUT else "<stderr>"
        self.mode = "wb"

    def writable(self) -> bool:
        """Always ``True``."""
        return True

    def fileno(self) -> int:
        """The file descriptor 1 or 2, for child processes."""
        return 1 if self._kind is Kind.STDOUT else 2

    def write(self, data: Any, /) -> int:
        """Send *data*."""
        text = bytes(data)
        self._channel.write(self._kind, text)
        return len(text)

    def flush(self) -> None:
        """Send the text that was kept back."""
        self._channel.flush()


class WorkerLog(LogForwarder):
    """Sends log records to the parent; in a forked child, prints warnings and errors."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(lambda data: channel.send(Kind.RECORD, data))
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send or print *record*."""
        last_resort = logging.lastResort
        if not self._channel.is_forked:
            super().emit(record)
        elif last_resort is not None and record.levelno >= last_resort.level:
            last_resort.emit(record)


class Server:
    """Makes the calls that come over a channel, and sends the answers."""

    def __init__(self, channel: Channel, main: MainModule | None) -> None:
        self._channel = channel
        # The script, until it is loaded.
        self._main = main
        self._caller = Caller(Variables(), Levels(0, {}))
        self._call: tuple[Reference, tuple[Any, ...] | None] = (b"", None)
        self._arguments = b""

    def load_main(self) -> str | None:
        """Load the script, unless it is loaded; returns why it cannot be loaded, or ``None``."""
        main, self._main = self._main, None
        try:
            if main is not None:
                with undoing_configuration():
                    main.load()
        except (Exception, SystemExit) as error:  # the script is the user's, and may raise anything
            return shortened(error)
        return None

    def serve(self) -> None:
        """Answer until the channel ends."""
        while (received := self._channel.receive()) is not None:
            kind, data = received
            if kind is Kind.CALLER:
                previous, self._caller = self._caller, pickle.loads(data)
                apply_levels(self._caller.levels, previous.levels)
            elif kind is Kind.CALL:
                self._call = pickle.loads(data)
            else:
                self._arguments = data
                del received, data  # large arguments are not kept in memory while the function runs
                self._channel.send(*self._answer())

    def _load_arguments(self) -> Any:
        data, self._arguments = self._arguments, b""
        return pickle.loads(data)

    def _answer(self) -> tuple[Kind, Buffer]:
        function, attempt = self._call
        is_of_main = isinstance(function, tuple) and function[0] in ("__main__", ALIAS)
        problem = self.load_main() if is_of_main else None
        if problem is not None:
            return Kind.REFUSAL, pickle.dumps(Refusal("function", problem))
        answer = perform(
            function,
            self._load_arguments,
            self._caller.variables,
            None if attempt is None else FarAttempt(*attempt),
        )
        if self._channel.is_forked:
            os._exit(0)  # the function has forked, and this is the child, which has no one to answer
        if isinstance(answer, Refusal):
            return Kind.REFUSAL, pickle.dumps(answer)
        if isinstance(answer, Returned):
            try:
                return Kind.RESULT, dumps(answer.value)
            except Exception as error:  # pickling runs the value's __reduce__, which may raise anything
                return Kind.UNSENDABLE, shortened(error).encode("utf-8", "backslashreplace")
        return Kind.ERROR, pickle.dumps(answer)


def main(parent: int) -> None:
    """Run the worker process of the process with the id *parent*, until that closes the channel."""
    connection = _connection()
    end_with_parent(parent, connection)
    _ignore_interrupts()
    channel = Channel(connection)
    received = channel.receive()
    if received is None:
        return
    start: Start = pickle.loads(received[1])
    channel.mark_pipes(start.mark)
    for kind in (Kind.STDOUT, Kind.STDERR):
        stream = io.TextIOWrapper(
            StandardStream(channel, kind),  # a raw stream is enough, as with python -u
            encoding="utf-8",
            errors="surrogateescape",
            newline="\n",
            write_through=True,
        )
        name = "stdout" if kind is Kind.STDOUT else "stderr"
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    logging.root.addHandler(WorkerLog(channel))
    sys.argv[:] = start.argv
    server = Server(channel, start.main)
    problem = None if start.main is None or start.main.is_program else server.load_main()
    if problem is None:
        channel.send(Kind.READY, b"")
    else:
        channel.send(Kind.UNLOADABLE, problem.encode("utf-8", "backslashreplace"))
    server.serve()


def _connection() -> socket.socket:
    """The channel, which is the standard input; children get an empty one instead."""
    if sys.platform == "win32":  # pragma: no cover
        return socket.fromshare(sys.stdin.buffer.read())
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return connection


def _ignore_interrupts() -> None:
    """Ignore SIGINT: a terminal sends Ctrl-C to all processes, and the parent decides what to do about it.

    Programs that tasks start get it as usual.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: None)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
