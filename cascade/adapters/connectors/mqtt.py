"""A connector to an MQTT 5 broker, by paho-mqtt and its network thread.

The session outlives a lost connection (``clean_start=False`` and an expiry), so what is published meanwhile is
delivered afterwards. What arrives goes through a bounded queue: when it is full the network thread waits, and so,
through TCP, does the broker.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
from collections import Counter, deque
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import attrs
from anyio.lowlevel import EventLoopToken, checkpoint, current_token

from cascade.runtime.threads import LoopLimiter, in_thread, wake_soon
from cascade.runtime.wire import MOST_BYTES, ConnectorError, Found, Lost, Message, Signal, Subscription

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
# Seconds that an answer of the broker may take.
PATIENCE: Final = 5.0
# Seconds that the network thread may take to end, and as long again once the connection is cut.
FAREWELL: Final = 3.0
# Bytes of a packet; the broker does not send longer ones, which would be held in memory whole.
MOST_PACKET: Final = 1_048_576
# Messages that may wait, in each direction.
QUEUE: Final = 1000
PORT, TLS_PORT = 1883, 8883
QOS_1: Final = SubscribeOptions(1)
_limiter = LoopLimiter(4)
_LOOKS: Final = (
    "it looks like mqtt://USER:PASSWORD@HOST:PORT/PROJECT or mqtts://HOST?cafile=PATH, maybe with telemetry=off"
)


def from_url(url: str) -> MqttConnector:
    """The connector of ``mqtt://[USER:PASSWORD@]HOST[:PORT][/PROJECT]``, or ``mqtts://...[?cafile=PATH]``.

    Both may have ``telemetry=on`` or ``off`` in the query.

    Raises:
        ValueError: If it means nothing.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # its text may quote a piece of a password
        raise ValueError(_LOOKS) from None
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    is_secure = parts.scheme == "mqtts"
    known = {"telemetry", "cafile"} if is_secure else {"telemetry"}
    telemetry = {"on": True, "off": False}.get(options.get("telemetry", "on"))
    if not parts.hostname or not options.keys() <= known or parts.fragment or telemetry is None:
        raise ValueError(_LOOKS)
    return MqttConnector(
        parts.hostname,
        port,
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls=_context(options.get("cafile")) if is_secure else None,
        project=unquote(parts.path.strip("/")) or "default",
        telemetry=telemetry,
    )


def _context(cafile: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except OSError as error:  # it is not there, or holds no certificates
        raise ValueError(f"the cafile {cafile!r} cannot be used: {error.strerror or error}") from error


class MqttConnector:
    """Reaches whoever uses the same MQTT 5 broker.

    Args:
        host: Its host.
        port: Its port; 1883, or 8883 with TLS, by default.
        username: Who we are, if the broker asks.
        password: The proof.
        tls: How to encrypt; ``None`` for not at all.
        project: A name for what this process is about, part of the topics of telemetry.
        telemetry: Whether the events of runs are published. A broker does not say whether anybody listens, and
            to make and send them for every node is most of the work of a node that does little.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        *,
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        project: str = "default",
        telemetry: bool = True,
    ) -> None:
        self.host = host
        self.port: int = port or (PORT if tls is None else TLS_PORT)
        self.project = project
        self.telemetry = telemetry
        self._username = username
        self._password = password
        self._tls = tls
        self._session: Session | None = None
        self._is_connecting = False

    async def connect(self, will: str = "") -> None:
        """Connect; see ``Connector.connect``."""
        if self._session is not None or self._is_connecting:
            raise ConnectorError("this MqttConnector is connected already; make one for each engine")
        self._is_connecting = True
        try:
            self._session = await self._opened(Session(self._client(will), current_token()))
        finally:
            self._is_connecting = False

    async def _opened(self, session: Session) -> Session:
        try:
            with anyio.fail_after(PATIENCE):
                await session.open(self.host, self.port)
        except TimeoutError:
            await session.close()
            raise ConnectorError(f"no answer from {self.host}:{self.port}") from None
        except BaseException:
            await session.close()
            raise
        return session

    def _client(self, will: str) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, f"cascade-{secrets.token_hex(8)}", protocol=paho.MQTTv5)
        client.max_queued_messages_set(QUEUE)
        client.reconnect_delay_set(0.1, 5)  # type: ignore[arg-type]  # seconds, and fractions work
        client.connect_timeout = PATIENCE
        if self._username is not None:
            client.username_pw_set(self._username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if will:
            client.will_set(will, b"", qos=1, retain=True)
        return client

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish; see ``Connector.publish``."""
        session = self._open_session()
        await checkpoint()
        if retain:
            await session.retain(topic, payload)
        else:
            session.send(topic, payload)

    async def has_audience(self, topic: str) -> bool:
        """Whether anybody may listen; see ``Attentive.has_audience``."""
        await checkpoint()
        return self.telemetry

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """Subscribe; see ``Connector.subscribe``."""
        return Subscription(self, topics, latest_only=latest_only)

    async def begin(self, subscription: Subscription) -> None:
        """Deliver what is retained, and from now on what is published."""
        await self._open_session().add(subscription)

    async def end(self, subscription: Subscription) -> None:
        """Deliver nothing more."""
        await checkpoint()
        if self._session is not None:
            self._session.remove(subscription)

    async def disconnect(self) -> None:
        """Disconnect; see ``Connector.disconnect``."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> Session:
        if self._session is None:
            raise ConnectorError("the MqttConnector is not connected")
        return self._session

    def __repr__(self) -> str:
        return f"<MqttConnector {self.host}:{self.port}>"


@attrs.define(eq=False)
class Session:
    """One session with the broker, over any number of connections.

    Attributes:
        is_connected: Whether there is a connection at present.
    """

    client: paho.Client
    token: EventLoopToken
    _echo: str = attrs.field(factory=lambda: f"cascade/echo/{secrets.token_hex(8)}")
    is_connected: bool = False
    _subscriptions: list[Subscription] = attrs.field(factory=list)
    _filters: Counter[str] = attrs.field(factory=Counter)
    # What is waited for: packets by number, markers by their words.
    _awaited: dict[int | bytes, anyio.Event] = attrs.field(factory=dict)
    _opened: anyio.Event = attrs.field(factory=anyio.Event)
    _refusal: str | None = None
    _inbox: deque[Signal] = attrs.field(factory=deque)
    _room: threading.Condition = attrs.field(factory=threading.Condition)
    _is_told: bool = False
    _is_closing: bool = False

    # -- on the loop ---------------------------------------------------------------------------------------

    async def open(self, host: str, port: int) -> None:
        """Connect for the first time.

        Raises:
            ConnectorError: If that is not possible.
        """
        client = self.client
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_message = self._on_connect_fail, self._on_message
        client.on_publish = self._on_publish
        wanted = _expiry("CONNECT", SESSION)
        wanted.MaximumPacketSize = MOST_PACKET
        client.connect_async(host, port, keepalive=30, clean_start=False, properties=wanted)
        client.loop_start()
        await self._opened.wait()
        if self._refusal is not None:
            raise ConnectorError(f"cannot connect to {host}:{port}: {self._refusal}")

    async def close(self) -> None:
        """End the session for good."""
        self._is_closing = True
        with self._room:
            self._room.notify_all()
        with anyio.CancelScope(shield=True):
            await in_thread(self._stop, _limiter.get())
        for subscription in self._subscriptions:
            subscription.finish()

    def _stop(self) -> None:
        """Take leave of the broker and end the network thread, in a worker thread."""
        # paho waits for it as long as a broker that reads nothing keeps it, so that is left to another thread, and
        # the connection is cut. While it connects, or looks up a name, nothing wakes it: it ends by itself, later.
        self.client.disconnect(properties=_expiry("DISCONNECT", 0))
        ending = threading.Thread(target=self._end, name="cascade-mqtt-end", daemon=True)
        ending.start()
        ending.join(FAREWELL)
        connection: Any = self.client.socket()
        if ending.is_alive() and connection is not None:
            with suppress(OSError):  # the other side was faster
                # Past TLS, which would say goodbye to the broker, while the network thread uses it.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        ending.join(FAREWELL)

    def _end(self) -> None:
        self.client.loop_stop()
        left = self.client.socket()
        if left is not None:
            left.close()

    async def retain(self, topic: str, payload: bytes) -> None:
        """Have the broker keep a message.

        Raises:
            ConnectorError: If it does not say that it does.
        """
        if not self.is_connected:
            raise ConnectorError("the broker is out of reach")
        sent = self.client.publish(topic, payload, qos=1, retain=True)
        if sent.rc != paho.MQTT_ERR_SUCCESS:  # pragma: no cover  # the connection is lost in this very moment
            raise ConnectorError(f"the broker was not told: {paho.error_string(sent.rc)}")
        if not await self._wait_for(sent.mid):
            raise ConnectorError("the broker has not answered")

    async def _wait_for(self, key: int | bytes) -> bool:
        self._awaited[key] = done = anyio.Event()
        try:
            with anyio.move_on_after(PATIENCE):
                await done.wait()
        finally:
            del self._awaited[key]
        return done.is_set()

    def send(self, topic: str, payload: bytes) -> None:
        """Send a message, if there is room for it."""
        if self.is_connected:
            self.client.publish(topic, payload, qos=1)

    async def add(self, subscription: Subscription) -> None:
        """Subscribe; all that is retained has arrived when this returns.

        That is known by a marker, published to ourselves after the subscription: a broker handles the packets of
        one client in order.
        """
        self._subscriptions.append(subscription)
        self._filters[subscription.topics] += 1
        marker = secrets.token_hex(8).encode()
        self.client.subscribe([(subscription.topics, QOS_1), (self._echo, QOS_1)])
        self.send(self._echo, marker)
        try:
            await self._wait_for(marker)
        except BaseException:  # cancelled: who does not enter the block does not leave it either
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

    def _take(self) -> None:
        """Deliver what the network thread has put down."""
        with self._room:
            signals = list(self._inbox)
            self._inbox.clear()
            self._is_told = False
            self._room.notify_all()
        for signal in signals:
            if isinstance(signal, Message) and signal.topic == self._echo:
                self._answered(signal.payload)
                continue
            for subscription in self._subscriptions:
                if not isinstance(signal, Message) or subscription.covers(signal.topic):
                    subscription.put(signal)

    def _answered(self, key: int | bytes) -> None:
        if key in self._awaited:
            self._awaited[key].set()

    def _open_up(self, refusal: str | None) -> None:
        self._refusal = refusal
        self._opened.set()

    # -- in the network thread -----------------------------------------------------------------------------

    def _put(self, signal: Signal) -> None:
        with self._room:
            self._room.wait_for(lambda: len(self._inbox) < QUEUE or self._is_closing)
            self._inbox.append(signal)
            is_told, self._is_told = self._is_told, True
        if not is_told:
            wake_soon(self.token, self._take)

    def _on_connect(self, client: paho.Client, _: object, flags: object, reason: Any, properties: object) -> None:
        if self._is_closing:  # it was connecting all the while
            client.disconnect(properties=_expiry("DISCONNECT", 0))
            return
        if reason.is_failure:
            wake_soon(self.token, self._open_up, str(reason))
            return
        self.is_connected = True
        # Also if the broker knows the session: one that was killed may know an old state of it.
        for topics in [*tuple(self._filters), self._echo]:
            client.subscribe(topics, options=QOS_1)
        if self._opened.is_set():
            self._put(Found())
        wake_soon(self.token, self._open_up, None)

    def _on_connect_fail(self, client: paho.Client, _: object) -> None:
        if not self._opened.is_set():
            wake_soon(self.token, self._open_up, "nobody answers there")

    def _on_disconnect(self, client: paho.Client, _: object, flags: object, reason: Any, more: object) -> None:
        was_connected, self.is_connected = self.is_connected, False
        if was_connected and not self._is_closing:
            self._put(Lost(str(reason)))

    def _on_message(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        # What is too long is told by its length; its words are not kept.
        self._put(Message(topic, bytes(message.payload[: MOST_BYTES + 1])))

    def _on_publish(self, client: paho.Client, _: object, number: int, reason: object, more: object) -> None:
        wake_soon(self.token, self._answered, number)


def _expiry(packet: str, seconds: int) -> Properties:
    properties = Properties(getattr(PacketTypes, packet))  # type: ignore[no-untyped-call]  # a library without types
    properties.SessionExpiryInterval = seconds
    return properties
