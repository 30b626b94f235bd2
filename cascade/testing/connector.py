"""A connector within one process, for tests: with a broker that can be taken away."""

from __future__ import annotations

import attrs
from anyio.lowlevel import checkpoint

from cascade.runtime.control.connector import ConnectorError, Found, Lost, Message, Subscription


@attrs.define(eq=False)
class MemoryBroker:
    """What :class:`MemoryConnector` connects to.

    Attributes:
        retained: What is kept, by topic.
        published: Everything that was published, in order.
        is_up: Whether it can be reached.
    """

    retained: dict[str, bytes] = attrs.field(factory=dict)
    published: list[Message] = attrs.field(factory=list)
    is_up: bool = True
    connectors: list[MemoryConnector] = attrs.field(factory=list)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message, as somebody else would."""
        message = Message(topic, payload)
        self.published.append(message)
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for connector in self.connectors:
            connector.deliver(message)

    def stop(self) -> None:
        """Be out of reach; what is published meanwhile by :meth:`publish` is delivered afterwards."""
        self.is_up = False
        for connector in self.connectors:
            connector.lose()

    def start(self) -> None:
        """Be in reach again."""
        self.is_up = True
        for connector in self.connectors:
            connector.find()


class MemoryConnector:
    """A ``Connector`` to a :class:`MemoryBroker`.

    Args:
        broker: What it connects to; one of its own by default.
        project: Part of the topics of telemetry.
    """

    def __init__(self, broker: MemoryBroker | None = None, *, project: str = "default") -> None:
        self.broker: MemoryBroker = broker or MemoryBroker()
        self.project = project
        self._will = ""
        self._subscriptions: list[Subscription] = []
        self._unsent: list[Message] = []

    async def connect(self, will: str = "") -> None:
        """Connect."""
        await checkpoint()
        if self in self.broker.connectors:
            raise ConnectorError("this MemoryConnector is connected already; make one for each engine")
        if not self.broker.is_up:
            raise ConnectorError("the broker is not there")
        self._will = will
        self.broker.connectors.append(self)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message."""
        await checkpoint()
        if self not in self.broker.connectors:
            raise ConnectorError("the MemoryConnector is not connected")
        if self.broker.is_up:
            self.broker.publish(topic, payload, retain=retain)
        elif retain:
            raise ConnectorError("the broker is not there")

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """Subscribe."""
        return Subscription(self, topics, latest_only=latest_only)

    async def begin(self, subscription: Subscription) -> None:
        """Deliver what is retained, and from now on what is published."""
        await checkpoint()
        self._subscriptions.append(subscription)
        for topic, payload in self.broker.retained.items():
            if subscription.covers(topic):
                subscription.put(Message(topic, payload))

    async def end(self, subscription: Subscription) -> None:
        """Deliver nothing more."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    async def disconnect(self) -> None:
        """End the connection."""
        await checkpoint()
        if self in self.broker.connectors:
            self.broker.connectors.remove(self)
            if self._will and self.broker.is_up:
                self.broker.publish(self._will, b"", retain=True)
        for subscription in self._subscriptions:
            subscription.finish()
        self._subscriptions.clear()

    def deliver(self, message: Message) -> None:
        """The broker has a message."""
        if not self.broker.is_up:
            self._unsent.append(message)
            return
        for subscription in self._subscriptions:
            if subscription.covers(message.topic):
                subscription.put(message)

    def lose(self) -> None:
        """The broker is gone."""
        for subscription in self._subscriptions:
            subscription.put(Lost("the broker was stopped"))

    def find(self) -> None:
        """The broker is back."""
        for subscription in self._subscriptions:
            subscription.put(Found())
        unsent, self._unsent = self._unsent, []
        for message in unsent:
            self.deliver(message)
