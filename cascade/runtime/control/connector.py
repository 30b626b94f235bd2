"""The seam to other processes: what a connector does, and the stream in which a subscriber reads signals.

Topics are those of MQTT: levels between slashes. In a filter, ``+`` is any one level and ``#`` all levels that
follow. A *retained* message is kept for later subscribers, one for each topic; an empty one removes it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Protocol, Self

import anyio
import attrs
from anyio.lowlevel import checkpoint

# Longer messages are not looked at.
MOST_BYTES: Final = 65_536


class ConnectorError(ConnectionError):
    """A connector cannot reach the other side, or must not use it."""


class ConnectorRefused(ConnectorError, ValueError):
    """The other side must not be used, or this system does not have it; trying again does not help."""


@attrs.frozen
class Message:
    """A published message."""

    topic: str
    payload: bytes


@attrs.frozen
class Lost:
    """The connection is lost; the connector reconnects by itself."""

    reason: str


@attrs.frozen
class Found:
    """The connection is back."""


@attrs.frozen
class Missed:
    """``count`` messages were dropped: too many were unread, or they were too long."""

    count: int


@attrs.frozen
class AudienceChanged:
    """Somebody has begun or stopped to listen; an earlier answer of ``has_audience`` may be wrong now."""


Signal = Message | Lost | Found | Missed | AudienceChanged


class Connector(Protocol):
    """Carries messages between the runs of this process and other processes.

    All errors of the connection are ``OSError``. After a successful :meth:`connect` the connector keeps the
    connection up by itself, until :meth:`disconnect`; then it can be connected again, also on another event loop.
    """

    @property
    def project(self) -> str:
        """The project of this process: a part of the topics of its telemetry."""
        ...

    async def connect(self, will: str = "") -> None:
        """Connect.

        Args:
            will: Topic whose retained message is removed when the connection is lost. Empty by default: none.

        Raises:
            OSError: If that is not possible now.
        """
        ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message.

        A retained message has arrived when this returns. Others are sent if possible, in order, and this does not
        wait for them; a retained message may overtake them.

        Raises:
            OSError: If a retained message could not be delivered.
        """
        ...

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """A stream of the messages on *topics*.

        When its block has been entered, all messages retained on these topics can be received.

        Args:
            topics: A filter.
            latest_only: Keep only the last unread message of each topic. Off by default.
        """
        ...

    async def disconnect(self) -> None:
        """End the connection and all streams. Does nothing without a connection."""
        ...


class Attentive(Connector, Protocol):
    """A connector that knows whether anybody listens: without listeners, events are not even built.

    It puts :class:`AudienceChanged` into all its streams when that changes. Only streams with ``tells_audience``
    keep this signal.
    """

    async def has_audience(self, topic: str) -> bool:
        """Whether anybody is subscribed to *topic*.

        Raises:
            OSError: If that cannot be found out.
        """
        ...


class Host(Protocol):
    """The connector of a subscription."""

    async def begin(self, subscription: Subscription) -> None:
        """Deliver the retained messages, then all that are published."""
        ...

    async def end(self, subscription: Subscription) -> None:
        """Deliver nothing more."""
        ...


class Subscription:
    """What a subscriber reads: ``async with connector.subscribe(...) as stream: async for signal in stream``.

    Keeps at most *limit* unread messages. Those that do not fit are counted, and reported as :class:`Missed`.

    Attributes:
        topics: The filter.
        tells_audience: Whether :class:`AudienceChanged` is delivered too. Off at first.
    """

    def __init__(self, host: Host, topics: str, *, latest_only: bool = False, limit: int = 10_000) -> None:
        self.topics = topics
        self.tells_audience = False
        self._host = host
        self._latest_only = latest_only
        self._limit = limit
        self._items: dict[object, Signal] = {}
        self._number = 0
        self._missed = 0
        self._has_ended = False
        self._changed = anyio.Event()

    def covers(self, topic: str) -> bool:
        """Whether the filter admits *topic*."""
        return matches(self.topics, topic)

    def put(self, signal: Signal) -> None:
        """Deliver *signal*. On the event loop."""
        if type(signal) is AudienceChanged and not self.tells_audience:
            return
        self._number += 1
        key: object = self._number
        if isinstance(signal, Message):
            if len(signal.payload) > MOST_BYTES:
                self.miss()
                return
            if self._latest_only:
                key = signal.topic
                self._items.pop(key, None)
        if len(self._items) >= self._limit:
            self.miss()
            return
        self._items[key] = signal
        self._changed.set()

    def miss(self) -> None:
        """Count a message that was not kept."""
        self._missed += 1
        self._changed.set()

    def finish(self) -> None:
        """End the stream, after what is unread."""
        self._has_ended = True
        self._changed.set()

    def receive_nowait(self) -> Signal:
        """The next signal, if there is one already.

        Raises:
            anyio.WouldBlock: If there is none.
            anyio.EndOfStream: After the last one.
        """
        if self._items:
            return self._items.pop(next(iter(self._items)))
        if self._missed:
            count, self._missed = self._missed, 0
            return Missed(count)
        if self._has_ended:
            raise anyio.EndOfStream
        raise anyio.WouldBlock

    async def receive(self) -> Signal:
        """The next signal.

        Raises:
            anyio.EndOfStream: After the last one.
        """
        await checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                self._changed = anyio.Event()
                await self._changed.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Signal:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        await self._host.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()
        with anyio.CancelScope(shield=True):
            await self._host.end(self)


def matches(topics: str, topic: str) -> bool:
    """Whether the filter *topics* admits *topic*."""
    wanted, levels = topics.split("/"), topic.split("/")
    for place, word in enumerate(wanted):
        if word == "#":
            return True
        if place >= len(levels) or word not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)
