"""A worker process, as the process that started it sees it."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import spawn
from typing import Any, Final, Self

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter, wait_readable, wait_writable

from cascade.adapters.executors.frames import Buffer, Caller, Kind, Start, frame, send_some
from cascade.adapters.executors.inbox import Inbox
from cascade.adapters.executors.output import STREAMS, MarkedPipe, Stream, new_mark
from cascade.adapters.serialization.main_module import MainModule, answer_to_alias

# Seconds in which a worker can end by itself, to run what it has registered with atexit.
GRACE: Final = 1.0
# sys.path comes as arguments: without it, the worker might find only the standard library.
_BOOTSTRAP: Final = (
    "import sys; _, parent, *sys.path = sys.argv; "
    "from cascade.adapters.executors.worker_main import main; main(int(parent))"
)
# Bytes that either side may send before the other reads; the system may allow fewer.
_SEND_BUFFER: Final = 1 << 20
# Windows can wait for sockets, but not for pipes.
_CAN_WATCH_PIPES: Final = hasattr(selectors.DefaultSelector, "fileno")


class WorkerLostError(Exception):
    """The worker process is gone; the text says when it went. Users never see this error."""


@attrs.define(eq=False)
class Worker:
    """A process that makes one call at a time.

    Attributes:
        process: The process.
        channel: The socket for frames in both directions, which does not block.
        caller: The caller that it was told last; ``None`` if none.
        is_ready: Whether it can be asked: it has started, and has answered everything that it was asked.
    """

    process: subprocess.Popen[bytes]
    channel: socket.socket
    _inbox: Inbox
    # Readable when the channel or one of the pipes is, so that one task can wait for all of them.
    _selector: selectors.BaseSelector | None
    # The file descriptor to wait for.
    _watched: int
    caller: Caller | None = None
    is_ready: bool = False

    @classmethod
    def start(cls) -> Self:
        """Start a process. To be called in the event loop's thread: on Linux, workers end when that thread ends.

        Raises:
            OSError: If the system allows no further process.
        """
        with ExitStack() as on_failure, ExitStack() as always:
            ours, theirs = socket.socketpair()
            on_failure.callback(ours.close)
            always.callback(theirs.close)
            ours.setblocking(False)
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            pipes: list[MarkedPipe] = []
            ends: dict[Stream, int] = {}
            selector = None
            if _CAN_WATCH_PIPES:
                mark = new_mark()
                selector = selectors.DefaultSelector()
                on_failure.callback(selector.close)
                selector.register(ours, selectors.EVENT_READ)
                for stream in STREAMS:
                    read, ends[stream] = os.pipe()
                    on_failure.callback(os.close, read)
                    always.callback(os.close, ends[stream])
                    os.set_blocking(read, False)
                    selector.register(read, selectors.EVENT_READ)
                    pipes.append(MarkedPipe(read, stream, mark))
            process = _spawn(theirs, ends)
            on_failure.pop_all()
        watched: Any = selector or ours
        return cls(process, ours, Inbox(ours, pipes), selector, watched.fileno())

    async def load(self, main: MainModule | None) -> str | None:
        """Make the process ready for calls.

        Returns:
            Why it cannot load *main*; ``None`` if it can.

        Raises:
            WorkerLostError: If the process ends first.
        """
        answer_to_alias()
        pipes = self._inbox.pipes
        mark = pipes[0].mark if pipes else b""
        await self._send(frame(Kind.START, pickle.dumps(Start(mark, sys.argv, main))))
        kind, data = await self._answer("while it started; what it wrote is in sys.stderr")
        self.is_ready = kind is Kind.READY
        return None if self.is_ready else bytes(data).decode()

    async def ask(self, *frames: Sequence[memoryview]) -> tuple[Kind, Buffer]:
        """Send *frames*; returns the frame that answers them, and shows all output that comes before it.

        If cancelled, the worker is not ready any more, and can only be killed.

        Raises:
            WorkerLostError: If the process ends first.
            Exception: Whatever ``sys.stdout``, ``sys.stderr`` or a filter of :mod:`logging` raises.
        """
        self.is_ready = False
        await self._send([piece for pieces in frames for piece in pieces])
        answer = await self._answer("in the middle of the task; give it less to do at a time, or retries")
        self.is_ready = True
        return answer

    async def _send(self, pieces: list[memoryview]) -> None:
        try:
            while pieces:
                try:
                    send_some(self.channel, pieces)
                except BlockingIOError:
                    await wait_writable(self.channel)
        except ConnectionError:
            pass  # it is gone; _answer notices that too, after its last output

    async def _answer(self, when: str) -> tuple[Kind, Buffer]:
        """The next frame that is not output; *when* is the text of the error if the process ends first."""
        while not self._inbox.has_ended:
            await wait_readable(self._watched)
            self._inbox.read()
            answer = self._inbox.answer()
            if answer is not None:
                return answer
        raise WorkerLostError(when)

    # -- its end -------------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Tell the process that no more calls will come, so that it ends by itself."""
        with suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    async def until_ended(self) -> None:
        """Wait until the process has ended, and show what it writes."""
        with suppress(Exception):  # the process ends, or a stream of ours raises: no call is left to raise it
            while True:
                await self._answer("at its end")
        await exited(self.process)

    async def kill(self) -> None:
        """Kill the process, unless it has ended, and show what it had written. Not cancelled before that."""
        if self.channel.fileno() < 0:
            return  # it was killed before
        with CancelScope(shield=True):
            self.process.kill()
            await exited(self.process)
        try:
            self._inbox.show_rest()
        except Exception:  # sys.stdout may be anything; there is another error, or no call left that could raise
            pass
        finally:
            self._close()

    async def fate(self) -> str:
        """How the process ended, which has closed the channel; kills it if it does not end within a second."""
        with CancelScope(shield=True), anyio.move_on_after(GRACE):
            await exited(self.process)
        status = self.process.returncode
        await self.kill()
        if status is None:
            return "closed the channel to this process, as by os.closerange"
        if status >= 0:
            return f"exited with status {status}, as by os._exit"
        if -status == signal.SIGKILL:
            return "was killed by SIGKILL, as by the system when memory runs out"
        known = {number.value: number.name for number in signal.Signals}
        return f"was killed by {known.get(-status, f'signal {-status}')}"

    def _close(self) -> None:
        if self._selector is not None:
            self._selector.close()
        for pipe in self._inbox.pipes:
            os.close(pipe.fd)
        self.channel.close()


async def exited(process: subprocess.Popen[bytes]) -> None:
    """Wait until *process* has ended, and reap it."""
    if process.poll() is not None:
        return
    try:
        fd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # no Linux, or an old one
        await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True, limiter=CapacityLimiter(1))
        return
    try:
        await wait_readable(fd)
    finally:
        os.close(fd)
    process.wait()


def _spawn(channel: socket.socket, ends: Mapping[Stream, int]) -> subprocess.Popen[bytes]:
    """Start an interpreter with *channel* as its standard input."""
    # As multiprocessing does it: options of the command line (-O, -W, -X, -I) hold for workers, too.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    executable = os.fsdecode(spawn.get_executable() or "")
    if not executable:
        raise OSError("sys.executable is not known; say it by multiprocessing.set_executable()")
    command = [executable, *flags, "-c", _BOOTSTRAP, str(os.getpid()), *filter(_is_text, sys.path)]
    if sys.platform == "win32":  # pragma: no cover  # a socket is no file there
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(channel.share(process.pid))
        return process
    with _interrupts_held():
        return subprocess.Popen(
            command, stdin=channel.fileno(), stdout=ends.get("stdout"), stderr=ends.get("stderr")
        )


def _is_text(entry: object) -> bool:
    return isinstance(entry, str)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block SIGINT for a process that starts in the block: Ctrl-C would print a traceback while Python starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
