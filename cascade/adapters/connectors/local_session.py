"""A session of the local connector: a thread that waits for messages, and the streams that get them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from anyio.lowlevel import EventLoopToken

from cascade.adapters.connectors.local_streams import Streams
from cascade.adapters.connectors.mailbox import Bell
from cascade.adapters.connectors.membership import Membership
from cascade.adapters.connectors.outbox import Outbox
from cascade.runtime.control.connector import (
    MOST_BYTES,
    AudienceChanged,
    ConnectorError,
    Found,
    Lost,
    Subscription,
)

# Seconds between two tries to get back at the file.
RETRY: Final = 0.5
# Seconds without a datagram after which the thread looks whether others can still reach it.
QUIET: Final = 5.0


class Session:
    """A membership that is kept up, and its streams.

    Args:
        path: The control file.
        will: See ``Connector.connect``.
        token: The event loop of its streams.

    Raises:
        ConnectorError: If the control file cannot be used.
    """

    def __init__(self, path: Path, will: str, token: EventLoopToken) -> None:
        self._path = path
        self._will = will
        self._lock = threading.Lock()
        self._streams = Streams(token)
        self._closing = threading.Event()
        with ExitStack() as opened:
            self._bell = Bell()
            opened.callback(self._bell.close)
            self._membership = Membership(path, (), will)
            opened.callback(lambda: self._membership.leave())  # the last one that there was
            self._outbox = Outbox(self.receivers, self._gone)
            opened.callback(self._outbox.close)
            self._opened = opened.pop_all()
        self._known = self._membership.peers
        self._thread = threading.Thread(target=self._read, name="cascade-local-control", daemon=True)
        self._thread.start()

    # -- in worker threads ---------------------------------------------------------------------------------

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep a message in the control file.

        Raises:
            ConnectorError: If the file does not take it.
        """
        with self._lock:
            try:
                self._membership.retain(topic, payload)
            except ConnectorError:
                self._bell.ring()  # to find out whether the file is of use at all
                raise

    def add(self, subscription: Subscription, on_ready: Callable[[], object]) -> None:
        """Subscribe. *on_ready* is called, on the event loop, when all that is retained has arrived.

        Raises:
            ConnectorError: If the file does not take the filters.
        """
        with self._lock:
            self._streams.add(subscription, on_ready)
            self._membership.want(self._streams.topics())

    def remove(self, subscription: Subscription) -> None:
        """Unsubscribe."""
        with self._lock:
            if not self._closing.is_set():
                self._streams.remove(subscription)
                with suppress(ConnectorError):  # messages that come all the same are not delivered
                    self._membership.want(self._streams.topics())

    def close(self) -> None:
        """End the session for good, and all subscriptions."""
        self._closing.set()
        self._bell.ring()
        self._thread.join()
        self._opened.close()

    # -- in any thread -------------------------------------------------------------------------------------

    def send(self, topic: str, payload: bytes) -> None:
        """Send a message to all that are subscribed to its topic, as far as they have room for it."""
        if len(payload) > MOST_BYTES:
            return
        self._outbox.put(topic, topic.encode() + b"\0" + payload)

    def receivers(self, topic: str) -> list[str]:
        """Addresses of all processes that are subscribed to *topic*."""
        with self._lock:
            return self._membership.receivers(topic)

    def _gone(self, address: str) -> None:
        """The process at *address* has ended."""
        with self._lock, suppress(ConnectorError):
            self._membership.gone(address)

    # -- the reading thread --------------------------------------------------------------------------------

    def _read(self) -> None:
        while not self._closing.is_set():
            try:
                self._read_once(self._membership)
            except ConnectorError as error:
                self._get_back(error)

    def _read_once(self, membership: Membership) -> None:
        if not membership.mailbox.wait(self._bell, QUIET):
            membership.check_place()
            return
        self._streams.deliver(list(membership.messages()))
        # Only after all datagrams have been read: then a wake-up that found no room is not missed.
        if not self._closing.is_set():
            self._look()

    def _get_back(self, error: ConnectorError) -> None:
        """The file or the mailbox cannot be used any more: try to open new ones until that succeeds."""
        self._streams.tell(Lost(str(error)))
        while not self._closing.wait(RETRY):
            with suppress(ConnectorError), self._lock:
                before = self._membership
                self._membership = Membership(self._path, self._streams.topics(), self._will, before)
                before.close()
                self._membership.seen = 0
                self._streams.tell(Found())
                self._bell.ring()  # the new file is read from its beginning
                return

    def _look(self) -> None:
        """Deliver what has changed in the file, and to new streams all that is retained."""
        with self._lock:
            changes = self._membership.changes()
            if self._membership.peers != self._known:
                self._known = self._membership.peers
                self._streams.tell(AudienceChanged())
            self._streams.deliver(changes)
            self._streams.open_new(self._membership.retained)

    # -- on the loop ---------------------------------------------------------------------------------------

    def finish(self) -> None:
        """End all streams, after :meth:`close`."""
        self._streams.finish()
