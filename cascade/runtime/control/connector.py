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
    """A connector cannot reach its broker or file, or is not connected."""


class ConnectorRefused(ConnectorError, ValueError):
    """A connector must not use its broker or file, or cannot work on this system. Trying again does not help."""


@attrs.frozen
class Message:
    """A message that was published.

    Args:
        topic: Its topic.
        payload: Its content; empty to remove a retained message.
    """

    topic: str
    payload: bytes


@attrs.frozen
class Lost:
    """The connection is lost. The connector tries to restore it by itself.

    Args:
        reason: Why.
    """

    reason: str


@attrs.frozen
class Found:
    """The connection is restored."""


@attrs.frozen
class Missed:
    """Messages were dropped, because there were too many or they were too long.

    Args:
        count: How many, from 1.
    """

    count: int


@attrs.frozen
class AudienceChanged:
    """A subscriber has come or gone, so ``has_audience`` may give another answer."""


Signal = Message | Lost | Found | Missed | AudienceChanged


class Connector(Protocol):
    """Carries messages between a run and other processes.

    All errors of reaching them are ``OSError``. After a successful :meth:`connect` the connector keeps the
    connection up by itself until :meth:`disconnect`. Then it can be connected again, also on another event loop.
    """

    @property
    def project(self) -> str:
        """A name for what this process does. It is part of the topics on which events are published."""
        ...

    async def connect(self, will: str = "") -> None:
        """Connect. If cancelled, there is no connection, or :meth:`disconnect` ends it.

        Args:
            will: Topic whose retained message is removed if the connection is lost. Empty by default: none.

        Raises:
            OSError: If it cannot connect now.
        """
        ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message.

        A retained message has arrived when this returns. Others are sent if possible, in order, and not waited
        for; a retained one may overtake them. If cancelled, a retained message may have arrived or not.

        Args:
            topic: The topic.
            payload: The content. An empty retained message removes the one that is kept.
            retain: Whether the message is kept for later subscribers.

        Raises:
            OSError: If a retained message could not be delivered.
        """
        ...

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """A stream of what is published. When its block has been entered, all retained messages can be received.

        Args:
            topics: A filter for topics.
            latest_only: Whether only the last message of each topic matters.
        """
        ...

    async def disconnect(self) -> None:
        """End the connection and all streams. Does nothing if there is no connection.

        The engine cancels it after a time limit. The connection should be ended all the same.
        """
        ...


class Attentive(Connector, Protocol):
    """A connector that knows whether anybody listens, so that events that nobody would get need not be made.

    It puts :class:`AudienceChanged` into all its streams when that changes; streams with ``tells_audience`` keep
    it.
    """

    async def has_audience(self, topic: str) -> bool:
        """Whether anybody has subscribed to a topic. May be cancelled; changes nothing.

        Args:
            topic: The topic.

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
        """Deliver nothing more. It never waits, so it cannot be cancelled.

        Args:
            subscription: The stream.
        """
        ...


class Subscription:
    """What a subscriber reads: ``async with connector.subscribe(...) as stream: async for signal in stream``.

    If entering the block is cancelled, nothing is subscribed. If a reader is cancelled, nothing is lost. Leaving
    the block unsubscribes, also under cancellation.

    Args:
        host: The connector.
        topics: A filter for topics.
        latest_only: Whether only the last message of each topic is kept.
        limit: Messages that are kept unread, at least 1; 10 000 by default. Of what does not fit only the number
            is reported.

    Attributes:
        topics: The filter.
        tells_audience: Whether the stream also gives :class:`AudienceChanged`.
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
        """Whether messages on a topic belong to this stream.

        Args:
            topic: The topic.
        """
        return matches(self.topics, topic)

    def put(self, signal: Signal) -> None:
        """Deliver a signal. Called by the connector, on the event loop.

        Args:
            signal: A message, or what happened to the connection.
        """
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
        """Count a message that could not be kept. Called by the connector."""
        self._missed += 1
        self._changed.set()

    def finish(self) -> None:
        """End the stream. What was delivered can still be received."""
        self._has_ended = True
        self._changed.set()

    def receive_nowait(self) -> Signal:
        """The next signal, if there is one already.

        Raises:
            anyio.WouldBlock: If there is none yet.
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
        """Wait for the next signal and return it. If cancelled, none is lost.

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
