"""A connector for the processes of one user on one machine: a file and sockets, no server.

What is retained stands in a control file (SQLite), so it outlives every process. Everybody who is connected has a
Unix datagram socket, whose address stands in that file too. Whoever changes the file sends an empty datagram to
all; the others look into the file then. Messages that are not retained are datagrams themselves.

So no wake-up is lost: a datagram that does not fit finds others unread, after which the receiver looks as well.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sqlite3
import stat
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import anyio
import attrs
from anyio.lowlevel import EventLoopToken, checkpoint, current_token

from cascade.adapters.connectors.outbox import Outbox
from cascade.runtime.threads import LoopLimiter, in_thread, wake_soon
from cascade.runtime.wire import (
    MOST_BYTES,
    AudienceChanged,
    ConnectorError,
    Found,
    Lost,
    Message,
    Signal,
    Subscription,
    matches,
)

# Lifted rules that are remembered for those who have not looked yet.
TOMBSTONES: Final = 10_000
# Bytes of a folder's path; systems allow 104 to 108 for a socket in it.
LONGEST_FOLDER: Final = 90
# Seconds between two tries to get back at the file.
RETRY: Final = 0.5
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, seq INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS retained_seq ON retained (seq);
CREATE TABLE IF NOT EXISTS peers (
    name TEXT PRIMARY KEY, address TEXT NOT NULL, topics TEXT NOT NULL, will TEXT NOT NULL
);
"""
_limiter = LoopLimiter(4)


def default_path() -> Path:
    """The control file of this user on this machine."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or os.path.join(tempfile.gettempdir(), f"cascade-{os.getuid()}")
    return Path(folder) / "cascade" / "control.db"


def from_url(url: str) -> LocalConnector:
    """The connector of ``local:`` or ``local:PATH``."""
    rest = unquote(url.partition(":")[2])
    return LocalConnector(rest or None)


@attrs.frozen
class Peer:
    """Somebody who is connected: where it hears, and of what."""

    name: str
    address: str
    topics: tuple[str, ...]
    will: str


class Store:
    """The control file, in one thread at a time."""

    def __init__(self, path: Path) -> None:
        _secure(path)
        self._version: int | None = None
        with _usable():
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
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
        """Keep the message, instead of that which was kept for its topic."""
        last = self.last()
        self._db.execute("REPLACE INTO retained VALUES (?, ?, ?)", (topic, payload, last + 1))
        self._db.execute("DELETE FROM retained WHERE payload = x'' AND seq < ?", (last - TOMBSTONES,))

    def last(self) -> int:
        """Number of the last change."""
        (last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM retained").fetchone()
        return int(last)

    def changes(self, after: int) -> list[tuple[Message, int]]:
        """What has been retained, or taken away, since change number *after*."""
        query = "SELECT topic, payload, seq FROM retained WHERE seq > ? ORDER BY seq"
        with _usable():
            return [(Message(topic, payload), seq) for topic, payload, seq in self._db.execute(query, (after,))]

    def peers(self) -> list[Peer]:
        """Who is connected."""
        query = "SELECT name, address, topics, will FROM peers"
        with _usable():
            rows = self._db.execute(query).fetchall()
        return [Peer(name, address, tuple(json.loads(topics)), will) for name, address, topics, will in rows]

    def has_changed(self) -> bool:
        """Whether others have changed the file since this was asked last."""
        with _usable():
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(version != before)

    def put_peer(self, peer: Peer) -> None:
        """Note that *peer* is connected, and what it wants to hear."""
        row = (peer.name, peer.address, json.dumps(peer.topics), peer.will)
        self._db.execute("REPLACE INTO peers VALUES (?, ?, ?, ?)", row)

    def drop_peer(self, peer: Peer) -> None:
        """*peer* is gone: what it wanted to be taken away is."""
        self._db.execute("DELETE FROM peers WHERE name = ?", (peer.name,))
        if peer.will:
            self.retain(peer.will, b"")

    def close(self) -> None:
        """Close the file."""
        self._db.close()


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ConnectorError(f"the control file cannot be used: {error}") from error


def _secure(path: Path) -> None:
    """See that *path* is a file of this user's own, and that nobody else can look into it or replace it.

    Raises:
        ConnectorError: If somebody else can.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = path.parent.stat()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConnectorError(f"the control file {str(path)!r} cannot be opened: {error}") from error
    try:
        found = os.fstat(file)
    finally:
        os.close(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConnectorError(
            f"the control file {str(path)!r} must be a file that only you can read and write; "
            "take another, or see to its owner and `chmod 600` it"
        )
    may_others_replace_it = folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX
    if folder.st_uid not in (0, os.geteuid()) or may_others_replace_it:
        raise ConnectorError(
            f"the folder of the control file {str(path)!r} must be yours or the system's, and nobody else's to "
            "write to; take another, or see to its owner and `chmod o-w` it"
        )


def _socket_folder() -> str:
    """A new folder that only this user can look into, with a path short enough for the address of a socket."""
    folder = tempfile.mkdtemp(prefix="cascade-")
    if len(os.fsencode(folder)) <= LONGEST_FOLDER:
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="cascade-", dir="/tmp")  # made for us alone, as above


class LocalConnector:
    """Reaches the other processes of this user on this machine that use the same control file.

    Args:
        path: The control file; made, with its folders, if it is not there. By default one for each user.
        project: A name for what this process is about, part of the topics of telemetry.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, project: str = "default") -> None:
        self.path: Path = default_path() if path is None else Path(path)
        self.project = project
        self._line: Line | None = None
        self._is_connecting = False

    async def connect(self, will: str = "") -> None:
        """Connect; see ``Connector.connect``."""
        if self._line is not None or self._is_connecting:
            raise ConnectorError("this LocalConnector is connected already; make one for each engine")
        token = current_token()
        self._is_connecting = True
        try:
            with anyio.CancelScope(shield=True):
                self._line = await in_thread(lambda: Line(self.path, will, token), _limiter.get())
        finally:
            self._is_connecting = False

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish; see ``Connector.publish``."""
        line = self._open_line()
        if retain:
            with anyio.CancelScope(shield=True):
                await in_thread(lambda: line.retain(topic, payload), _limiter.get())
            return
        line.send(topic, payload)
        await checkpoint()

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """Subscribe; see ``Connector.subscribe``."""
        return Subscription(self, topics, latest_only=latest_only)

    async def begin(self, subscription: Subscription) -> None:
        """Deliver what is retained, and from now on what is published."""
        line, ready = self._open_line(), anyio.Event()
        try:
            await in_thread(lambda: line.add(subscription, ready.set), _limiter.get())
            await ready.wait()
        except BaseException:  # cancelled: who does not enter the block does not leave it either
            with anyio.CancelScope(shield=True):
                await self.end(subscription)
            raise

    async def end(self, subscription: Subscription) -> None:
        """Deliver nothing more."""
        line = self._line
        if line is not None:
            await in_thread(lambda: line.remove(subscription), _limiter.get())

    async def has_audience(self, topic: str) -> bool:
        """Whether anybody listens; see ``Attentive.has_audience``."""
        line = self._open_line()
        return bool(await in_thread(lambda: line.receivers(topic), _limiter.get()))

    async def disconnect(self) -> None:
        """Disconnect; see ``Connector.disconnect``."""
        line, self._line = self._line, None
        if line is not None:
            with anyio.CancelScope(shield=True):
                await in_thread(line.close, _limiter.get())
            line.finish()

    def _open_line(self) -> Line:
        if self._line is None:
            raise ConnectorError("the LocalConnector is not connected")
        return self._line

    def __repr__(self) -> str:
        return f"<LocalConnector {str(self.path)!r}>"


class Line:
    """One connection: a socket, a thread that reads it, and the file."""

    def __init__(self, path: Path, will: str, token: EventLoopToken) -> None:
        self._token = token
        self._path = path
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        # New subscriptions, with what is to be called on the loop when they have got what is retained.
        self._new: deque[tuple[Subscription, Callable[[], object]]] = deque()
        self._closing = threading.Event()
        self._seen = 0
        with ExitStack() as opened:
            self._store = Store(path)
            opened.callback(lambda: self._store.close())
            self._folder = _socket_folder()
            opened.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._socket = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._sender = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._me = Peer(secrets.token_hex(8), os.path.join(self._folder, "socket"), (), will)
            self._peers = self._join()
            self._known = self._peers
            self._outbox = Outbox(self.receivers, self._gone)
            opened.callback(self._outbox.close)
            self._opened = opened.pop_all()
        self._thread = threading.Thread(target=self._read, name="cascade-local-control", daemon=True)
        self._thread.start()

    # -- in worker threads ---------------------------------------------------------------------------------

    def _join(self) -> list[Peer]:
        """Be there for the others, of whom there are these."""
        self._socket.bind(self._me.address)
        os.chmod(self._me.address, 0o600)
        self._sender.setblocking(False)
        with self._store.changing():
            self._store.put_peer(self._me)
            self._seen = self._store.last()
        peers = self._store.peers()
        self._wake(peers)
        return peers

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep a message in the file and tell everybody.

        Raises:
            ConnectorError: If the file does not take it.
        """
        with self._lock:
            try:
                with self._store.changing():
                    self._store.retain(topic, payload)
                self._peers = self._store.peers()
                self._bury(self._wake(self._peers))
            except ConnectorError:
                self._wake([self._me])  # to find out whether the file is of use at all
                raise

    def add(self, subscription: Subscription, on_ready: Callable[[], object]) -> None:
        """Subscribe."""
        with self._lock:
            self._new.append((subscription, on_ready))
            self._say_topics()

    def remove(self, subscription: Subscription) -> None:
        """Unsubscribe."""
        with self._lock:
            if not self._closing.is_set():
                self._subscriptions = [other for other in self._subscriptions if other is not subscription]
                self._new = deque(pair for pair in self._new if pair[0] is not subscription)
                with suppress(ConnectorError):  # what is not wanted any more is not listened to
                    self._say_topics()

    def _say_topics(self) -> None:
        subscriptions = [*self._subscriptions, *(subscription for subscription, _ in self._new)]
        topics = tuple({subscription.topics: None for subscription in subscriptions})
        self._me = attrs.evolve(self._me, topics=topics)
        with self._store.changing():
            self._store.put_peer(self._me)
        self._peers = self._store.peers()
        self._bury(self._wake(self._peers))

    def close(self) -> None:
        """End the thread, and leave nothing behind."""
        with self._lock:
            self._closing.set()
            self._wake([self._me])
        self._thread.join()
        with suppress(ConnectorError):
            with self._store.changing():
                self._store.drop_peer(self._me)
            self._wake(peer for peer in self._store.peers() if peer.name != self._me.name)
        self._opened.close()

    def _wake(self, peers: Iterable[Peer]) -> list[Peer]:
        """Have *peers* look into the file; returns those that are gone."""
        return [peer for peer in peers if not self._send_to(peer, b"")]

    def _bury(self, dead: list[Peer]) -> None:
        if not dead:
            return
        with self._store.changing():
            for peer in dead:
                self._store.drop_peer(peer)
        for peer in dead:
            # A process that was killed leaves its socket behind; in a folder of its own, made by us.
            with suppress(OSError):
                os.unlink(peer.address)
                os.rmdir(os.path.dirname(peer.address))
        self._peers = self._store.peers()
        self._wake(self._peers)

    # -- in any thread -------------------------------------------------------------------------------------

    def send(self, topic: str, payload: bytes) -> None:
        """Send a message to all who want it, if they have room for it."""
        if len(payload) > MOST_BYTES:
            return
        self._outbox.put(topic, topic.encode() + b"\0" + payload)

    def receivers(self, topic: str) -> list[str]:
        """Addresses of all who have subscribed to *topic* by now, whether their wake-up has been heard or not."""
        with self._lock, suppress(ConnectorError):
            if self._store.has_changed():
                self._peers = self._store.peers()
        return [peer.address for peer in self._peers if any(matches(topics, topic) for topics in peer.topics)]

    def _gone(self, address: str) -> None:
        """There is nobody at *address* any more."""
        with self._lock, suppress(ConnectorError):
            self._bury([peer for peer in self._peers if peer.address == address])

    def _send_to(self, peer: Peer, datagram: bytes) -> bool:
        """Send if there is room; whether there is still somebody to send to."""
        try:
            self._sender.sendto(datagram, peer.address)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # no room; what is lost is a wake-up among others
        return True

    # -- the reading thread --------------------------------------------------------------------------------

    def _read(self) -> None:
        while not self._closing.is_set():
            # After all there is, so also after those that had no room.
            messages = list(self._datagrams())
            self._deliver(messages)
            try:
                if not self._closing.is_set():
                    self._look()
            except ConnectorError as error:
                self._get_back(error)

    def _get_back(self, error: ConnectorError) -> None:
        """The file has become useless: wait until there is a good one in its place."""
        self._tell(Lost(str(error)))
        while not self._closing.wait(RETRY):
            with suppress(ConnectorError), self._lock:
                store = Store(self._path)
                self._store.close()
                self._store = store
                with store.changing():
                    store.put_peer(self._me)
                self._seen = 0
                self._tell(Found())
                self._wake([self._me])  # there is all of it to look at
                return

    def _tell(self, signal: Signal) -> None:
        for subscription in list(self._subscriptions):
            wake_soon(self._token, subscription.put, signal)

    def _datagrams(self) -> Iterator[Message]:
        """The messages that have come, at least one datagram having been waited for."""
        flags = 0
        for _ in range(100):
            try:
                topic, separator, payload = self._socket.recv(MOST_BYTES + 4096, flags).partition(b"\0")
            except BlockingIOError:
                return
            if separator:
                with suppress(UnicodeDecodeError):
                    yield Message(topic.decode(), payload)
            flags = socket.MSG_DONTWAIT

    def _look(self) -> None:
        """Deliver what has changed in the file, and to new subscribers all that is retained."""
        with self._lock:
            changes = self._store.changes(self._seen)
            if changes:
                self._seen = changes[-1][1]
            self._peers = self._store.peers()
            if self._peers != self._known:
                self._known = self._peers
                self._tell(AudienceChanged())
            self._deliver([message for message, _ in changes])
            while self._new:
                subscription, on_ready = self._new.popleft()
                kept = [message for message, _ in self._store.changes(0) if message.payload]
                self._deliver(kept, [subscription])
                self._subscriptions.append(subscription)  # from the next change on
                wake_soon(self._token, on_ready)

    def _deliver(self, messages: list[Message], subscriptions: list[Subscription] | None = None) -> None:
        chosen = list(self._subscriptions) if subscriptions is None else subscriptions
        if messages and chosen:
            wake_soon(self._token, _put_all, messages, chosen)

    # -- on the loop ---------------------------------------------------------------------------------------

    def finish(self) -> None:
        """End all streams."""
        for subscription in self._subscriptions:
            subscription.finish()
        for subscription, on_ready in self._new:  # pragma: no cover  # the reading thread did not come to it
            subscription.finish()
            on_ready()


def _put_all(messages: list[Message], subscriptions: list[Subscription]) -> None:
    for message in messages:
        for subscription in subscriptions:
            if subscription.covers(message.topic):
                subscription.put(message)
