"""The rows of one run in an SQLite state file. All of it happens in threads.

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
    ``duration`` (seconds), ``error``, ``recorded``, ``is_durable`` (0: the value could not be
    pickled, or is too large), ``digest``, ``value`` (pickle).
``events``
    What is worth noting: ``run``, ``time``, ``kind``, ``message``.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from cascade.adapters.sqlite_file import transaction
from cascade.adapters.sqlite_store import SQLiteFile
from cascade.adapters.state.ownership import (
    HEARTBEAT,
    LEASE,
    Owner,
    Vigil,
    overtaken,
    seconds_left,
    steady_time,
    vanished,
)
from cascade.adapters.state.pickling import Row, Sealing, loaded_all, shortened, with_values
from cascade.model.errors import StateError, describe
from cascade.runtime.slices import considerate
from cascade.runtime.state import Closing, Continuation, NotDurable, Opening, Past, Record

VERSION: Final = 1
# Seconds between two looks at whether the file is still where it was.
LOOK: Final = 1.0
# Bytes of a row that are left for all that is no value.
_MARGIN: Final = 1_000_000
# Rows that are read with one statement: SQLite bounds the number of its parameters.
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


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """See that *connection* is one to a state file; makes the tables of a new one.

    Raises:
        StateError: If the file is something else.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        with transaction(connection):
            _make_schema(connection, path)


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


@attrs.define(eq=False)
class RunRows:
    """One run in a state file, and the lease that this process has on it.

    Attributes:
        run_id: The run.
        file: The file.
        owner: Who has the lease; ``None`` as long as the run is not executed here.
        largest: How many bytes a value can have.
    """

    run_id: str
    file: SQLiteFile
    owner: Owner | None = None
    largest: int = 1_000_000_000 - _MARGIN
    _number: int | None = None
    # When the lease was renewed: by the steady clock, and by that which people set.
    _renewed: tuple[float, float] = (0.0, 0.0)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside, or nothing.

        Raises:
            StateError: If it was written to a file that is no longer where it was.
        """
        try:
            with transaction(self.file.connection()) as connection:
                yield connection
        except BaseException:
            self._number = None  # it may have been made by what was taken back
            raise
        self.file.check()

    def _find(self, connection: sqlite3.Connection) -> int | None:
        """The run's number; ``None`` if it is not in the file."""
        if self._number is None:
            row = connection.execute("SELECT id FROM runs WHERE run_id = ?", (self.run_id,)).fetchone()
            self._number = None if row is None else row[0]
        return self._number

    def _enrol(self, connection: sqlite3.Connection) -> int:
        """The run's number, whose lease this still has. To be called in a transaction."""
        if self.owner is not None:
            return self._held(connection, self.owner)
        found = self._find(connection)
        if found is None:
            now = time.time()
            row = connection.execute(
                "INSERT INTO runs (run_id, status, created, updated) VALUES (?, 'running', ?, ?) RETURNING id",
                (self.run_id, now, now),
            ).fetchone()
            self._number = found = int(row[0])
        return found

    def _held(self, connection: sqlite3.Connection, owner: Owner) -> int:
        """The run's number, if *owner* still has its lease."""
        row = connection.execute("SELECT id, owner FROM runs WHERE run_id = ?", (self.run_id,)).fetchone()
        if row is None:
            raise StateError(vanished(self.run_id))
        holder = None if row[1] is None else Owner.read(row[1])
        # By the token: the count of beginnings starts anew in a row that was deleted and made again.
        if holder is None or holder.token != owner.token:
            raise StateError(overtaken(self.run_id, holder))
        self._number = number = int(row[0])
        return number

    def _note(self, connection: sqlite3.Connection, kind: str, message: str) -> None:
        connection.execute(
            "INSERT INTO events (run, time, kind, message) VALUES (?, ?, ?, ?)",
            (self._number, time.time(), kind, shortened(message)),
        )

    # -- the lease -----------------------------------------------------------------------------------------

    def begin(self, opening: Opening, vigil: Vigil) -> Past:
        """Take the run, and say what is known of it.

        Raises:
            RunInProgressError: If somebody else executes it.
            UncertainHolderError: If that cannot be told yet.
        """
        texts = _texts(opening)
        self.disown()  # of a try before this
        with self.transaction() as connection:
            number = self._enrol(connection)
            row = connection.execute(
                "SELECT status, flow_digest, epoch, owner, lease_until, turn, continuation, result FROM runs "
                "WHERE id = ?", (number,)
            ).fetchone()  # fmt: skip
            status, flow_digest, epoch, owner, lease_until, turn, continuation, result = row
            if owner is not None:
                self._judge(connection, vigil, owner, lease_until)
            # Known before the commit: if that fails, the lease is given back whether or not it was taken.
            self.owner, now = Owner.here(), time.time()
            connection.execute(
                "UPDATE runs SET status = CASE status WHEN 'succeeded' THEN status ELSE 'running' END, flow = ?, "
                "params = ?, origin = coalesce(?, origin), flow_digest = coalesce(flow_digest, ?), "
                "error = NULL, epoch = ? WHERE id = ?",
                (*texts, opening.flow_digest, epoch + 1, number),
            )
            self._renew(connection, now)
            self._note(connection, "begun", f"by {self.owner}, epoch {epoch + 1}")
        limit = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        self.largest = max(limit - _MARGIN, limit // 2)
        nodes, retrying = _listed(connection, number)
        past = Past(epoch > 0, status, flow_digest, nodes, epoch=epoch + 1, retrying=retrying)
        return with_values(past, self.run_id, result, turn, continuation)

    def _judge(self, connection: sqlite3.Connection, vigil: Vigil, owner: str, lease_until: float) -> None:
        holder = Owner.read(owner)
        is_certain = holder.until is not None and holder.is_on_this_machine()
        left = seconds_left(holder, lease_until, time.time())
        vigil.refuse_if_alive(holder, (owner, lease_until), left, is_certain=is_certain)
        self._note(connection, "taken over", f"from {holder}, which is gone")

    def _renew(self, connection: sqlite3.Connection, now: float) -> None:
        """Note that the run has been written to, and that whoever executes it is alive."""
        if self.owner is None:
            connection.execute("UPDATE runs SET updated = ? WHERE id = ?", (now, self._number))
            return
        steady = steady_time()
        owner = attrs.evolve(self.owner, until=steady + LEASE)
        connection.execute(
            "UPDATE runs SET updated = ?, owner = ?, lease_until = ? WHERE id = ?",
            (now, owner.written(), now + LEASE, self._number),
        )
        self._renewed = steady, now

    def beat(self) -> None:
        """See that the file is in its place, and that this has the run; renew the lease if that is due.

        Raises:
            StateError: If it is not, or somebody else has the run, or the lease could not be renewed in time.
        """
        self.file.check()
        try:
            if self.owner is not None:
                self._held(self.file.connection(), self.owner)
            # Also when the clock was set, by which others judge the lease.
            steady, now = steady_time() - self._renewed[0], time.time()
            if max(steady, abs(now - self._renewed[1])) < HEARTBEAT - LOOK:
                return
            with self.transaction() as connection:
                self._enrol(connection)
                self._renew(connection, now)
        except sqlite3.Error as error:
            if steady_time() - self._renewed[0] > LEASE - HEARTBEAT:
                raise StateError(
                    f"the lease of run {self.run_id!r} cannot be renewed in {self.file.path!r} and is about to "
                    f"end: {describe(error)}"
                ) from error
            raise

    def give_up(self) -> None:
        """Give the lease back, if this has it; the run counts as cut short."""
        if self.owner is None:
            return
        connection = self.file.connection()
        self.file.check()
        with transaction(connection):
            row = connection.execute("SELECT owner FROM runs WHERE run_id = ?", (self.run_id,)).fetchone()
            if row is not None and row[0] is not None and Owner.read(row[0]).token == self.owner.token:
                connection.execute(
                    "UPDATE runs SET owner = NULL, lease_until = 0 WHERE run_id = ?", (self.run_id,)
                )

    def disown(self) -> None:
        """Note that the run is not executed here any more."""
        if self.owner is not None:
            self.owner.release()
        self.owner = None

    # -- records -------------------------------------------------------------------------------------------

    def write(self, sealing: Sealing) -> None:
        """Record a batch."""
        # Pickled before the transaction: nobody else is kept from writing meanwhile.
        rows, continuation = sealing.rows(), sealing.continuation()
        with self.transaction() as connection:
            number = self._enrol(connection)
            now = time.time()
            going_on = sealing.batch.continuation
            if going_on is not None:
                _go_on(connection, number, going_on, continuation)
            connection.executemany(_PUT, (_columns(number, now, row) for row in rows))
            for node_id, error in sealing.missing:
                self._note(connection, "not durable", f"the result of {node_id!r}: {describe(error)}")
            self._renew(connection, now)

    def clear(self) -> None:
        """Forget everything but that the run has begun."""
        with self.transaction() as connection:
            number = self._enrol(connection)
            connection.execute("DELETE FROM nodes WHERE run = ?", (number,))
            connection.execute(
                "UPDATE runs SET turn = NULL, continuation = NULL, result = NULL, flow_digest = NULL WHERE id = ?",
                (number,),
            )

    def adopt(self, flow_digest: bytes) -> None:
        """The records are those of the flow with this digest, and there is no result."""
        with self.transaction() as connection:
            number = self._enrol(connection)
            connection.execute(
                "UPDATE runs SET status = 'running', flow_digest = ?, result = NULL, finished = NULL WHERE id = ?",
                (flow_digest, number),
            )

    def forget(self, node_ids: Sequence[str]) -> None:
        """Forget nodes."""
        with self.transaction() as connection:
            number = self._enrol(connection)
            connection.executemany(
                "DELETE FROM nodes WHERE run = ? AND node_id = ?",
                ((number, node_id) for node_id in considerate(node_ids)),
            )

    def finish(self, closing: Closing, result: bytes | None) -> NotDurable:
        """Record how the run ended, with its pickled result, and give up the lease."""
        missing: NotDurable = ()
        with self.transaction() as connection:
            number = self._enrol(connection)
            row = connection.execute("SELECT length(continuation) FROM runs WHERE id = ?", (number,)).fetchone()
            if result is not None and len(result) + (row[0] or 0) > self.largest:  # they stand in one row
                missing = [("the result", ValueError(f"its pickle has {len(result)} bytes"))]
                result = None
            now = time.time()
            connection.execute(
                "UPDATE runs SET status = ?, error = ?, result = ?, updated = ?, finished = ?, owner = NULL, "
                "lease_until = 0 WHERE id = ?",
                (closing.status, shortened(closing.error), result, now, now, number),
            )
            self._note(connection, closing.status, closing.error or "")
        return missing

    def select(self, columns: str, node_ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of *node_ids*, but for failures."""
        connection = self.file.connection()
        number = self._find(connection)
        for start in range(0, len(node_ids), _AT_ONCE):
            some = node_ids[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            yield from connection.execute(
                f"SELECT {columns} FROM nodes WHERE run = ? AND status IN ('succeeded', 'skipped') "
                f"AND node_id IN ({marks})", (number, *some)
            ).fetchall()  # fmt: skip
        self.file.check()

    def records(self, node_ids: Sequence[str]) -> dict[str, Record]:
        """What is recorded of *node_ids*, without values."""
        rows = considerate(self.select("node_id, digest, reason, is_durable", node_ids))
        return {node_id: Record(digest, reason, bool(is_durable)) for node_id, digest, reason, is_durable in rows}

    def results(self, node_ids: Sequence[str], *, is_lenient: bool) -> dict[str, Any]:
        """The results among *node_ids*; without those that cannot be read, if that is wanted."""
        rows = self.select("node_id, value, status, is_durable", node_ids)
        found = {name: value for name, value, status, durable in rows if status == "succeeded" and durable}
        return loaded_all(found, self.run_id, is_lenient=is_lenient)

    def reason(self, node_id: str) -> str | None:
        """Why a node was skipped, if it was."""
        for (reason,) in self.select("reason", [node_id]):
            return str(reason) if reason is not None else None
        return None


def _texts(opening: Opening) -> tuple[str, str, str | None]:
    """Flow, parameters and origin, as they stand in a row."""
    flow = ", ".join(json.dumps(name) for name in considerate(opening.flow))
    return f"[{flow}]", json.dumps(dict(opening.params)), opening.origin


def _listed(connection: sqlite3.Connection, number: int) -> tuple[list[str], dict[str, tuple[bytes | None, int]]]:
    """The nodes that have a record, and those that were going to be attempted again."""
    rows = connection.execute(
        "SELECT node_id FROM nodes WHERE run = ? AND status IN ('succeeded', 'skipped')", (number,)
    )
    waiting = connection.execute(
        "SELECT node_id, digest, attempts FROM nodes WHERE run = ? AND status = 'retrying'", (number,)
    )
    nodes = [node_id for (node_id,) in considerate(rows)]
    return nodes, {node_id: (digest, made) for node_id, digest, made in considerate(waiting)}


def _go_on(connection: sqlite3.Connection, number: int, going_on: Continuation, value: bytes | None) -> None:
    connection.execute("DELETE FROM nodes WHERE run = ?", (number,))
    connection.execute("UPDATE runs SET turn = ?, continuation = ? WHERE id = ?", (going_on.turn, value, number))


def _columns(number: int, now: float, row: Row) -> tuple[Any, ...]:
    entry = row.entry
    return (
        number, entry.node_id, entry.status, entry.task_name, entry.reason, entry.attempts, entry.duration,
        row.error, now, row.is_durable, entry.digest, row.value,
    )  # fmt: skip
