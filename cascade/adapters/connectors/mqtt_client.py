"""The paho-mqtt client and its network thread, and how it hands over to the event loop what it receives."""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

import attrs
from anyio.lowlevel import EventLoopToken

from cascade.runtime.control.connector import MOST_BYTES, ConnectorError, Found, Lost, Message, Signal
from cascade.runtime.foundation.threads import wake_soon

try:
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.subscribeoptions import SubscribeOptions
except ImportError as _error:
    raise ImportError(
        "The 'paho-mqtt' library is required for MQTT; install it by `pip install 'cascade-anyio[mqtt]'`"
    ) from _error

# Seconds for which the broker keeps what this client missed.
SESSION: Final = 3600
# Seconds that the network thread may take to end, and as long again once the connection is cut.
FAREWELL: Final = 3.0
# Bytes of a packet; the broker does not send longer ones, which would be held in memory whole.
MOST_PACKET: Final = 1_048_576
# Messages that may wait, in each direction.
QUEUE: Final = 1000
QOS_1: Final = SubscribeOptions(1)


class Listener(Protocol):
    """Whom a client tells of what happens."""

    @property
    def topics(self) -> Iterable[str]:
        """The filters to subscribe to, whenever there is a connection. Read in the network thread."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether :meth:`opened` has been called. Read in the network thread."""
        ...

    def opened(self, refusal: str | None) -> None:
        """There is a connection, or *refusal* says why not. Called on the event loop."""
        ...

    def deliver(self, signal: Signal) -> None:
        """A message has come, or the connection was lost or found. Called on the event loop."""
        ...

    def answered(self, number: int, /) -> None:
        """The broker has the message *number*. Called on the event loop."""
        ...


@attrs.define(eq=False)
class Inbox:
    """A bounded queue from the network thread to the event loop.

    When it is full the network thread waits, and so, through TCP, does the broker.
    """

    _token: EventLoopToken
    _deliver: Callable[[Signal], None]
    _waiting: deque[Signal] = attrs.field(factory=deque, init=False)
    _room: threading.Condition = attrs.field(factory=threading.Condition, init=False)
    # Whether the event loop is going to take what waits.
    _is_told: bool = attrs.field(default=False, init=False)
    _is_closed: bool = attrs.field(default=False, init=False)

    def put(self, signal: Signal) -> None:
        """Hand over *signal*; waits for room until :meth:`close`. In the network thread."""
        with self._room:
            self._room.wait_for(lambda: len(self._waiting) < QUEUE or self._is_closed)
            self._waiting.append(signal)
            is_told, self._is_told = self._is_told, True
        if not is_told:
            wake_soon(self._token, self._take)

    def _take(self) -> None:
        with self._room:
            signals = list(self._waiting)
            self._waiting.clear()
            self._is_told = False
            self._room.notify_all()
        for signal in signals:
            self._deliver(signal)

    def close(self) -> None:
        """Let the network thread wait for room no longer."""
        self._is_closed = True
        with self._room:
            self._room.notify_all()


@attrs.frozen
class Login:
    """What a broker may ask for.

    Attributes:
        username: The user name; ``None`` for no login.
        password: The password of that user.
        tls: How to encrypt; ``None`` for not at all.
    """

    username: str | None
    password: str | None = attrs.field(repr=False)
    tls: ssl.SSLContext | None


class Client:
    """A client of one broker, which connects again whenever the connection is lost.

    Args:
        login: What the broker may ask for.
        will: Topic whose retained message the broker removes when the connection is lost; empty for none.
        token: The event loop.
        listener: Whom to tell there.

    Attributes:
        is_connected: Whether there is a connection at present.
    """

    def __init__(self, login: Login, will: str, token: EventLoopToken, listener: Listener) -> None:
        self.is_connected: bool = False
        self._token = token
        self._listener = listener
        self._inbox = Inbox(token, listener.deliver)
        self._is_closing = False
        name = f"cascade-{secrets.token_hex(8)}"
        self._paho = client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5)
        client.max_queued_messages_set(QUEUE)
        client.reconnect_delay_set(0.1, 5)  # type: ignore[arg-type]  # seconds, and fractions work
        if login.username is not None:
            client.username_pw_set(login.username, login.password)
        if login.tls is not None:
            client.tls_set_context(login.tls)
        if will:
            client.will_set(will, b"", qos=1, retain=True)

    def start(self, host: str, port: int, patience: float) -> None:
        """Start the network thread, which connects; a connection may take *patience* seconds."""
        client = self._paho
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_message = self._on_connect_fail, self._on_message
        client.on_publish = self._on_publish
        client.connect_timeout = patience
        wanted = _expiry("CONNECT", SESSION)
        wanted.MaximumPacketSize = MOST_PACKET
        client.connect_async(host, port, keepalive=30, clean_start=False, properties=wanted)
        client.loop_start()

    def send(self, topic: str, payload: bytes) -> None:
        """Send a message, if there is room for it."""
        if self.is_connected:
            self._paho.publish(topic, payload, qos=1)

    def retain(self, topic: str, payload: bytes) -> int:
        """Send a message to be retained; the listener is told of its number when the broker has it.

        Raises:
            ConnectorError: If it cannot be sent.
        """
        if not self.is_connected:
            raise ConnectorError("the broker is out of reach")
        sent = self._paho.publish(topic, payload, qos=1, retain=True)
        if sent.rc != paho.MQTT_ERR_SUCCESS:  # pragma: no cover  # the connection is lost in this very moment
            raise ConnectorError(f"the broker was not told: {paho.error_string(sent.rc)}")
        return sent.mid

    def subscribe(self, *topics: str) -> None:
        """Subscribe to some filters, if there is a connection."""
        self._paho.subscribe([(wanted, QOS_1) for wanted in topics])

    def unsubscribe(self, topics: str) -> None:
        """Unsubscribe from a filter."""
        self._paho.unsubscribe(topics)

    # -- the end -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Do not connect again, and let nothing wait; then :meth:`stop` ends the network thread."""
        self._is_closing = True
        self._inbox.close()

    def stop(self) -> None:
        """Take leave of the broker and end the network thread. In a worker thread, after :meth:`close`."""
        # paho waits for the network thread, which a broker that reads nothing may keep for good. So another thread
        # waits, and the connection is cut. While it connects, or looks up a name, nothing wakes it: it ends later.
        self._paho.disconnect(properties=_expiry("DISCONNECT", 0))
        ending = threading.Thread(target=self._end, name="cascade-mqtt-end", daemon=True)
        ending.start()
        ending.join(FAREWELL)
        connection: Any = self._paho.socket()
        if ending.is_alive() and connection is not None:
            with suppress(OSError):  # the other side was faster
                # Past TLS, which would say goodbye to the broker, while the network thread uses it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        ending.join(FAREWELL)

    def _end(self) -> None:
        self._paho.loop_stop()
        # Closes the connection, and the pair of sockets that has woken the network thread, which paho keeps.
        self._paho.reinitialise()

    # -- in the network thread -----------------------------------------------------------------------------

    def _on_connect(self, client: paho.Client, _: object, flags: object, reason: Any, properties: object) -> None:
        if self._is_closing:  # it was connecting all the while
            client.disconnect(properties=_expiry("DISCONNECT", 0))
            return
        if reason.is_failure:
            wake_soon(self._token, self._listener.opened, str(reason))
            return
        self.is_connected = True
        # Also if the broker knows the session: one that was killed may know an old state of it.
        for topics in self._listener.topics:
            client.subscribe(topics, options=QOS_1)
        if self._listener.is_open:
            self._inbox.put(Found())
        wake_soon(self._token, self._listener.opened, None)

    def _on_connect_fail(self, client: paho.Client, _: object) -> None:
        if not self._listener.is_open:
            wake_soon(self._token, self._listener.opened, "nobody answers there")

    def _on_disconnect(self, client: paho.Client, _: object, flags: object, reason: Any, more: object) -> None:
        was_connected = self.is_connected
        self.is_connected = False
        if was_connected and not self._is_closing:
            self._inbox.put(Lost(str(reason)))

    def _on_message(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        # One byte more than allowed tells that it is too long; the rest is not kept.
        self._inbox.put(Message(topic, bytes(message.payload[: MOST_BYTES + 1])))

    def _on_publish(self, client: paho.Client, _: object, number: int, reason: object, more: object) -> None:
        wake_soon(self._token, self._listener.answered, number)


def _expiry(packet: str, seconds: int) -> Properties:
    properties = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]  # a library without types
    properties.SessionExpiryInterval = seconds
    return properties
