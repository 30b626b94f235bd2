"""Leaving a broker that does not play along: the network thread ends, or is left to end by itself."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from brokers import broker

from cascade.control import ConnectorError, Message
from cascade.runtime.engine.urls import open_connector

pytest.importorskip("paho")

from cascade.adapters.connectors import mqtt_client, mqtt_session  # needs paho

# The answer to a CONNECT of MQTT 5: no session, success, no properties.
CONNACK = bytes([0x20, 3, 0, 0, 0])


class OddBroker:
    """Accepts connections, and does with each what it was told to."""

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self._serve = serve
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._serve(connection)

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[socket.socket], object]], OddBroker]]:
    monkeypatch.setattr(mqtt_client, "FAREWELL", 0.2)
    made: list[OddBroker] = []

    def make(serve: Callable[[socket.socket], object]) -> OddBroker:
        made.append(OddBroker(serve))
        return made[-1]

    yield make
    for odd in made:
        odd.close()


def greet(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(CONNACK)


def network_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "mqtt" in thread.name]


async def test_a_broker_that_reads_nothing_is_left_all_the_same(odd: Any) -> None:
    connector = open_connector(f"mqtt://{odd(greet).address}")
    await connector.connect()
    for _ in range(40):
        await connector.publish("a/b", b"x" * 500_000)  # more than fits between the two
    await connector.disconnect()
    assert network_threads() == []


async def test_a_broker_that_says_half_a_packet_is_left_all_the_same(odd: Any) -> None:
    def stall(connection: socket.socket) -> None:
        greet(connection)
        connection.sendall(bytes([0x30, 100]) + b"half")

    connector = open_connector(f"mqtt://{odd(stall).address}")
    await connector.connect()
    await connector.disconnect()
    assert network_threads() == []


@contextmanager
def uncollected() -> Iterator[None]:
    """Only reference counts let go of objects meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def open_sockets() -> list[str]:
    """The sockets that this process has open, those of the event loop included."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return sorted(name for name in found if name.startswith("socket:"))


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else is it said what is open")
async def test_no_socket_waits_for_the_garbage_collector(tmp_path: Path) -> None:
    with broker(tmp_path) as server, uncollected():
        before = open_sockets()
        connector = open_connector(server.url)
        await connector.connect()
        assert len(open_sockets()) > len(before)
        await connector.disconnect()
        assert open_sockets() == before


async def test_a_broker_that_is_gone_is_left_all_the_same(odd: Any) -> None:
    there = odd(greet)
    connector = open_connector(f"mqtt://{there.address}")
    await connector.connect()
    there.close()
    await connector.disconnect()
    assert network_threads() == []


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
async def test_a_broker_that_says_nothing_keeps_nobody_waiting(
    odd: Any, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_session, "PATIENCE", 0.2)
    mute = odd(lambda connection: None)
    # Whose patience ends first, ours or that of the client, which waits for the handshake.
    with pytest.raises(ConnectorError, match=r"no answer from|nobody answers there"):
        await open_connector(f"{scheme}://{mute.address}").connect()
    for thread in network_threads():  # in a handshake: ends when the connection does, or after five seconds
        mute._connections[0].close()
        await anyio.to_thread.run_sync(thread.join)
    gc.collect()  # here, and not in a test that does not know of it


async def test_a_message_that_is_much_too_long_is_not_even_received(tmp_path: Path) -> None:
    with broker(tmp_path) as server:
        connector = open_connector(server.url)
        await connector.connect()
        async with connector.subscribe("a/#") as stream:
            server.publish("a/b", b"x" * 2_000_000)
            server.publish("a/b", b"short")
            with anyio.fail_after(50):
                assert await stream.receive() == Message("a/b", b"short")
        await connector.disconnect()
