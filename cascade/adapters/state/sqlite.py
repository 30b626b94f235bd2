"""State in an SQLite file: one file for many runs, readable with plain SQL.

Schema, version 1 (``PRAGMA user_version``); times are seconds since the epoch:

``runs``
    One row a run: ``id`` (number), ``run_id``, ``status`` (``running``, also of one that was cut short;
    ``succeeded``, ``failed``, ``cancelled``), ``flow`` (JSON: ids of the nodes whose values it returns),
    ``params`` (JSON: name to ``repr``), ``origin`` (JSON: how the command line started it), ``flow_digest``,
    ``created``, ``updated``, ``finished``, ``error``, ``epoch`` (times it was begun), ``owner`` (JSON: who
    executes it), ``lease_until``, ``turn`` and ``continuation`` (pickle) of a loop of tail calls,
    ``result`` (pickle).
``nodes``
    One row a node that has ended: ``run`` (``runs.id``), ``node_id``, ``status`` (``succeeded``, ``skipped``,
    ``failed``, ``cancelled``; ``retrying``: not ended yet), ``task``, ``reason`` (of a skip), ``attempts``,
    ``duration`` (seconds), ``error``, ``recorded``, ``is_durable`` (0: the value could not be pickled),
    ``digest``, ``value`` (pickle).
``events``
    What is worth noting: ``run``, ``time``, ``kind``, ``message``.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter

from cascade.adapters.sqlite_file import connect, transaction
from cascade.adapters.state.batched import BatchedBackend
from cascade.adapters.state.ownership import HEARTBEAT, LEASE, Owner, overtaken, refuse_if_alive
from cascade.adapters.state.pickling import Sealed, loaded, pickled, result_of, values_of, with_values
from cascade.model.errors import StateError, describe
from cascade.runtime.state import (
    Batch,
    Closing,
    Entry,
    NotDurable,
    Opening,
    Past,
    Record,
)
from cascade.runtime.threads import OneAtATime

T = TypeVar("T")

VERSION: Final = 1
# Values that are read with one statement: SQLite bounds the number of its parameters.
_AT_ONCE: Final = 500

_SCHEMA: Final = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, flow TEXT, params TEXT, origin TEXT,
    flow_digest BLOB, created REAL NOT NULL, updated REAL NOT NULL, finished REAL, error TEXT,
    epoch INTEGER NOT NULL DEFAULT 0, owner TEXT, lease_until REAL NOT NULL DEFAULT 0,
    turn INTEGER, continuation BLOB, result BLOB
);
CREATE TABLE nodes (
    run INTEGER NOT NULL REFERENCES runs(id), node_id TEXT NOT NULL, status TEXT NOT NULL, task TEXT, reason TEXT,
    attempts INTEGER, duration REAL, error TEXT, recorded REAL NOT NULL, is_durable INTEGER NOT NULL DEFAULT 1,
    digest BLOB, value BLOB, PRIMARY KEY (run, node_id)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id), time REAL NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX events_of_run ON events (run);
"""

_PUT: Final = """INSERT OR REPLACE INTO nodes
    (run, node_id, status, task, reason, attempts, duration, error, recorded, is_durable, digest, value)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def path_of(url: str) -> str:
    """The path in ``sqlite:///path``, as it is seen from the working directory.

    Raises:
        ValueError: If there is none.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.startswith(":") or path.endswith("/") or not path.isprintable():
        raise ValueError(f"a state URL of SQLite is sqlite:///path/to/file.db, not {url!r}")
    return path


def check_url(url: str) -> None:
    """See that *url* names a file.

    Raises:
        ValueError: If it does not, or says more.
    """
    if "?" in path_of(url):
        raise ValueError(
            f"a state URL of SQLite takes no options: {url!r}; a file of that name can be given as "
            "state=lambda run_id: SQLiteStateBackend(run_id, path)"
        )


def open_state(path: str) -> sqlite3.Connection:
    """Open the state file *path*, made if it is not there.

    Raises:
        StateError: If it cannot be opened, or is something else.
    """
    connection = connect(path)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            with transaction(connection):
                _make_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_schema(connection: sqlite3.Connection, path: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:  # pragma: no cover  # somebody else was faster
        return
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version or not names.isdisjoint(("runs", "nodes", "events")):
        raise StateError(
            f"{path!r} is no state file of this version of cascade (version {version}, not {VERSION})"
        )
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


class SQLiteStateBackend(BatchedBackend):
    """The outcomes of one run in an SQLite file that many runs share.

    What a method has returned from is on the disk (WAL, ``synchronous=FULL``). Values are pickled: the file must
    be trusted as code is.

    Args:
        run_id: The run.
        path: The file; made if it is not there. Its directory must exist.
    """

    keeps_loops = True
    heartbeat_every: float | None = HEARTBEAT

    def __init__(self, run_id: str, path: str) -> None:
        super().__init__(run_id)
        self.path: str = os.fsdecode(path)
        self._thread = OneAtATime()
        self._connection: sqlite3.Connection | None = None
        self._run: int | None = None
        self._owner: Owner | None = None
        self._epoch: int | None = None

    @property
    def limiter(self) -> CapacityLimiter:
        """What bounds this backend's threads: one writer, so that operations keep their order."""
        return self._thread.limiter

    # -- in the thread -------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_state(self.path)
        return self._connection

    def _number(self, connection: sqlite3.Connection) -> int | None:
        """The run's number; ``None`` if it is not in the file."""
        if self._run is None:
            row = connection.execute("SELECT id FROM runs WHERE run_id = ?", (self.run_id,)).fetchone()
            self._run = None if row is None else row[0]
        return self._run

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside, or nothing."""
        try:
            with transaction(self._opened()) as connection:
                yield connection
        except BaseException:
            self._run = None  # it may have been made by what was taken back
            raise

    def _enrolled(self, connection: sqlite3.Connection) -> int:
        """The run's number, whose lease this still has. To be called in a transaction."""
        number = self._number(connection)
        if number is None:
            now = time.time()
            row = connection.execute(
                "INSERT INTO runs (run_id, status, created, updated) VALUES (?, 'running', ?, ?) RETURNING id",
                (self.run_id, now, now),
            ).fetchone()
            self._run = number = int(row[0])
        if self._epoch is not None:
            row = connection.execute("SELECT epoch, owner FROM runs WHERE id = ?", (number,)).fetchone()
            if row is None or row[0] != self._epoch:
                raise StateError(overtaken(self.run_id, _owner_of(row)))
        return number

    def _note(self, connection: sqlite3.Connection, kind: str, message: str) -> None:
        connection.execute(
            "INSERT INTO events (run, time, kind, message) VALUES (?, ?, ?, ?)",
            (self._run, time.time(), kind, message),
        )

    def _begin(self, opening: Opening) -> Past:
        with self._transaction() as connection:
            number = self._enrolled(connection)
            row = connection.execute(
                "SELECT status, flow_digest, epoch, owner, lease_until, turn, continuation, result, finished "
                "FROM runs WHERE id = ?", (number,)
            ).fetchone()  # fmt: skip
            status, flow_digest, epoch, owner, lease_until, turn, continuation, result, finished = row
            if owner is not None:
                holder = Owner.read(owner)
                refuse_if_alive(self.run_id, holder, lease_until)
                self._note(connection, "taken over", f"from {holder}, which is gone")
            # Known before the commit: if that fails, the lease is given back whether or not it was taken.
            self._owner, self._epoch, now = (mine := Owner.here()), epoch + 1, time.time()
            connection.execute(
                "UPDATE runs SET status = CASE status WHEN 'succeeded' THEN status ELSE 'running' END, flow = ?, "
                "params = ?, origin = coalesce(?, origin), flow_digest = coalesce(flow_digest, ?), updated = ?, "
                "error = NULL, epoch = ?, owner = ?, lease_until = ? WHERE id = ?",
                (
                    json.dumps(opening.flow), json.dumps(dict(opening.params)), opening.origin,
                    opening.flow_digest, now, epoch + 1, mine.written(), now + LEASE, number,
                ),
            )  # fmt: skip
            self._note(connection, "begun", f"by {mine}, epoch {epoch + 1}")
        nodes, retrying = self._listed(connection, number)
        past = Past(epoch > 0, status, flow_digest, nodes, epoch=epoch + 1, retrying=retrying, finished=finished)
        return with_values(past, self.run_id, result, turn, continuation)

    @staticmethod
    def _listed(
        connection: sqlite3.Connection, number: int
    ) -> tuple[list[str], dict[str, tuple[bytes | None, int]]]:
        """The nodes that have a record, and those that were going to be attempted again."""
        rows = connection.execute(
            "SELECT node_id FROM nodes WHERE run = ? AND status IN ('succeeded', 'skipped')", (number,)
        )
        waiting = connection.execute(
            "SELECT node_id, digest, attempts FROM nodes WHERE run = ? AND status = 'retrying'", (number,)
        )
        return [node_id for (node_id,) in rows], {node_id: (digest, made) for node_id, digest, made in waiting}

    def _loaded(self, data: bytes, what: str) -> Any:
        return loaded(data, what, self.run_id)

    def _write(self, batch: Batch) -> NotDurable:
        missing: list[tuple[str, Exception]] = []
        continuation = batch.continuation
        going_on = None if continuation is None else pickled(continuation.value)
        # Pickled before the transaction: nobody else is kept from writing meanwhile.
        rows = list(_rows([*batch.entries, *batch.notes], missing))
        with self._transaction() as connection:
            number = self._enrolled(connection)
            now = time.time()
            if continuation is not None:
                connection.execute("DELETE FROM nodes WHERE run = ?", (number,))
                connection.execute(
                    "UPDATE runs SET turn = ?, continuation = ? WHERE id = ?",
                    (continuation.turn, going_on, number),
                )
            connection.executemany(_PUT, ((number, *row[:7], now, *row[7:]) for row in rows))
            for node_id, error in missing:
                self._note(connection, "not durable", f"the result of {node_id!r}: {describe(error)}")
            self._renew(connection, now)
        return missing

    def _renew(self, connection: sqlite3.Connection, now: float) -> None:
        until = 0.0 if self._epoch is None else now + LEASE
        connection.execute("UPDATE runs SET updated = ?, lease_until = ? WHERE id = ?", (now, until, self._run))

    def _beat(self) -> None:
        with self._transaction() as connection:
            self._enrolled(connection)
            self._renew(connection, time.time())

    def _clear(self) -> None:
        with self._transaction() as connection:
            number = self._enrolled(connection)
            connection.execute("DELETE FROM nodes WHERE run = ?", (number,))
            connection.execute(
                "UPDATE runs SET turn = NULL, continuation = NULL, result = NULL, flow_digest = NULL WHERE id = ?",
                (number,),
            )

    def _adopt(self, flow_digest: bytes) -> None:
        with self._transaction() as connection:
            number = self._enrolled(connection)
            connection.execute(
                "UPDATE runs SET status = 'running', flow_digest = ?, result = NULL, finished = NULL WHERE id = ?",
                (flow_digest, number),
            )

    def _forget(self, node_ids: Sequence[str]) -> None:
        with self._transaction() as connection:
            number = self._enrolled(connection)
            connection.executemany(
                "DELETE FROM nodes WHERE run = ? AND node_id = ?", ((number, node_id) for node_id in node_ids)
            )

    def _finish(self, closing: Closing) -> NotDurable:
        missing: list[tuple[str, Exception]] = []
        result = result_of(closing, missing)
        with self._transaction() as connection:
            number = self._enrolled(connection)
            now = time.time()
            connection.execute(
                "UPDATE runs SET status = ?, error = ?, result = ?, updated = ?, finished = ?, owner = NULL, "
                "lease_until = 0 WHERE id = ?",
                (closing.status, closing.error, result, now, now, number),
            )
            self._note(connection, closing.status, closing.error or "")
        self._disown()
        return missing

    def _disown(self) -> None:
        if self._owner is not None:
            self._owner.release()
        self._owner = None

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if self._owner is not None:
                connection.execute(
                    "UPDATE runs SET owner = NULL, lease_until = 0 WHERE id = ? AND epoch = ?",
                    (self._number(connection), self._epoch),
                )
        finally:
            self._disown()
            connection.close()

    def _select(self, columns: str, node_ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of *node_ids*, but for failures; of all with a record, if most are asked for."""
        connection = self._opened()
        number = self._number(connection)
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            yield from connection.execute(
                f"SELECT {columns} FROM nodes WHERE run = ? AND status IN ('succeeded', 'skipped') "
                f"AND node_id IN ({marks})", (number, *some)
            ).fetchall()  # fmt: skip

    def _recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        rows = self._select("node_id, digest, reason, is_durable", node_ids)
        return {node_id: Record(digest, reason, bool(is_durable)) for node_id, digest, reason, is_durable in rows}

    def _results(self, node_ids: Sequence[str]) -> dict[str, Any]:
        rows = self._select("node_id, value, status, is_durable", node_ids)
        return {
            node_id: self._loaded(value, f"the result of {node_id!r}")
            for node_id, value, status, is_durable in rows
            if status == "succeeded" and is_durable
        }

    def _reason(self, node_id: str) -> str | None:
        for (reason,) in self._select("reason", [node_id]):
            return str(reason) if reason is not None else None
        return None

    # -- the operations ------------------------------------------------------------------------------------

    async def get_results(self, node_ids: Iterable[str]) -> dict[str, Any]:
        wanted = list(node_ids)
        return await self._thread.read(lambda: self._results(wanted))

    async def has_result(self, node_id: str) -> bool:
        record = (await self.recall([node_id])).get(node_id)
        return record is not None and record.reason is None and record.is_durable

    async def get_skip_reason(self, node_id: str) -> str | None:
        return await self._thread.read(lambda: self._reason(node_id))

    async def clear(self) -> None:
        await self._thread.write(self._clear)

    async def begin(self, opening: Opening) -> Past:
        try:
            return await self._thread.write(lambda: self._begin(opening))
        except sqlite3.Error as error:
            raise StateError(f"the SQLite file {self.path!r} cannot be used: {describe(error)}") from error

    async def recall(self, node_ids: Sequence[str]) -> dict[str, Record]:
        return await self._thread.read(lambda: self._recall(node_ids))

    async def write(self, batch: Batch) -> NotDurable:
        return await self._thread.write(lambda: self._write(batch))

    async def forget(self, node_ids: Iterable[str]) -> None:
        gone = list(node_ids)
        await self._thread.write(lambda: self._forget(gone))

    async def adopt(self, flow_digest: bytes) -> None:
        await self._thread.write(lambda: self._adopt(flow_digest))

    async def heartbeat(self) -> None:
        await self._thread.write(self._beat)

    def sealed(self, value: Any) -> Sealed:
        return Sealed(pickled(value))

    async def finish(self, closing: Closing) -> NotDurable:
        return await self._thread.write(lambda: self._finish(closing))

    async def aclose(self) -> None:
        await self._thread.write(self._close)


def _owner_of(row: tuple[Any, ...] | None) -> Owner | None:
    return None if row is None or row[1] is None else Owner.read(row[1])


def _rows(entries: Iterable[Entry], missing: list[tuple[str, Exception]]) -> Iterator[tuple[Any, ...]]:
    """Columns of *entries* from ``node_id`` on, without the time; what cannot be pickled is added to *missing*."""
    for entry, value, is_durable in values_of(entries, missing):
        yield (
            entry.node_id, entry.status, entry.task_name, entry.reason, entry.attempts, entry.duration,
            entry.error, is_durable, entry.digest, value,
        )  # fmt: skip


def open_url(url: str, run_id: str) -> SQLiteStateBackend:
    """The backend of *run_id* at ``sqlite:///path``."""
    return SQLiteStateBackend(run_id, path_of(url))
