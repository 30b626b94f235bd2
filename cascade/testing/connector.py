"""A connector within one process, for tests, with a broker that can be stopped."""

from __future__ import annotations

import attrs
from anyio.lowlevel import checkpoint

from cascade.runtime.control.connector import ConnectorError, Found, Lost, Message, Subscription


@attrs.define(eq=False)
class MemoryBroker:
    """The broker of :class:`MemoryConnector`.

    Args:
        retained: Retained messages, topic to content. Empty by default.
        published: All messages that were published, in order. Empty by default.
        is_up: Whether the broker can be reached; ``True`` by default.
        connectors: The connectors that are connected. Empty by default.
    """

    retained: dict[str, bytes] = attrs.field(factory=dict)
    published: list[Message] = attrs.field(factory=list)
    is_up: bool = True
    connectors: list[MemoryConnector] = attrs.field(factory=list)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message, as another process would.

        Args:
            topic: The topic.
            payload: The content. An empty retained message removes the one that is kept.
            retain: Whether the message is kept for later subscribers.
        """
        message = Message(topic, payload)
        self.published.append(message)
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for connector in self.connectors:
            connector.deliver(message)

    def stop(self) -> None:
        """Make the broker unreachable. Messages from its own :meth:`publish` are delivered after :meth:`start`."""
        self.is_up = False
        for connector in self.connectors:
            connector.lose()

    def start(self) -> None:
        """Make the broker reachable again."""
        self.is_up = True
        for connector in self.connectors:
            connector.find()


class MemoryConnector:
    """A connector to a :class:`MemoryBroker`, for ``control=``.

    Args:
        broker: The broker. ``None`` (default): a new one.
        project: A name for what this process does, part of the topics on which events are published; ``"default"``
            by default.

    Attributes:
        broker: The broker.
        project: As given.
    """

    def __init__(self, broker: MemoryBroker | None = None, *, project: str = "default") -> None:
        self.broker: MemoryBroker = broker or MemoryBroker()
        self.project = project
        self._will = ""
        self._subscriptions: list[Subscription] = []
        self._unsent: list[Message] = []

    async def connect(self, will: str = "") -> None:
        """Connect. If cancelled, there is no connection.

        Args:
            will: Topic whose retained message is removed by :meth:`disconnect`. Empty by default: none.

        Raises:
            ConnectorError: If it is connected already, or the broker is stopped.
        """
        await checkpoint()
        if self in self.broker.connectors:
            raise ConnectorError("this MemoryConnector is connected already; make one for each engine")
        if not self.broker.is_up:
            raise ConnectorError("the broker is not there")
        self._will = will
        self.broker.connectors.append(self)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message. If cancelled, nothing is published.

        Args:
            topic: The topic.
            payload: The content. An empty retained message removes the one that is kept.
            retain: Whether the message is kept for later subscribers.

        Raises:
            ConnectorError: If it is not connected, or the message is retained and the broker is stopped.
        """
        await checkpoint()
        if self not in self.broker.connectors:
            raise ConnectorError("the MemoryConnector is not connected")
        if self.broker.is_up:
            self.broker.publish(topic, payload, retain=retain)
        elif retain:
            raise ConnectorError("the broker is not there")

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """A stream of what is published. When its block has been entered, all retained messages can be received.

        Args:
            topics: A filter for topics.
            latest_only: Whether only the last message of each topic matters.
        """
        return Subscription(self, topics, latest_only=latest_only)

    async def begin(self, subscription: Subscription) -> None:
        """Deliver what is retained, and from now on what is published. If cancelled, nothing is subscribed.

        Args:
            subscription: The stream.
        """
        await checkpoint()
        self._subscriptions.append(subscription)
        for topic, payload in self.broker.retained.items():
            if subscription.covers(topic):
                subscription.put(Message(topic, payload))

    async def end(self, subscription: Subscription) -> None:
        """Deliver nothing more. It never waits, so it cannot be cancelled.

        Args:
            subscription: The stream.
        """
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    async def disconnect(self) -> None:
        """End the connection and all streams. If cancelled at its beginning, nothing has changed."""
        await checkpoint()
        if self in self.broker.connectors:
            self.broker.connectors.remove(self)
            if self._will and self.broker.is_up:
                self.broker.publish(self._will, b"", retain=True)
        for subscription in self._subscriptions:
            subscription.finish()
        self._subscriptions.clear()

    def deliver(self, message: Message) -> None:
        """Take a message from the broker. Called by the broker.

        Args:
            message: The message.
        """
        if not self.broker.is_up:
            self._unsent.append(message)
            return
        for subscription in self._subscriptions:
            if subscription.covers(message.topic):
                subscription.put(message)

    def lose(self) -> None:
        """Report that the connection is lost. Called by the broker."""
        for subscription in self._subscriptions:
            subscription.put(Lost("the broker was stopped"))

    def find(self) -> None:
        """Report that the connection is restored, and deliver what was missed. Called by the broker."""
        for subscription in self._subscriptions:
            subscription.put(Found())
        unsent, self._unsent = self._unsent, []
        for message in unsent:
            self.deliver(message)
