"""The lease on one run in an SQLite state file, and the transactions that need it. Called in worker threads.

Format 2 (``PRAGMA user_version``: the schema, and what digests are made of); times are seconds since the epoch:

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
    pickled, or is too large), ``digest``, ``value`` (pickle), ``label`` (what people call it), ``started``
    (when its first attempt began), ``worker`` (where it ran, in words). A file that was made before these three
    were kept gets them when it is next written.
``events``
    A log of the file: ``run``, ``time``, ``kind``, ``message``.
``signals``
    What is kept of signals; missing in a file whose runs had none: ``run``, ``key`` (see ``signal_records.py``),
    ``recorded``, ``value`` (pickle). Senders write it too, without the lease.
``details``
    Why nodes failed, with what they were called, what they wrote; missing in a file in which none has failed:
    ``run``, ``node_id``, ``detail`` (JSON; see ``NodeDetail``).
``outlines``
    What the flows of runs are made of; missing in a file that was made before it was kept: ``run``, ``outline``
    (JSON; see ``graph/pictures/outline.py``).
``durations``
    How long nodes take, for the order in which they start; may be missing, or be deleted at any time. One row a
    flow: ``flow`` (digest of its tasks and their order), ``updated``, ``seconds`` (a 32-bit float a node, negative
    if not known).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
from cascade.adapters.state.pickling import shortened
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe

VERSION: Final = 2
# Seconds between two looks at whether the file is still where it was.
LOOK: Final = 1.0

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
    digest BLOB, value BLOB, label TEXT, started REAL, worker TEXT, PRIMARY KEY (run, node_id)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id), time REAL NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX events_of_run ON events (run);
"""
# Columns of nodes that came later; older versions neither read nor write them.
_LATER: Final = {"label": "TEXT", "started": "REAL", "worker": "TEXT"}


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Check that *connection* is to a state file; makes the tables of a new one.

    Raises:
        StateError: If the file is not a state file of this version.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        with transaction(connection):
            _make_schema(connection, path)
    elif len(later_columns(connection)) < len(_LATER):
        with transaction(connection):
            _add_columns(connection)


def later_columns(connection: sqlite3.Connection) -> list[str]:
    """Those columns of nodes that the file has, and that not every file of this format has."""
    found = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('nodes')")}
    return [name for name in _LATER if name in found]


def _add_columns(connection: sqlite3.Connection) -> None:
    there = later_columns(connection)  # another process may have added some meanwhile
    for name, kind in _LATER.items():
        if name not in there:
            connection.execute(f"ALTER TABLE nodes ADD COLUMN {name} {kind}")


def of_another_version(path: str, version: int) -> str:
    """The message for the file *path*, whose ``user_version`` is *version*."""
    what = f"it has format {version}, and this one reads {VERSION}; finish its runs with the version that wrote it"
    return (
        f"{path!r} is no state file of this version of cascade: "
        f"{what if version else 'something else is in it'}, or give another file"
    )


def _make_schema(connection: sqlite3.Connection, path: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:  # pragma: no cover  # another process has made it meanwhile
        return
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version or not names.isdisjoint(("runs", "nodes", "events")):
        raise StateError(of_another_version(path, version))
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


@attrs.define(eq=False)
class RunLease:
    """Writes the rows of one run, unless another process has its lease.

    Attributes:
        run_id: The run.
        file: The file.
        owner: The holder of the lease in this process; ``None`` while the run is not executed here.
    """

    run_id: str
    file: SQLiteFile
    owner: Owner | None = None
    _number: int | None = None
    # When the lease was renewed: by the steady clock, and by the wall clock, which people may set.
    _renewed: tuple[float, float] = (0.0, 0.0)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all writes in the block, or none.

        Raises:
            StateError: If the file is no longer at its path, so that the writes are lost.
        """
        try:
            with transaction(self.file.connection()) as connection:
                yield connection
        except BaseException:
            self._number = None  # the row may have been made in the transaction that is rolled back
            raise
        self.file.check()

    def find(self, connection: sqlite3.Connection) -> int | None:
        """The run's number; ``None`` if it is not in the file."""
        if self._number is None:
            row = connection.execute("SELECT id FROM runs WHERE run_id = ?", (self.run_id,)).fetchone()
            self._number = None if row is None else row[0]
        return self._number

    def enrol(self, connection: sqlite3.Connection) -> int:
        """The run's number; makes the run if it is not in the file. To be called in a transaction.

        Raises:
            StateError: If this process had the lease of the run, and has lost it.
        """
        if self.owner is not None:
            return self._held(connection, self.owner)
        found = self.find(connection)
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
        # Compared by token, as the epoch starts again in a row that was deleted and made again.
        if holder is None or holder.token != owner.token:
            raise StateError(overtaken(self.run_id, holder))
        self._number = number = int(row[0])
        return number

    def note(self, connection: sqlite3.Connection, kind: str, message: str) -> None:
        """Add a line to the log of the file."""
        connection.execute(
            "INSERT INTO events (run, time, kind, message) VALUES (?, ?, ?, ?)",
            (self._number, time.time(), kind, shortened(message)),
        )

    def take(self, connection: sqlite3.Connection, vigil: Vigil) -> int:
        """Take the lease, in a transaction; returns the epoch: how often the run was begun.

        Raises:
            RunInProgressError: If another process or task executes the run.
            UncertainHolderError: If that is not certain yet.
        """
        number = self.enrol(connection)
        row = connection.execute("SELECT epoch, owner, lease_until FROM runs WHERE id = ?", (number,)).fetchone()
        epoch, owner, lease_until = row
        if owner is not None:
            self._judge(connection, vigil, owner, lease_until)
        # Set before the commit: if that fails, the lease is given back, whether or not it was taken.
        self.owner = Owner.here()
        connection.execute("UPDATE runs SET epoch = ? WHERE id = ?", (epoch + 1, number))
        self.renew(connection, time.time())
        self.note(connection, "begun", f"by {self.owner}, epoch {epoch + 1}")
        return int(epoch) + 1

    def _judge(self, connection: sqlite3.Connection, vigil: Vigil, owner: str, lease_until: float) -> None:
        holder = Owner.read(owner)
        is_certain = holder.until is not None and holder.is_on_this_machine()
        left = seconds_left(holder, lease_until, time.time())
        vigil.refuse_if_alive(holder, (owner, lease_until), left, is_certain=is_certain)
        self.note(connection, "taken over", f"from {holder}, which is gone")

    def renew(self, connection: sqlite3.Connection, now: float) -> None:
        """Record that the run was written, and renew the lease of this process if it has it."""
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
        """Check that the file is at its path, and that this process has the run; renew the lease if that is due.

        Raises:
            StateError: If the file is gone, another process has the run, or the lease cannot be renewed in time.
        """
        self.file.check()
        if self.owner is None:
            return
        try:
            self._held(self.file.connection(), self.owner)
            # Renewed also when the wall clock was set: other processes judge the lease by it.
            steady, now = steady_time() - self._renewed[0], time.time()
            if max(steady, abs(now - self._renewed[1])) < HEARTBEAT - LOOK:
                return
            with self.transaction() as connection:
                self.enrol(connection)
                self.renew(connection, now)
        except sqlite3.Error as error:
            if steady_time() - self._renewed[0] > LEASE - HEARTBEAT:
                raise StateError(
                    f"the lease of run {self.run_id!r} cannot be renewed in {self.file.path!r} and is about to "
                    f"end: {describe(error)}"
                ) from error
            raise

    def give_up(self) -> None:
        """Give the lease back, if this process has it; the run counts as cut short."""
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
