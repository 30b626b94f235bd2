"""Datagrams on their way to other processes of this machine."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from cascade.adapters.connectors.mailbox import datagram_socket

# Datagrams that may wait; further ones are lost.
MOST: Final = 1000
# Seconds that one receiver may keep the others waiting, once.
PATIENCE: Final = 1
# Seconds for what waits when it is closed, however many receivers do not read.
LAST_WORDS: Final = 3.0


class Outbox:
    """Sends datagrams in order, from a thread that waits until there is room for them.

    Systems keep as few as ten unread datagrams for a receiver. A receiver that does not read at all is waited for
    once. After that it only gets what there is room for, until it reads again.

    Args:
        receivers: Returns the addresses that are subscribed to a topic. Called in the thread before each datagram.
        on_gone: Called in the thread with an address whose process has ended.
    """

    def __init__(self, receivers: Callable[[str], Iterable[str]], on_gone: Callable[[str], object]) -> None:
        self._receivers = receivers
        self._on_gone = on_gone
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._news = threading.Condition()
        self._stuck: set[str] = set()
        self._is_closing = False
        # When sending has to end, on the monotonic clock.
        self._deadline = math.inf
        self._thread: threading.Thread | None = None
        self._socket = datagram_socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", PATIENCE, 0))

    def put(self, topic: str, datagram: bytes) -> None:
        """Send *datagram* soon to all that are subscribed to *topic*, unless too many wait."""
        with self._news:
            if self._is_closing or len(self._waiting) >= MOST:
                return
            self._waiting.append((topic, datagram))
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="cascade-local-outbox", daemon=True)
                self._thread.start()
            self._news.notify()

    def close(self) -> None:
        """Send what waits, and end the thread. What has not been sent within ``LAST_WORDS`` seconds is lost."""
        with self._news:
            self._is_closing = True
            self._deadline = time.monotonic() + LAST_WORDS
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def _send_all(self) -> None:
        while time.monotonic() < self._deadline:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                topic, datagram = self._waiting.popleft()
            for address in self._receivers(topic):
                if time.monotonic() >= self._deadline:
                    return
                self._send(address, datagram)

    def _send(self, address: str, datagram: bytes) -> None:
        flags = socket.MSG_DONTWAIT if address in self._stuck else 0
        try:
            self._socket.sendto(datagram, flags, address)
        except (FileNotFoundError, ConnectionRefusedError):
            self._stuck.discard(address)
            self._on_gone(address)
        except OSError:  # no room
            self._stuck.add(address)
        else:
            self._stuck.discard(address)
