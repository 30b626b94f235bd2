"""A connector for the processes of one user on one machine: a file and sockets, no server.

Retained messages are in a control file (SQLite), so they outlive every process. Each connected process has a Unix
datagram socket beside that file, named in it. A process that changes the file sends an empty datagram to the rest,
which then look into the file. Messages that are not retained are datagrams themselves.

So no wake-up is lost: where a datagram does not fit there are unread ones, and the receiver looks after those.

Only this user and root can open the file or reach the sockets: see ``adapters/trusted_paths.py``. Linux also says
who has sent a datagram; those of other users are ignored.

Seven modules: this one is what users see; ``local_session`` is one connection, ``local_streams`` its streams,
``membership`` one opening of the control file, ``control_file`` its content, ``mailbox`` the sockets beside it,
``outbox`` a thread that sends what is not retained. Two rules keep it from hanging: whatever ends a connection
wakes its threads through a socket pair (``Bell``), never through the file system; and nothing waits for another
process without a deadline.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import anyio
from anyio.lowlevel import checkpoint, current_token

from cascade.adapters.connectors.control_file import secured
from cascade.adapters.connectors.local_session import Session
from cascade.adapters.connectors.mailbox import SocketFolder, check_system
from cascade.runtime.control.connector import ConnectorError, Subscription
from cascade.runtime.foundation.threads import LoopLimiter, in_thread

_limiter: Final = LoopLimiter(4)


def default_path() -> Path:
    """The control file of this user on this machine.

    In ``$XDG_RUNTIME_DIR`` if that is an absolute path, otherwise in ``cascade-UID`` where temporary files go.
    """
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(folder):
        folder = os.path.join(tempfile.gettempdir(), f"cascade-{os.getuid()}")
    return Path(folder) / "cascade" / "control.db"


def from_url(url: str) -> LocalConnector:
    """The connector of ``local:`` or ``local:PATH``.

    Raises:
        ConnectorRefused: If this system has no Unix sockets (Windows).
    """
    rest = unquote(url.partition(":")[2])
    return LocalConnector(rest or None)


def _check_place(path: Path) -> None:
    SocketFolder(os.path.dirname(secured(path))).close()


class LocalConnector:
    """Reaches the other processes of this user on this machine that use the same control file. Needs no server.

    Args:
        path: The control file. It is made, with its folders, if it does not exist. ``None`` (default): one for
            each user, in ``$XDG_RUNTIME_DIR`` or the folder for temporary files.
        project: A name for what this process does, part of the topics on which events are published; ``"default"``
            by default.

    Raises:
        ConnectorRefused: If this system has no Unix sockets (Windows).
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, project: str = "default") -> None:
        check_system()
        self.path: Path = default_path() if path is None else Path(path)
        self.project = project
        self._session: Session | None = None
        self._is_connecting = False

    async def check(self) -> None:
        """See that the control file can be trusted. It is made if it does not exist.

        Runs in a worker thread, which is waited for if this is cancelled.

        Raises:
            ConnectorRefused: If other users can read, change or replace the file, or own it or a folder on the way
                to it; if it cannot be made; or if its path is too long for sockets.
        """
        await in_thread(lambda: _check_place(self.path), _limiter.get())

    async def connect(self, will: str = "") -> None:
        """Open the control file. Not cancelled once it has begun.

        Args:
            will: Topic whose retained message is removed if this process ends without :meth:`disconnect`. Empty by
                default: none.

        Raises:
            ConnectorError: If it is connected already, or the file cannot be used.
        """
        if self._session is not None or self._is_connecting:
            raise ConnectorError("this LocalConnector is connected already; make one for each engine")
        token = current_token()
        self._is_connecting = True
        try:
            with anyio.CancelScope(shield=True):
                self._session = await in_thread(lambda: Session(self.path, will, token), _limiter.get())
        finally:
            self._is_connecting = False

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message.

        A retained message is in the control file when this returns; writing it is not cancelled. Others are sent
        if possible and not waited for.

        Args:
            topic: The topic.
            payload: The content. An empty retained message removes the one that is kept.
            retain: Whether the message is kept for later subscribers.

        Raises:
            ConnectorError: If it is not connected, or the file cannot be used.
        """
        session = self._open_session()
        if retain:
            with anyio.CancelScope(shield=True):
                await in_thread(lambda: session.retain(topic, payload), _limiter.get())
            return
        session.send(topic, payload)
        await checkpoint()

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """A stream of what is published. When its block has been entered, all retained messages can be received.

        Args:
            topics: A filter for topics.
            latest_only: Whether only the last message of each topic matters.
        """
        return Subscription(self, topics, latest_only=latest_only)

    async def begin(self, subscription: Subscription) -> None:
        """Deliver what is retained, and from now on what is published. Called when the block of the stream is
        entered.

        If cancelled, nothing is subscribed.

        Args:
            subscription: The stream.

        Raises:
            ConnectorError: If it is not connected, or the file cannot be used.
        """
        session, ready = self._open_session(), anyio.Event()
        try:
            await in_thread(lambda: session.add(subscription, ready.set), _limiter.get())
            await ready.wait()
        except BaseException:  # cancelled: the block is not entered, so nothing else removes it
            with anyio.CancelScope(shield=True):
                await self.end(subscription)
            raise

    async def end(self, subscription: Subscription) -> None:
        """Deliver nothing more. Called in a shielded scope, so it is not cancelled.

        Args:
            subscription: The stream.
        """
        session = self._session
        if session is not None:
            await in_thread(lambda: session.remove(subscription), _limiter.get())

    async def has_audience(self, topic: str) -> bool:
        """Whether any process has subscribed to a topic. If cancelled, the thread that looks is waited for;
        nothing changes.

        Args:
            topic: The topic.

        Raises:
            ConnectorError: If it is not connected, or the file cannot be used.
        """
        session = self._open_session()
        return bool(await in_thread(lambda: session.receivers(topic), _limiter.get()))

    async def disconnect(self) -> None:
        """End the connection and all streams. Not cancelled. Does nothing if there is no connection."""
        session, self._session = self._session, None
        if session is not None:
            with anyio.CancelScope(shield=True):
                await in_thread(session.close, _limiter.get())
            session.finish()

    def _open_session(self) -> Session:
        if self._session is None:
            raise ConnectorError("the LocalConnector is not connected")
        return self._session

    def __repr__(self) -> str:
        return f"<LocalConnector {str(self.path)!r}>"
