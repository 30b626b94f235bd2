"""One session with an MQTT broker, over any number of connections: subscriptions, and answers of the broker."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Final

import anyio
import attrs
from anyio.lowlevel import current_token

from cascade.adapters.connectors.mqtt_client import Client, Login
from cascade.runtime.control.connector import ConnectorError, Message, Signal, Subscription
from cascade.runtime.foundation.threads import LoopLimiter, in_thread

# Seconds that an answer of the broker may take.
PATIENCE: Final = 5.0
_limiter = LoopLimiter(4)


@attrs.define(eq=False)
class Session:
    """A session with the broker, on the running event loop. Its client tells it there what happens.

    Attributes:
        client: The client, with a network thread.
    """

    _login: Login
    # See `Client`.
    _will: str
    client: Client = attrs.field(init=False)
    # A topic of its own, on which it publishes markers.
    _echo: str = attrs.field(factory=lambda: f"cascade/echo/{secrets.token_hex(8)}", init=False)
    _subscriptions: list[Subscription] = attrs.field(factory=list, init=False)
    _filters: Counter[str] = attrs.field(factory=Counter, init=False)
    # What is waited for: messages by number, markers by their content.
    _awaited: dict[int | bytes, anyio.Event] = attrs.field(factory=dict, init=False)
    _opened: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _refusal: str | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.client = Client(self._login, self._will, current_token(), self)

    async def open(self, host: str, port: int) -> None:
        """Connect for the first time. If that fails or is cancelled, the session is closed.

        Raises:
            ConnectorError: If that is not possible.
        """
        try:
            with anyio.fail_after(PATIENCE):
                self.client.start(host, port, PATIENCE)
                await self._opened.wait()
            if self._refusal is not None:
                raise ConnectorError(f"cannot connect to {host}:{port}: {self._refusal}")
        except TimeoutError:
            await self.close()
            raise ConnectorError(f"no answer from {host}:{port}") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the session for good, and all subscriptions."""
        self.client.close()
        with anyio.CancelScope(shield=True):
            await in_thread(self.client.stop, _limiter.get())
        for subscription in self._subscriptions:
            subscription.finish()

    # -- messages ------------------------------------------------------------------------------------------

    def send(self, topic: str, payload: bytes) -> None:
        """Send a message, if there is room for it."""
        self.client.send(topic, payload)

    async def retain(self, topic: str, payload: bytes) -> None:
        """Have the broker keep a message.

        Raises:
            ConnectorError: If the broker does not say that it does.
        """
        if not await self._has_answered(self.client.retain(topic, payload)):
            raise ConnectorError("the broker has not answered")

    async def _has_answered(self, key: int | bytes) -> bool:
        """Wait for an answer; whether it has come in time."""
        self._awaited[key] = done = anyio.Event()
        try:
            with anyio.move_on_after(PATIENCE):
                await done.wait()
        finally:
            del self._awaited[key]
        return done.is_set()

    # -- subscriptions -------------------------------------------------------------------------------------

    async def add(self, subscription: Subscription) -> None:
        """Subscribe; all that is retained has arrived when this returns.

        That is known by a marker, which the client publishes to itself after the subscription: a broker handles
        the packets of one client in order.
        """
        self._subscriptions.append(subscription)
        self._filters[subscription.topics] += 1
        marker = secrets.token_hex(8).encode()
        self.client.subscribe(subscription.topics, self._echo)
        self.send(self._echo, marker)
        try:
            await self._has_answered(marker)
        except BaseException:  # cancelled: the block is not entered, so nothing else removes it
            self.remove(subscription)
            raise

    def remove(self, subscription: Subscription) -> None:
        """Unsubscribe."""
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        self._filters[subscription.topics] -= 1
        if not self._filters[subscription.topics]:
            del self._filters[subscription.topics]
            self.client.unsubscribe(subscription.topics)

    # -- told by the client --------------------------------------------------------------------------------

    @property
    def topics(self) -> tuple[str, ...]:
        """See ``Listener.topics``."""
        return (*tuple(self._filters), self._echo)

    @property
    def is_open(self) -> bool:
        """See ``Listener.is_open``."""
        return self._opened.is_set()

    def opened(self, refusal: str | None) -> None:
        """See ``Listener.opened``."""
        self._refusal = refusal
        self._opened.set()

    def deliver(self, signal: Signal) -> None:
        """See ``Listener.deliver``."""
        if isinstance(signal, Message) and signal.topic == self._echo:
            self.answered(signal.payload)
            return
        for subscription in self._subscriptions:
            if not isinstance(signal, Message) or subscription.covers(signal.topic):
                subscription.put(signal)

    def answered(self, key: int | bytes) -> None:
        """See ``Listener.answered``; also of markers, by their content."""
        if key in self._awaited:
            self._awaited[key].set()
