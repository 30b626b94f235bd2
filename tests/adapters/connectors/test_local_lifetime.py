"""Local connections end whatever has become of their folder and of the others, and find a folder that is back."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import current_token

import cascade
from cascade.adapters.connectors import control_file, local_session, outbox
from cascade.adapters.connectors.control_file import Peer, Store
from cascade.adapters.connectors.local_streams import Streams
from cascade.adapters.connectors.mailbox import LARGEST, Bell, Mailbox, SocketFolder
from cascade.adapters.connectors.outbox import Outbox
from cascade.control import Concurrency, ConnectorError, LocalConnector, Message, Missed, Pause
from cascade.runtime.control.remote_client import Remote

pytestmark = [pytest.mark.loop, pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")]


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def move_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def remove_sockets(folder: Path) -> None:
    for path in folder.glob("*.socket"):
        path.unlink()


def remove_file(folder: Path) -> None:
    for path in folder.glob("control.db*"):
        path.unlink()


def replace_file(folder: Path) -> None:
    other = folder / "other"
    other.touch(0o600)
    other.replace(folder / "control.db")


LOSSES = [remove_folder, move_folder, remove_sockets, remove_file, replace_file]
Lose = Callable[[Path], None]


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cascade-local")]


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_run_ends_whatever_has_been_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lose: Lose
) -> None:
    monkeypatch.setattr(local_session, "QUIET", 200)  # the thread is woken, and does not wake by itself
    folder = tmp_path / "control"

    @cascade.task
    async def work() -> str:
        await anyio.to_thread.run_sync(lose, folder)
        return "done"

    assert await cascade.run(work(), control=f"local:{folder}/control.db") == "done"
    assert our_threads() == []


@pytest.mark.parametrize("lose", LOSSES)
async def test_who_has_not_been_reachable_is_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lose: Lose
) -> None:
    monkeypatch.setattr(local_session, "QUIET", 0.05)
    monkeypatch.setattr(local_session, "RETRY", 0.01)
    path = tmp_path / "control/control.db"
    opened = anyio.Event()

    async def work() -> str:
        await opened.wait()
        return "done"

    engine = cascade.Engine(control=f"local:{path}")
    with anyio.fail_after(50):
        async with engine, engine.start(cascade.task(work)(), run_id="mine") as run:
            kinds = cascade.ConnectorConnected, cascade.ConnectorDisconnected
            async with run.subscribe(*kinds, policy="drop") as events:
                assert isinstance(await events.receive(), cascade.ConnectorConnected)
                await anyio.to_thread.run_sync(lose, path.parent)
                lost = await events.receive()
                assert isinstance(lost, cascade.ConnectorDisconnected)
                assert "has been removed" in lost.reason
                assert isinstance(await events.receive(), cascade.ConnectorConnected)
            other = LocalConnector(path)
            await other.connect()
            async with other.subscribe("cascade/engines/#") as presences:  # said after the event
                while b"mine" not in getattr(await presences.receive(), "payload", b""):
                    pass
            assert (await Remote(other).say([Pause(scope="task:x")], patience=40)).obeying == ("mine",)
            await other.disconnect()
            opened.set()
            assert await run.result() == "done"


async def test_a_run_ends_while_another_process_keeps_the_file_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_file, "PATIENCE", 0.05)
    path = tmp_path / "control.db"

    @cascade.task
    async def work() -> str:
        other.execute("BEGIN IMMEDIATE")
        return "done"

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        path.chmod(0o600)
        assert await cascade.run(work(), control=f"local:{path}") == "done"
    assert our_threads() == []


async def test_a_place_that_has_become_untrusted_is_left_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_session, "QUIET", 0.01)
    monkeypatch.setattr(local_session, "RETRY", 0.01)
    path = tmp_path / "control/control.db"
    one, other = LocalConnector(path), LocalConnector(path)
    await one.connect()
    with anyio.fail_after(50):
        async with one.subscribe("a/#") as stream:
            path.parent.chmod(0o777)
            remove_sockets(path.parent)
            lost = await stream.receive()
            assert not isinstance(lost, Message)
            with pytest.raises(ConnectorError, match="mode 0777"):
                await other.connect()
            path.parent.chmod(0o700)
            await stream.receive()
            await other.connect()
            await other.publish("a/b", b"heard")
            assert await stream.receive() == Message("a/b", b"heard")
            await other.disconnect()
            path.parent.chmod(0o777)
            remove_sockets(path.parent)
            await stream.receive()
        await one.disconnect()
    assert our_threads() == []


async def test_who_is_written_to_without_end_can_leave(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    one, other = LocalConnector(path), LocalConnector(path)
    await one.connect()
    await other.connect()
    has_ended = threading.Event()

    def flood(address: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            while not has_ended.is_set():
                try:
                    sender.sendto(b"a/b\0more", address)
                except OSError:
                    return

    async with other.subscribe("a/#"), anyio.create_task_group() as group:
        assert other._session is not None
        address = other._session._membership.folder.address(other._session._membership.me.name)
        group.start_soon(anyio.to_thread.run_sync, flood, address)
        await anyio.lowlevel.checkpoint()
        await other.disconnect()
        has_ended.set()
    await one.disconnect()
    assert our_threads() == []


async def test_datagrams_that_say_nothing_or_too_much_harm_nobody(tmp_path: Path) -> None:
    connector = LocalConnector(tmp_path / "control.db")
    await connector.connect()
    session = connector._session
    assert session is not None
    address = session._membership.folder.address(session._membership.me.name)
    async with connector.subscribe("a/#") as stream:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, anyio.fail_after(50):
            for datagram in (b"", b"a/b", b"\0", b"\xff\0x", b"a/b\0" + b"x" * 2 * LARGEST, b"a/b\0heard"):
                await anyio.to_thread.run_sync(sender.sendto, datagram, address)
            heard = [await stream.receive(), await stream.receive()]
            assert Missed(1) in heard
            assert Message("a/b", b"heard") in heard
    await connector.disconnect()


async def test_rows_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    precious = tmp_path / "precious.socket"
    precious.touch()
    Store(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for row in (
            ("../precious", "[]", ""), ("precious", '["#"]', ""), ("0" * 16, "no json", ""),
            ("1" * 16, '{"a": 1}', ""), (b"2" * 16, '["#"]', ""), (3, "[1]", "x"),
        ):  # fmt: skip
            file.execute("INSERT INTO connected VALUES (?, ?, ?)", row)
    connector = LocalConnector(path)
    await connector.connect()
    async with connector.subscribe("a/#") as stream:
        await connector.publish("a/b", b"heard", retain=True)
        assert await stream.receive() == Message("a/b", b"heard")
    await connector.disconnect()
    assert precious.exists()


async def test_a_thousand_that_were_killed_are_forgotten_at_once(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    store = Store(path)
    with store.changing():
        for number in range(1000):
            store.put_peer(Peer(f"{number:016x}", ("#",), f"cascade/engines/{number}"))
    connector = LocalConnector(path)
    await connector.connect()
    await connector.publish("a/b", b"said", retain=True)
    assert len(store.peers()) == 1
    await connector.disconnect()
    assert store.peers() == []
    store.close()


# -- what is still to be sent ------------------------------------------------------------------------------------


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[list[str]]:
    """Addresses of many who do not read, and have room for nothing more."""
    folder = SocketFolder(str(tmp_path))
    mailboxes = [Mailbox(folder, f"{number}") for number in range(30)]
    addresses = [folder.address(f"{number}") for number in range(30)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for address in addresses:
            with pytest.raises(BlockingIOError):
                while True:
                    sender.sendto(b"x", address)
    yield addresses
    for mailbox in mailboxes:
        mailbox.close()
    folder.close()


def test_many_who_do_not_read_keep_nobody_from_leaving(deaf: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LAST_WORDS", 0.1)
    sending = Outbox(lambda topic: deaf, pytest.fail)
    for _ in range(100):
        sending.put("a", b"said")
    began = time.monotonic()
    sending.close()
    assert time.monotonic() - began < 10  # for each that does not read, a second


def test_a_datagram_that_is_too_long_for_the_system_makes_nobody_count_as_gone(tmp_path: Path) -> None:
    folder = SocketFolder(str(tmp_path))
    mailbox = Mailbox(folder, "here")
    gone: list[str] = []
    sending = Outbox(lambda topic: [folder.address("here")], gone.append)
    sending.put("a", b"x" * 10_000_000)
    sending.put("a", b"short")
    sending.close()
    assert gone == []
    assert list(mailbox.datagrams()) == [b"short"]
    mailbox.close()
    folder.close()


def test_a_bell_that_was_rung_too_often_still_rings_once(tmp_path: Path) -> None:
    folder, bell = SocketFolder(str(tmp_path)), Bell()
    mailbox = Mailbox(folder, "here")
    for _ in range(10_000):
        bell.ring()
    while mailbox.wait(bell, 0):
        pass
    assert not mailbox.wait(bell, 0)
    bell.ring()
    assert mailbox.wait(bell, 50)
    mailbox.close()
    bell.close()
    folder.close()


def test_a_broken_socket_is_an_error_of_the_connector(tmp_path: Path) -> None:
    folder = SocketFolder(str(tmp_path))
    mailbox = Mailbox(folder, "here")
    mailbox._socket.close()
    with pytest.raises(ConnectorError, match="is broken"):
        list(mailbox.datagrams())
    mailbox.close()
    folder.close()


async def test_rules_said_while_nobody_could_be_reached_are_heard_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_session, "QUIET", 0.05)
    monkeypatch.setattr(local_session, "RETRY", 0.01)
    path = tmp_path / "control.db"
    opened = anyio.Event()

    async def work() -> str:
        await opened.wait()
        return "done"

    other = LocalConnector(path)
    await other.connect()
    engine = cascade.Engine(control=LocalConnector(path))
    with anyio.fail_after(50):
        async with engine, engine.start(cascade.task(work)(), run_id="mine") as run:
            async with run.subscribe(cascade.ControlChanged, policy="drop") as events:
                assert other._session is not None
                others = [
                    peer
                    for peer in other._session._membership.store.peers()
                    if peer.name != other._session._membership.me.name
                ]
                for peer in others:
                    other._session._membership.folder.remove(peer.name)
                await Remote(other).say([Concurrency(scope="task:x", limit=2)], patience=40)
                changed = await events.receive()
                assert isinstance(changed, cascade.ControlChanged)
                assert changed.scope == "task:x"
            opened.set()
            assert await run.result() == "done"
    await other.disconnect()


async def test_a_stream_gets_what_is_retained_also_where_the_file_could_not_be_read_at_first(
    tmp_path: Path,
) -> None:
    streams, ready = Streams(current_token()), anyio.Event()
    stream = LocalConnector(tmp_path / "control.db").subscribe("a/#")
    streams.add(stream, ready.set)

    def unreadable() -> list[Message]:
        raise ConnectorError("the control file cannot be used")

    with pytest.raises(ConnectorError):
        streams.open_new(unreadable)
    streams.open_new(lambda: [Message("a/b", b"kept"), Message("b", b"of others")])
    with anyio.fail_after(50):
        await ready.wait()
    assert stream.receive_nowait() == Message("a/b", b"kept")
    with pytest.raises(anyio.WouldBlock):
        stream.receive_nowait()
