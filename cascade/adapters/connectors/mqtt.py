"""A connector to an MQTT 5 broker.

The session outlives a lost connection, so messages that are published meanwhile are delivered afterwards.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from anyio.lowlevel import checkpoint

from cascade.adapters.connectors.mqtt_client import Login
from cascade.adapters.connectors.mqtt_session import Session
from cascade.runtime.control.connector import ConnectorError, Subscription

PORT, TLS_PORT = 1883, 8883
_LOOKS: Final = (
    "it looks like mqtt://USER:PASSWORD@HOST:PORT/PROJECT or mqtts://HOST?cafile=PATH, maybe with telemetry=off"
)


def from_url(url: str) -> MqttConnector:
    """The connector of ``mqtt://[USER:PASSWORD@]HOST[:PORT][/PROJECT]``, or ``mqtts://...[?cafile=PATH]``.

    Both may have ``telemetry=on`` or ``off`` in the query.

    Raises:
        ValueError: If the URL is invalid.
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
    """Reaches the processes that use the same MQTT 5 broker.

    Args:
        host: The broker's host; ``"localhost"`` by default.
        port: The broker's port. ``None`` or 0: 1883, or 8883 with TLS. ``None`` by default.
        username: User name, if the broker asks for one. ``None`` (default): none.
        password: Password of that user. ``None`` (default): none.
        tls: The TLS context. ``None`` (default): the connection is not encrypted.
        project: A name for what this process does, part of the topics on which events are published; ``"default"``
            by default.
        telemetry: Whether the events of runs are published; ``True`` by default. A broker does not tell whether
            anybody listens, and for small tasks most of the time goes into making and sending these events.

    Attributes:
        host: The broker's host.
        port: The broker's port.
        project: As given.
        telemetry: As given.
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
        self._login = Login(username, password, tls)
        self._session: Session | None = None
        self._is_connecting = False

    async def connect(self, will: str = "") -> None:
        """Connect to the broker. An answer is waited for, 5 s at most. If cancelled, there is no connection.

        Args:
            will: Topic whose retained message the broker removes if the connection is lost. Empty by default:
                none.

        Raises:
            ConnectorError: If it is connected already, or the broker refuses or does not answer.
        """
        if self._session is not None or self._is_connecting:
            raise ConnectorError("this MqttConnector is connected already; make one for each engine")
        self._is_connecting = True
        try:
            session = Session(self._login, will)
            await session.open(self.host, self.port)
            self._session = session
        finally:
            self._is_connecting = False

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish a message.

        A retained message is confirmed by the broker when this returns; that is waited for, 5 s at most. Others
        are sent if there is a connection, and not waited for. If cancelled, a retained message may have arrived or
        not.

        Args:
            topic: The topic.
            payload: The content. An empty retained message removes the one that is kept.
            retain: Whether the message is kept for later subscribers.

        Raises:
            ConnectorError: If it is not connected, or a retained message is not confirmed.
        """
        session = self._open_session()
        await checkpoint()
        if retain:
            await session.retain(topic, payload)
        else:
            session.send(topic, payload)

    async def has_audience(self, topic: str) -> bool:
        """Whether anybody may listen: always what ``telemetry`` says, as a broker does not tell. A checkpoint that
        may be cancelled.

        Args:
            topic: The topic.
        """
        await checkpoint()
        return self.telemetry

    def subscribe(self, topics: str, *, latest_only: bool = False) -> Subscription:
        """A stream of what is published. When its block has been entered, all retained messages can be received.

        Args:
            topics: A filter for topics.
            latest_only: Whether only the last message of each topic matters.
        """
        return Subscription(self, topics, latest_only=latest_only)

    async def begin(self, subscription: Subscription) -> None:
        """Deliver what is retained, and from now on what is published. Called when the block of the stream is
        entered.

        If cancelled, nothing is subscribed.

        Args:
            subscription: The stream.

        Raises:
            ConnectorError: If it is not connected.
        """
        await self._open_session().add(subscription)

    async def end(self, subscription: Subscription) -> None:
        """Deliver nothing more. Called in a shielded scope, so it is not cancelled.

        Args:
            subscription: The stream.
        """
        await checkpoint()
        if self._session is not None:
            self._session.remove(subscription)

    async def disconnect(self) -> None:
        """End the connection and all streams. Not cancelled; takes 6 s at most. Does nothing if there is no
        connection.
        """
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> Session:
        if self._session is None:
            raise ConnectorError("the MqttConnector is not connected")
        return self._session

    def __repr__(self) -> str:
        return f"<MqttConnector {self.host}:{self.port}>"
