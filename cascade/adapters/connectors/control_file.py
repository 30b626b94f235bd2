"""The control file of the local connector: what is retained, and who is connected."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from cascade.adapters.trusted_paths import UntrustedPath, private_file
from cascade.runtime.control.connector import ConnectorError, ConnectorRefused, Message

# Removed messages that are remembered for processes that have not looked yet.
TOMBSTONES: Final = 10_000
# Seconds to wait for other processes that write to the file. A run that ends may have to wait three times.
PATIENCE: Final = 3.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, seq INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS retained_seq ON retained (seq);
CREATE TABLE IF NOT EXISTS connected (name TEXT PRIMARY KEY, topics TEXT NOT NULL, will TEXT NOT NULL);
"""
_NAME: Final = re.compile("[0-9a-f]{16}")


@attrs.frozen
class Peer:
    """A process that is connected.

    Attributes:
        name: 16 hexadecimal digits, after which its socket is named.
        topics: The filters to which it subscribes.
        will: Topic whose retained message is removed when the process has ended; empty for none.
    """

    name: str
    topics: tuple[str, ...]
    will: str


def secured(path: Path) -> str:
    """Where the control file *path* is; made, with its folders, if it is not there.

    Raises:
        ConnectorRefused: If other users can read, change or replace it, or have made it or a folder on the way, or
            if it cannot be made.
    """
    try:
        return private_file(os.fspath(path))
    except UntrustedPath as error:
        why = f"{error}, or give another file as local:PATH"
    except OSError as error:
        why = f"{error.strerror or error}; see to that, or give another file as local:PATH"
    raise ConnectorRefused(f"the control file {str(path)!r} is refused: {why}")


class Store:
    """An open control file, for one thread at a time.

    Args:
        path: The file.

    Raises:
        ConnectorError: If it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path: str = secured(path)
        self._file = os.lstat(self.path)
        self._version: int | None = None
        with _usable():
            self._db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.executescript(_SCHEMA)
            except BaseException:
                self._db.close()
                raise

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change all or nothing.

        Raises:
            ConnectorError: If the file does not take it.
        """
        with _usable():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a file that is broken may have ended it by itself
                    self._db.execute("ROLLBACK")
                raise

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep the message instead of the one that was kept for its topic; an empty one removes that."""
        last = self.last()
        self._db.execute("REPLACE INTO retained VALUES (?, ?, ?)", (topic, payload, last + 1))
        self._db.execute("DELETE FROM retained WHERE payload = x'' AND seq < ?", (last - TOMBSTONES,))

    def last(self) -> int:
        """The number of the last change; 0 before the first."""
        (last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM retained").fetchone()
        return int(last)

    def changes(self, after: int) -> list[tuple[Message, int]]:
        """The messages retained or removed since change number *after*, each with the number of its change."""
        query = "SELECT topic, payload, seq FROM retained WHERE seq > ? ORDER BY seq"
        with _usable():
            return [(Message(topic, payload), seq) for topic, payload, seq in self._db.execute(query, (after,))]

    def peers(self) -> list[Peer]:
        """The processes that are connected; rows that make no sense are passed over."""
        with _usable():
            rows = self._db.execute("SELECT name, topics, will FROM connected").fetchall()
        return [peer for peer in map(_peer, rows) if peer is not None]

    def has_changed(self) -> bool:
        """Whether others have changed the file since this was called last."""
        with _usable():
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(version != before)

    def is_in_place(self) -> bool:
        """Whether others still find this file at its path."""
        try:
            return os.path.samestat(os.lstat(self.path), self._file)
        except OSError:
            return False

    def put_peer(self, peer: Peer) -> None:
        """Note that *peer* is connected, with its filters."""
        row = peer.name, json.dumps(peer.topics), peer.will
        self._db.execute("REPLACE INTO connected VALUES (?, ?, ?)", row)

    def drop_peer(self, peer: Peer) -> None:
        """*peer* has ended: remove it, and the message of its will."""
        self.forget_peer(peer.name)
        if peer.will:
            self.retain(peer.will, b"")

    def forget_peer(self, name: str) -> None:
        """Remove the peer *name*; the message of its will stays."""
        self._db.execute("DELETE FROM connected WHERE name = ?", (name,))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _peer(row: tuple[object, ...]) -> Peer | None:
    """The peer of *row*; ``None`` if it makes no sense."""
    name, topics, will = row
    with suppress(ValueError):
        wanted = json.loads(str(topics))
        if _NAME.fullmatch(str(name)) and isinstance(wanted, list):
            return Peer(str(name), tuple(map(str, wanted)), str(will))
    return None


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ConnectorError(f"the control file cannot be used: {error}") from error
