"""An SQLite file in use: waited for while others write to it, and missed when it is no longer where it was.

SQLite's own busy handler is off: no thread waits for another program, and whatever is called may be called again.

SQLite goes on writing to a file that has no name any more, and reports success. So after each commit the device
and inode of the path are compared with those that were opened.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Final, TypeVar

import anyio
import attrs
from anyio import CancelScope, CapacityLimiter, current_time

from cascade.adapters import sqlite_file
from cascade.adapters.sqlite_file import WITHOUT_FILE, connect, is_busy
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.runtime.foundation.threads import LoopLimiter, in_thread

T = TypeVar("T")

# Seconds between two tries while the file is locked: the first pause, and the longest.
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
# How often a file may be replaced while it is being opened.
_MOST_OPENINGS: Final = 10
# Threads are bounded by the turns of each file; this bounds nothing.
_THREADS = LoopLimiter(math.inf)

# Device and inode: what a path leads to.
Place = tuple[int, int]


class FileReplacedError(StateError):
    """The file at the path is no longer the one that was opened. To everybody else it is a :class:`StateError`."""


def _place(path: str) -> Place | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


@attrs.define(eq=False)
class _Opened:
    """A connection, and the files that it has open.

    Attributes:
        connection: The connection.
        places: By path, what was there when it was opened; ``None``: nothing, so far.
    """

    connection: sqlite3.Connection
    places: dict[str, Place | None]

    def missing(self) -> str | None:
        """The path of a file that is not where it was; ``None`` if all are there."""
        for path, place in self.places.items():
            now = _place(path)
            if place is None:
                self.places[path] = now  # SQLite makes its further files when it needs them first
            elif now != place:
                return path
        return None


@attrs.define(eq=False)
class SQLiteFile:
    """An SQLite file, opened when it is used first, whose users take turns.

    What is done with it happens in worker threads, one call at a time and in order. While another connection is in
    the way a call is tried again; between two tries it can be cancelled, and no thread waits.

    Args:
        path: The file, as seen from the present working directory.
        prepare: Called with each new connection, before anything else is done with it.
        shared: Whether all who can write to the file or to its folders are trusted.
    """

    path: str
    prepare: Callable[[sqlite3.Connection], object]
    shared: bool = False
    _target: str = attrs.field(init=False)
    _opened: _Opened | None = attrs.field(default=None, init=False)
    _turns: LoopLimiter = attrs.field(factory=lambda: LoopLimiter(1), init=False)
    # Turns are those of one event loop, and there may be several.
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._target = os.path.abspath(self.path)

    @property
    def limiter(self) -> CapacityLimiter:
        """What bounds the calls on the running loop: one at a time."""
        return self._turns.get()

    async def call(self, func: Callable[[], T], patience: float | None = None) -> T:
        """What *func* returns, called in a thread, and again while another connection has the file locked.

        A call that has begun is not cancelled; a caller that waits for its turn, or for the lock, is.

        Args:
            func: Does all or nothing, and may be called several times.
            patience: Seconds to wait for the lock; ``None`` (the default) means 20, and 0 one try.

        Raises:
            StateError: If the file was locked for that long.
        """
        async with self.limiter:
            return await self._retried(func, sqlite_file.PATIENCE if patience is None else patience)

    async def _retried(self, func: Callable[[], T], patience: float) -> T:
        give_up, pause = current_time() + patience, _FIRST_PAUSE
        while True:
            try:
                # Accepted means written: a cancelled caller must not leave a write half-way.
                with CancelScope(shield=True):
                    done = await in_thread(lambda: self._locked(func), _THREADS.get())
                return done  # noqa: RET504  # to mypy, a scope may swallow what is raised inside
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if current_time() + pause > give_up:
                    raise StateError(
                        f"the SQLite file {self.path!r} was in use by another program for more than "
                        f"{patience:g} s ({describe(error)}); see what keeps it locked"
                    ) from error
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _locked(self, func: Callable[[], T]) -> T:
        with self._lock:
            return func()

    # -- in the thread -------------------------------------------------------------------------------------

    def connection(self) -> sqlite3.Connection:
        """The connection; opened if it is not.

        Raises:
            StateError: If the file cannot be opened.
        """
        if self._opened is None:
            self._opened = self._open()
        return self._opened.connection

    def check(self) -> None:
        """See that the files which are open are still found at their paths.

        Raises:
            FileReplacedError: If one of them is not: nobody else sees what is written then.
        """
        path = None if self._opened is None else self._opened.missing()
        if path is not None:
            whose = "" if path == self._target else f", which belongs to {self.path!r},"
            name = self.path if path == self._target else path
            raise FileReplacedError(
                f"the file {name!r}{whose} was deleted, moved or replaced while it was in use, so nothing that is "
                "written can be found again; leave the file in its place until the run has ended"
            )

    def close(self) -> None:
        """Close the file, if it is open; the next use opens it again."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.connection.close()

    def _open(self) -> _Opened:
        if self.path in WITHOUT_FILE:
            return _Opened(self._connect(self.path), {})
        for _ in range(_MOST_OPENINGS):
            before = _place(self._target)
            connection = self._connect(self.path if os.path.abspath(self.path) == self._target else self._target)
            # Only a file that was there before and after is certain to be the one that was opened in between.
            if before is not None and before == _place(self._target):
                real = os.path.realpath(self._target)
                beside = {f"{real}{suffix}": _place(f"{real}{suffix}") for suffix in ("-wal", "-shm")}
                return _Opened(connection, {self._target: before, **beside})
            connection.close()
        raise StateError(f"the SQLite file {self.path!r} is replaced again and again while it is being opened")

    def _connect(self, path: str) -> sqlite3.Connection:
        connection = connect(path, shared=self.shared)
        try:
            self.prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection
