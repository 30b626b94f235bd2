"""What every connector does, whatever carries its messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from brokers import broker

import cascade
from cascade.control import Connector, ConnectorError, LocalConnector, Message, Missed, Subscription
from cascade.runtime.engine.urls import open_connector
from cascade.testing import MemoryBroker, MemoryConnector

pytestmark = pytest.mark.loop

Make = Callable[[], Connector]


@pytest.fixture(params=["memory", "local", "mqtt", "mqtts"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes connectors to one and the same world."""
    match request.param:
        case "memory":
            world = MemoryBroker()
            yield lambda: MemoryConnector(world)
        case "local":
            yield lambda: LocalConnector(tmp_path / "control.db")
        case scheme:
            with broker(tmp_path, is_secure=scheme == "mqtts") as server:
                yield lambda: open_connector(server.url)


async def receive(stream: Subscription, count: int) -> list[Message]:
    """The next *count* messages."""
    found: list[Message] = []
    with anyio.fail_after(50):
        while len(found) < count:
            signal = await stream.receive()
            assert isinstance(signal, Message)
            found.append(signal)
    return found


async def test_what_is_published_reaches_those_who_subscribed_in_order(make: Make) -> None:
    one, other = make(), make()
    await one.connect()
    await other.connect()
    async with other.subscribe("a/#") as stream:
        for number in range(200):  # more than a socket keeps for who does not read yet
            await one.publish("a/b" if number % 2 else "a/b/c", str(number).encode())
            await one.publish("elsewhere", b"no")
        assert [message.payload for message in await receive(stream, 200)] == [
            str(number).encode() for number in range(200)
        ]
    await one.disconnect()
    await other.disconnect()


async def test_what_is_retained_is_there_when_the_block_has_been_entered(make: Make) -> None:
    one, other = make(), make()
    await one.connect()
    await one.publish("rules/a", b"old", retain=True)
    await one.publish("rules/a", b"new", retain=True)
    await one.publish("rules/b", b"lifted", retain=True)
    await one.publish("rules/b", b"", retain=True)
    await one.publish("rules/c", b"passing")
    await one.disconnect()
    await other.connect()
    async with other.subscribe("rules/+", latest_only=True) as stream:
        assert stream.receive_nowait() == Message("rules/a", b"new")
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()
    await other.disconnect()


async def test_an_empty_message_is_told_to_those_who_are_there(make: Make) -> None:
    one, other = make(), make()
    await one.connect()
    await other.connect()
    await one.publish("rules/a", b"said", retain=True)
    async with other.subscribe("rules/#") as stream:
        await receive(stream, 1)
        await one.publish("rules/a", b"", retain=True)
        assert await receive(stream, 1) == [Message("rules/a", b"")]
    await other.disconnect()
    await one.disconnect()


async def test_with_latest_only_one_message_of_each_topic_is_kept(make: Make) -> None:
    one, other = make(), make()
    await one.connect()
    await other.connect()
    async with other.subscribe("#") as all_of_them, other.subscribe("rules/#", latest_only=True) as stream:
        for number in range(50):
            await one.publish("rules/a", str(number).encode(), retain=True)
        while (await receive(all_of_them, 1))[0].payload != b"49":
            pass
        assert stream.receive_nowait() == Message("rules/a", b"49")
        with pytest.raises(anyio.WouldBlock):
            stream.receive_nowait()
    await other.disconnect()
    await one.disconnect()


async def test_the_will_of_who_leaves_is_done(make: Make) -> None:
    one, other = make(), make()
    await one.connect(will="engines/one")
    await one.publish("engines/one", b"here", retain=True)
    await other.connect()
    async with other.subscribe("engines/#") as stream:
        await receive(stream, 1)
        await one.publish("engines/one", b"", retain=True)
        await one.disconnect()
        assert (await receive(stream, 1))[0] == Message("engines/one", b"")
    await other.disconnect()


async def test_what_is_too_long_is_counted_and_not_kept(make: Make) -> None:
    one, other = make(), make()
    await one.connect()
    await other.connect()
    async with other.subscribe("rules/#") as stream:
        await one.publish("rules/a", b"x" * 100_000, retain=True)
        with anyio.fail_after(50):
            assert await stream.receive() == Missed(1)
    await one.publish("rules/a", b"", retain=True)
    await other.disconnect()
    await one.disconnect()


async def test_streams_end_with_the_connection(make: Make) -> None:
    one = make()
    await one.connect()
    async with one.subscribe("a/#") as stream:
        await one.disconnect()
        with anyio.fail_after(50):
            assert [signal async for signal in stream] == []


async def test_a_connector_can_be_connected_again_and_not_twice(make: Make) -> None:
    one = make()
    await one.disconnect()
    with pytest.raises(OSError, match=r"."):
        await one.publish("a", b"", retain=True)
    for _ in range(2):
        await one.connect()
        with pytest.raises(ConnectorError, match="already"):
            await one.connect()
        await one.disconnect()


async def test_a_subscription_of_an_earlier_connection_can_be_left_in_a_later_one(make: Make) -> None:
    one = make()
    await one.connect()
    async with one.subscribe("a/#"):
        await one.disconnect()
        await one.connect()
    async with one.subscribe("a/#") as stream:
        await one.publish("a/b", b"heard")
        assert await receive(stream, 1) == [Message("a/b", b"heard")]
    await one.disconnect()


async def test_a_subscription_whose_beginning_is_cancelled_gets_nothing(make: Make) -> None:
    one, other = make(), make()
    await one.connect()
    await other.connect()
    cancelled = other.subscribe("a/#")
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with cancelled:
            pytest.fail("has begun")
    async with other.subscribe("a/#") as stream:
        await one.publish("a/b", b"heard")
        await receive(stream, 1)
        with pytest.raises(anyio.WouldBlock):
            cancelled.receive_nowait()
    await other.disconnect()
    await one.disconnect()


async def test_of_two_that_connect_it_at_once_one_is_refused(make: Make) -> None:
    one = make()
    refused: list[OSError] = []

    async def connect() -> None:
        try:
            await one.connect()
        except OSError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(connect)
        group.start_soon(connect)
    assert len(refused) == 1
    await one.disconnect()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o644, 0o620, 0o604])
async def test_a_control_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "control.db"
    path.touch()
    path.chmod(mode)
    with pytest.raises(ConnectorError, match="chmod 600"):
        await LocalConnector(path).connect()


async def test_nobody_else_can_open_what_the_local_connector_makes(tmp_path: Path) -> None:
    connector = LocalConnector(tmp_path / "folder" / "control.db")
    await connector.connect()
    made = [connector.path.parent, *connector.path.parent.iterdir()]
    assert all(not path.stat().st_mode & 0o077 for path in made)
    await connector.disconnect()


async def test_a_link_in_the_place_of_the_control_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch(0o600)
    (tmp_path / "control.db").symlink_to(tmp_path / "mine")
    with pytest.raises(ConnectorError):
        await LocalConnector(tmp_path / "control.db").connect()


@pytest.mark.needs("paho")
async def test_a_broker_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError):
        await open_connector("mqtt://127.0.0.1:1").connect()


async def test_what_is_no_control_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    path.write_bytes(b"no database " * 100)
    path.chmod(0o600)
    with pytest.raises(ConnectorError, match="not a database"):
        await LocalConnector(path).connect()


def test_a_local_connector_shows_where_it_leads(tmp_path: Path) -> None:
    assert repr(LocalConnector(tmp_path / "control.db")) == f"<LocalConnector {str(tmp_path / 'control.db')!r}>"


@pytest.mark.needs("paho")
def test_an_mqtt_connector_shows_where_it_leads_and_no_password() -> None:
    assert repr(open_connector("mqtt://ada:lovelace@broker.example:1884")) == "<MqttConnector broker.example:1884>"


@pytest.mark.needs("paho")
@pytest.mark.parametrize(
    ("query", "expected"), [("", True), ("?telemetry=on", True), ("?telemetry=off", False)], ids=str
)
async def test_telemetry_over_mqtt_can_be_switched_off(query: str, expected: bool) -> None:
    connector: Any = open_connector(f"mqtt://broker.example{query}")
    assert await connector.has_audience("cascade/telemetry/default/it/events") is expected
    with pytest.raises(cascade.InputError, match="maybe with telemetry=off"):
        open_connector("mqtt://broker.example?telemetry=perhaps")


def test_mqtt_without_its_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mqtt", "mqtt_session", "mqtt_client"):
        monkeypatch.delitem(sys.modules, f"cascade.adapters.connectors.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(ImportError, match=r"'paho-mqtt' library is required.*pip install 'cascade-anyio\[mqtt\]'"):
        open_connector("mqtt://broker.example")
