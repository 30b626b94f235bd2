"""State in an SQLite file: one file for many runs, readable with plain SQL. ``lease.py`` has the schema."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
from anyio import CancelScope, CapacityLimiter, current_time

from cascade.adapters.sqlite_store import SQLiteFile
from cascade.adapters.state.batched import BatchedBackend
from cascade.adapters.state.ownership import UncertainHolderError, Vigil
from cascade.adapters.state.pickling import Sealed, Sealing, once, pickled, result_of
from cascade.adapters.state.sqlite.durations import read as read_durations
from cascade.adapters.state.sqlite.lease import LOOK, RunLease, prepare
from cascade.adapters.state.sqlite.records import RunRows
from cascade.adapters.state.sqlite.signals import SQLiteSignals
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.model.shown.urls import shown_url
from cascade.runtime.durability.records import Batch, Closing, NotDurable, Opening, Past, Record
from cascade.runtime.durability.signal_records import SignalRecords

# Seconds for which giving back a lease is tried; otherwise it ends by itself.
_GIVING_UP: Final = 1.0


def path_of(url: str) -> str:
    """The path in ``sqlite:///path``; a relative path starts at the working directory.

    Raises:
        ValueError: If *url* has no path to a file.
    """
    path = url.removeprefix("sqlite:///").partition("?")[0]
    is_path = path[:1] not in ("", ":") and not path.endswith("/") and path.isprintable()
    if not is_path or not url.startswith("sqlite:///"):
        raise ValueError(f"a state URL of SQLite is sqlite:///path/to/file.db, not {shown_url(url)!r}")
    return path


def is_shared(url: str) -> bool:
    """Whether *url* ends in ``?shared=on``: all who can write to its file are trusted.

    Raises:
        ValueError: If *url* has any other option.
    """
    _, mark, option = url.partition("?")
    if mark and option not in ("shared=on", "shared=off"):
        raise ValueError(
            f"a state URL of SQLite takes no options but shared=on: {shown_url(url)!r}; a file with a question "
            "mark in its name can be given as state=lambda run_id: SQLiteStateBackend(run_id, path)"
        )
    return option == "shared=on"


def check_url(url: str) -> None:
    """Check that *url* names a file.

    Raises:
        ValueError: If it does not, or has an unknown option.
    """
    path_of(url)
    is_shared(url)


class SQLiteStateBackend(BatchedBackend):
    """The outcomes of one run in an SQLite file, which many runs can share.

    When a write returns, its data is on the disk (WAL, ``synchronous=FULL``). Values are pickled, and a pickle is
    code: a file that other users can change or replace is refused. A file that another process keeps locked is
    waited for, up to 20 s. A file that is deleted, moved or replaced while the run executes is noticed at each
    write, and once a second between; then the run fails.

    Args:
        run_id: The run.
        path: The file. It is made with mode 0600 if it does not exist; its folder must exist.
        shared: Whether everybody who can write to the file or its folders is trusted. Then the file is not
            refused, and a new one gets the mode that the umask says.
    """

    keeps_loops = True
    heartbeat_every: float | None = LOOK

    def __init__(self, run_id: str, path: str, *, shared: bool = False) -> None:
        super().__init__(run_id)
        self.path: str = os.fsdecode(path)
        self.shared = shared
        self._file = SQLiteFile(self.path, partial(prepare, path=self.path), shared)
        self._lease = RunLease(run_id, self._file)
        self._rows = RunRows(self._lease)
        self.signals: SignalRecords | None = SQLiteSignals(self._file, self._lease)

    @property
    def limiter(self) -> CapacityLimiter:
        """The limiter of this backend's threads: one writer, so that operations keep their order."""
        return self._file.limiter

    async def _results(self, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        return await self._file.call(lambda: self._rows.results(node_ids, is_lenient=is_lenient))

    async def clear(self) -> None:
        await self._file.call(self._rows.clear)

    async def begin(self, opening: Opening) -> Past:
        vigil = Vigil(self.run_id)
        while True:
            vigil.now = current_time()
            try:
                return await self._file.call(lambda: self._rows.begin(opening, vigil))
            except sqlite3.Error as error:
                raise StateError(f"the SQLite file {self.path!r} cannot be used: {describe(error)}") from error
            except UncertainHolderError:
                await anyio.sleep(LOOK)

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        return await self._file.call(lambda: self._rows.records(node_ids))

    async def write(self, batch: Batch) -> NotDurable:
        sealing = Sealing(batch, self._rows.largest)
        await self._file.call(lambda: self._rows.write(sealing))
        return sealing.missing

    async def forget(self, node_ids: Iterable[str]) -> None:
        gone = list(node_ids)
        await self._file.call(lambda: self._rows.forget(gone))

    async def adopt(self, flow_digest: bytes) -> None:
        await self._file.call(lambda: self._rows.adopt(flow_digest))

    async def durations(self) -> dict[bytes, bytes]:
        return await self._file.call(lambda: read_durations(self._file.connection()))

    async def heartbeat(self) -> None:
        await self._file.call(self._lease.beat)

    def sealed(self, value: Any) -> Sealed:
        return Sealed(pickled(value, self._rows.largest))

    async def finish(self, closing: Closing) -> NotDurable:
        result = once(lambda: result_of(closing, self._rows.largest))
        missing = await self._file.call(lambda: self._rows.finish(closing, result()[0]))
        self._lease.disown()
        return [*result()[1], *missing]

    async def aclose(self) -> None:
        try:
            with suppress(StateError):  # another process keeps the file locked: then the lease ends by itself
                await self._file.call(self._lease.give_up, _GIVING_UP)
        finally:
            self._lease.disown()
            with CancelScope(shield=True):
                await self._file.call(self._file.close)


def open_url(url: str, run_id: str) -> SQLiteStateBackend:
    """The backend of *run_id* at ``sqlite:///path``, or ``sqlite:///path?shared=on``."""
    return SQLiteStateBackend(run_id, path_of(url), shared=is_shared(url))
