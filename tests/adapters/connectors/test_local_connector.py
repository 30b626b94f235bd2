"""Runs on one machine that are steered through a control file: what else may happen to it, and to its readers."""

from __future__ import annotations

import socket
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

import cascade
from cascade.adapters.connectors.control_file import Peer, Store
from cascade.adapters.connectors.mailbox import SocketFolder
from cascade.adapters.connectors.outbox import Outbox
from cascade.control import AudienceChanged, ConnectorError, LocalConnector, Message, Pause
from cascade.runtime.control.remote_client import Remote

pytestmark = pytest.mark.loop


class Gate:
    """A flow that ends when it is let through."""

    def __init__(self) -> None:
        self.opened = anyio.Event()

    def flow(self) -> cascade.LazyResult[str]:
        async def work() -> str:
            await self.opened.wait()
            return "done"

        return cascade.task(name="work")(work)()


async def test_a_control_file_that_was_damaged_is_lost_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    gate, other = Gate(), LocalConnector(path)
    with anyio.fail_after(50):
        engine = cascade.Engine(control=f"local:{path}")
        async with engine, engine.start(gate.flow(), run_id="mine") as run:
            kinds = cascade.ConnectorConnected, cascade.ConnectorDisconnected
            async with run.subscribe(*kinds, policy="drop") as events:
                assert isinstance(await events.receive(), cascade.ConnectorConnected)
                damage(path)
                assert await engine.run(3) == 3  # which has to be announced
                assert isinstance(await events.receive(), cascade.ConnectorDisconnected)
                while not isinstance(await events.receive(), cascade.ConnectorConnected):
                    pass
                await other.connect()
                async with other.subscribe("cascade/engines/#") as presences:  # said after the event
                    while b"mine" not in getattr(await presences.receive(), "payload", b""):
                        pass
                answer = await Remote(other).say([Pause(scope="task:x")], patience=40)
                assert answer.obeying == ("mine",)
                await other.disconnect()
            gate.opened.set()
            assert await run.result() == "done"


def damage(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=20)) as file:
        file.execute("DROP TABLE retained")
        file.commit()


async def test_a_folder_for_temporary_files_with_a_long_name_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    connector = LocalConnector(tmp_path / "control.db")
    await connector.connect()
    assert (await Remote(connector).say([Pause(scope="task:x")])).silent == ()
    await connector.disconnect()


async def test_a_folder_in_which_others_could_replace_the_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "everybodys"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConnectorError, match="chmod go-w"):
        await LocalConnector(folder / "control.db").connect()


async def test_who_does_not_read_keeps_nobody_from_hearing(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    one, other, deaf = LocalConnector(path), LocalConnector(path), LocalConnector(path)
    for connector in (one, other, deaf):
        await connector.connect()
    async with other.subscribe("a/#") as stream, deaf.subscribe("a/#"):
        session = deaf._session
        assert session is not None
        with session._lock, anyio.fail_after(50):  # its thread reads a hundred datagrams at most, and no more
            for number in range(300):
                await one.publish("a/b", str(number).encode())
            for number in range(300):
                signal = await stream.receive()
                assert getattr(signal, "payload", None) == str(number).encode()
    for connector in (one, other, deaf):
        await connector.disconnect()


async def test_a_run_that_ends_without_an_answer_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    engine, other = LocalConnector(path), LocalConnector(path)
    await engine.connect(will="cascade/engines/one")
    await engine.publish("cascade/engines/one", b'{"runs": ["short"]}', retain=True)
    await other.connect()
    answers = []

    async def say() -> None:
        answers.append(await Remote(other).say([Pause(scope="task:x")], patience=1000))

    with anyio.fail_after(50):
        async with engine.subscribe("cascade/constraints/#") as rules, anyio.create_task_group() as group:
            group.start_soon(say)
            await rules.receive()
            await engine.disconnect()
    assert (answers[0].obeying, answers[0].silent) == ((), ())
    await other.disconnect()


async def test_what_is_too_long_and_not_retained_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    one, other = LocalConnector(path), LocalConnector(path)
    await one.connect()
    await other.connect()
    async with other.subscribe("a/#") as stream:
        await one.publish("a/b", b"x" * 100_000)
        await one.publish("a/b", b"short")
        with anyio.fail_after(50):
            assert await stream.receive() == Message("a/b", b"short")
    await other.disconnect()
    await one.disconnect()


async def test_retaining_does_not_wait_for_who_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    one, deaf = LocalConnector(path), LocalConnector(path)
    await one.connect()
    await deaf.connect()
    async with deaf.subscribe("a/#", latest_only=True) as stream:
        session = deaf._session
        assert session is not None
        with session._lock, anyio.fail_after(50):  # its thread waits for that at its next look into the file
            for number in range(most_unread() + 200):
                await one.publish("a/b", str(number).encode(), retain=True)
        with anyio.fail_after(50):
            while await stream.receive() != Message("a/b", str(number).encode()):
                pass
    await deaf.disconnect()
    await one.disconnect()


def most_unread() -> int:
    """How many datagrams the system keeps for a receiver."""
    limit = Path("/proc/sys/net/unix/max_dgram_qlen")
    return int(limit.read_text()) if limit.exists() else 100


class Inbox:
    """A socket that others send to."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "inbox")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(50)

    def read(self, count: int) -> list[bytes]:
        return [self.socket.recv(100) for _ in range(count)]


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Inbox]:
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    found = Inbox(Path())
    yield found
    found.socket.close()


def test_a_receiver_that_is_gone_keeps_nothing_from_the_others(inbox: Inbox) -> None:
    gone: list[str] = []
    outbox = Outbox(lambda topic: ["gone", inbox.address], gone.append)
    for number in range(3):
        outbox.put("a", str(number).encode())
    assert inbox.read(3) == [b"0", b"1", b"2"]
    outbox.close()
    assert gone == ["gone"] * 3


def test_what_comes_when_too_much_waits_to_be_sent_or_after_the_end_is_dropped(inbox: Inbox) -> None:
    is_asked, may_answer = threading.Event(), threading.Event()

    def receivers(topic: str) -> list[str]:
        is_asked.set()
        may_answer.wait(50)
        return [inbox.address]

    outbox = Outbox(receivers, pytest.fail)
    outbox.put("a", b"first")
    assert is_asked.wait(50)  # it has been taken out
    for number in range(1010):
        outbox.put("a", str(number).encode())
    may_answer.set()
    assert inbox.read(1001)[-1] == b"999"
    outbox.close()
    outbox.put("a", b"late")
    inbox.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        inbox.read(1)


async def until_audience(connector: LocalConnector, topic: str, *, is_there: bool) -> None:
    subscription = connector.subscribe("a/b")
    subscription.tells_audience = True
    async with subscription as stream:
        while await connector.has_audience(topic) is not is_there:
            assert await stream.receive() == AudienceChanged()


async def test_a_connector_knows_who_listens_to_what(tmp_path: Path) -> None:
    here, there = (LocalConnector(tmp_path / "control.db") for _ in range(2))
    with anyio.fail_after(50):
        await here.connect()
        assert not await here.has_audience("x/y")
        await there.connect()
        async with there.subscribe("x/#"):
            assert await here.has_audience("x/y")  # whether it has been told of that or not
            assert not await here.has_audience("y/x")
        await until_audience(here, "x/y", is_there=False)
        async with there.subscribe("x/#"):
            await until_audience(here, "x/y", is_there=True)
        await there.disconnect()
        await here.disconnect()
    with pytest.raises(ConnectorError, match="not connected"):
        await here.has_audience("x/y")


async def test_who_was_killed_listens_no_longer_once_there_was_something_to_hear(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    here, folder = LocalConnector(path), SocketFolder(str(tmp_path))
    with anyio.fail_after(50):
        await here.connect()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left_behind:
            folder.bind(left_behind, "0" * 16)
        store = Store(path)
        with store.changing():
            store.put_peer(Peer("0" * 16, ("x/#",), ""))
        store.close()
        assert await here.has_audience("x/y")
        await here.publish("x/y", b"anybody?")
        await until_audience(here, "x/y", is_there=False)
        await here.disconnect()
    assert not await anyio.Path(folder.address("0" * 16)).exists()
    folder.close()
