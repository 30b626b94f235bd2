"""A process among those that share a control file: the file, its mailbox beside it, and those of the others."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs

from cascade.adapters.connectors.control_file import Peer, Store
from cascade.adapters.connectors.mailbox import Mailbox, SocketFolder, datagram_socket
from cascade.runtime.control.connector import ConnectorError, Message, matches


class Membership:
    """An open control file in which this process is noted as connected. For one thread at a time.

    Args:
        path: The control file.
        topics: The filters to which this process subscribes.
        will: See ``Connector.connect``.
        before: The membership that this one takes the place of; ``None`` by default.

    Raises:
        ConnectorError: If the file cannot be used.
    """

    def __init__(self, path: Path, topics: tuple[str, ...], will: str, before: Membership | None = None) -> None:
        self.me: Peer = Peer(secrets.token_hex(8), topics, will)
        with ExitStack() as opened:
            self.store: Store = Store(path)
            opened.callback(self.store.close)
            self.folder: SocketFolder = SocketFolder(os.path.dirname(self.store.path))
            opened.callback(self.folder.close)
            self._sender = opened.enter_context(datagram_socket())
            self._sender.setblocking(False)
            self.mailbox: Mailbox = Mailbox(self.folder, self.me.name)
            opened.callback(self.mailbox.close)
            with self.store.changing():
                if before is not None:
                    self.store.forget_peer(before.me.name)
                self.store.put_peer(self.me)
                self.seen: int = self.store.last()
            self.peers: list[Peer] = self.store.peers()
            self._opened = opened.pop_all()
        self._wake(self.peers)

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep a message in the file and tell everybody.

        Raises:
            ConnectorError: If the file does not take it.
        """
        with self.store.changing():
            self.store.retain(topic, payload)
        self._tell_all()

    def want(self, topics: tuple[str, ...]) -> None:
        """Note the filters to which this process subscribes, and tell everybody.

        Raises:
            ConnectorError: If the file does not take it.
        """
        self.me = attrs.evolve(self.me, topics=topics)
        with self.store.changing():
            self.store.put_peer(self.me)
        self._tell_all()

    def receivers(self, topic: str) -> list[str]:
        """Addresses of all processes that are subscribed to *topic*, as the file says now."""
        with suppress(ConnectorError):
            if self.store.has_changed():
                self.peers = self.store.peers()
        wanting = (peer for peer in self.peers if any(matches(topics, topic) for topics in peer.topics))
        return [self.folder.address(peer.name) for peer in wanting]

    def gone(self, address: str) -> None:
        """The process at *address* has ended.

        Raises:
            ConnectorError: If the file cannot be told.
        """
        self._drop([peer for peer in self.peers if self.folder.address(peer.name) == address])

    def messages(self) -> Iterator[Message]:
        """The messages that have come as datagrams: those that are not retained."""
        for datagram in self.mailbox.datagrams():
            topic, separator, payload = datagram.partition(b"\0")
            if separator:
                with suppress(UnicodeDecodeError):
                    yield Message(topic.decode(), payload)

    def changes(self) -> list[Message]:
        """The messages retained or removed since this was called last; also looks who is connected.

        Raises:
            ConnectorError: If the file cannot be read.
        """
        changes = self.store.changes(self.seen)
        if changes:
            self.seen = changes[-1][1]
        self.peers = self.store.peers()
        return [message for message, _ in changes]

    def retained(self) -> list[Message]:
        """All messages that are retained.

        Raises:
            ConnectorError: If the file cannot be read.
        """
        return [message for message, _ in self.store.changes(0) if message.payload]

    def check_place(self) -> None:
        """See that others find this file and this mailbox.

        Raises:
            ConnectorError: If they do not.
        """
        if not (self.store.is_in_place() and self.mailbox.is_in_place()):
            raise ConnectorError(f"the control file {self.store.path!r} or the socket beside it has been removed")

    def leave(self) -> None:
        """Note that this process is not connected any more, and close everything."""
        with suppress(ConnectorError):
            with self.store.changing():
                self.store.drop_peer(self.me)
            self._wake(self.store.peers())
        self.close()

    def close(self) -> None:
        """Close everything. In the file, this process stays connected."""
        self._opened.close()

    def _tell_all(self) -> None:
        self.peers = self.store.peers()
        self._drop(self._wake(self.peers))

    def _wake(self, peers: Iterable[Peer]) -> list[Peer]:
        """Have *peers* look into the file; returns those that have ended."""
        return [peer for peer in peers if not self._is_there(peer)]

    def _is_there(self, peer: Peer) -> bool:
        """Wake *peer*; whether it is still there."""
        try:
            self._sender.sendto(b"", self.folder.address(peer.name))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # no room: others are unread, after which it looks as well
        return True

    def _drop(self, dead: list[Peer]) -> None:
        if not dead:
            return
        with self.store.changing():
            for peer in dead:
                self.store.drop_peer(peer)
        for peer in dead:
            self.folder.remove(peer.name)  # a process that was killed leaves its socket behind
        self.peers = self.store.peers()
        self._wake(self.peers)
