"""Control files that other users could read, change or replace: who refuses them, when, and with which words."""

from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from file_modes import exposed_control_file
from other_user import STRANGER, as_stranger, needs_root, public_folder

import cascade
from cascade.adapters.connectors.local import default_path
from cascade.adapters.connectors.mailbox import Mailbox, SocketFolder, is_of_this_user
from cascade.control import ConnectorError, ConnectorRefused, ControlPlane, LocalConnector, Message

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")


bad = exposed_control_file


RAN: list[str] = []


@cascade.task
async def note() -> str:
    RAN.append("note")
    return "done"


@pytest.mark.parametrize("kind", ["url", "connector", "plane"])
async def test_a_run_with_a_control_file_that_is_refused_does_not_begin(bad: Path, kind: str) -> None:
    RAN.clear()
    connector = LocalConnector(bad)
    control = {"url": f"local:{bad}", "connector": connector, "plane": ControlPlane(connector)}[kind]
    engine = cascade.Engine(control=control, state=f"sqlite:///{bad.parent.parent}/runs.db")
    async with engine.subscribe(cascade.RunStarted) as events:
        with pytest.raises(
            ConnectorRefused, match=r"everybodys' \(owner .*, mode 0777\).*`chmod go-w .*local:PATH"
        ):
            await engine.run(note(), run_id="r")
        assert [event async for event in events] == []
    assert RAN == []
    assert not (bad.parent.parent / "runs.db").exists()
    assert os.listdir(bad.parent) == []
    bad.parent.chmod(0o755)
    assert await engine.run(note(), run_id="r") == "done"


async def test_a_place_that_cannot_be_made_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConnectorRefused, match="Not a directory; see to that, or give another file as local:PATH"):
        await cascade.run(note(), control=f"local:{tmp_path}/file/control.db")


# -- the place by default ----------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A process without ``XDG_RUNTIME_DIR``; the folder for temporary files is the one that is given."""
    with public_folder() as public:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(public))
        yield public


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
async def test_nobody_else_can_enter_the_folders_that_are_made_by_default(nowhere: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert await cascade.run(note(), control="local:") == "done"
    finally:
        os.umask(before)
    made = [nowhere / f"cascade-{os.getuid()}", nowhere / f"cascade-{os.getuid()}/cascade"]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o700, 0o700]


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("relative", ["", "run", "./run"])
def test_a_runtime_folder_that_is_no_absolute_path_does_not_count(
    monkeypatch: pytest.MonkeyPatch, relative: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", relative)
    assert default_path().parent.parent.name == f"cascade-{os.getuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert default_path() == Path("/run/user/1/cascade/control.db")


def squat(folder: Path) -> None:
    """What an impostor does: takes the name first, and offers a control file."""
    os.mkdir(folder, 0o755)
    os.mkdir(folder / "cascade", 0o777)
    os.chmod(folder / "cascade", 0o777)
    with open(folder / "cascade/control.db", "wb"):
        pass
    os.chmod(folder / "cascade/control.db", 0o666)


def squat_by_link(folder: Path) -> None:
    os.symlink("/", folder)


@needs_root
@pytest.mark.parametrize("take", [squat, squat_by_link])
def test_a_default_place_that_another_user_has_taken_is_refused(
    nowhere: Path, take: Callable[[Path], None]
) -> None:
    as_stranger(lambda: take(nowhere / "cascade-0"))
    with pytest.raises(ConnectorRefused, match=r"belongs to another user|mode 1777"):
        cascade.run_sync(note(), control="local:")


@needs_root
async def test_a_stranger_in_the_folder_can_neither_unlink_nor_be_heard(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch()
    with public_folder(0o755) as public:
        one, other = LocalConnector(public / "control.db"), LocalConnector(public / "control.db")
        await one.connect()
        await other.connect()
        async with other.subscribe("a/#") as stream:
            assert other._session is not None
            address = str(public / f"{other._session._membership.me.name}.socket")
            forged = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

            def refused() -> None:
                try:
                    forged.sendto(b"a/b\0forged", address)
                except PermissionError:
                    return
                raise AssertionError("the socket took it")

            as_stranger(refused)
            os.chmod(address, 0o666)  # as if it had been open for a moment
            as_stranger(lambda: forged.sendto(b"a/b\0forged", address))
            forged.sendto(b"a/b\0mine", address)
            forged.close()
            with anyio.fail_after(50):
                assert await stream.receive() == Message("a/b", b"mine")
        await one.disconnect()
        await other.disconnect()


@pytest.mark.skipif(not hasattr(socket, "SCM_CREDENTIALS"), reason="no credentials with datagrams")
def test_a_datagram_counts_if_this_user_or_root_has_sent_it() -> None:
    def said(uid: int) -> list[tuple[int, int, bytes]]:
        data = b"".join(number.to_bytes(4, sys.byteorder) for number in (1, uid, 1))
        return [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, data)]

    assert is_of_this_user(said(0))
    assert is_of_this_user(said(os.geteuid()))
    assert not is_of_this_user(said(STRANGER))
    assert not is_of_this_user([])


# -- sockets -----------------------------------------------------------------------------------------------------


def test_only_sockets_of_ones_own_are_removed(tmp_path: Path) -> None:
    folder = SocketFolder(str(tmp_path))
    (tmp_path / "a.socket").touch()
    (tmp_path / "b.socket").symlink_to(tmp_path / "a.socket")
    (tmp_path / "c.socket").mkdir()
    for name in "abcd":
        folder.remove(name)
    assert sorted(os.listdir(tmp_path)) == ["a.socket", "b.socket", "c.socket"]
    mailbox = Mailbox(folder, "d")
    assert mailbox.is_in_place()
    folder.remove("d")
    assert not mailbox.is_in_place()
    mailbox.close()
    folder.close()


@needs_root
def test_a_socket_of_another_user_is_not_removed(tmp_path: Path) -> None:
    folder = SocketFolder(str(tmp_path))
    mailbox = Mailbox(folder, "theirs")
    os.chown(tmp_path / "theirs.socket", STRANGER, -1)
    mailbox.close()
    assert (tmp_path / "theirs.socket").exists()
    folder.close()


class Watched(socket.socket):
    """A socket that notes with which mode it has come into the world."""

    mode: int | None = None

    def bind(self, address: object, /) -> None:
        super().bind(address)  # type: ignore[arg-type]  # whatever it is
        self.mode = stat.S_IMODE(os.stat(str(address)).st_mode)


@pytest.mark.skipif(sys.platform != "linux", reason="sockets get their mode after they have been bound")
def test_a_socket_is_private_from_the_first_moment(tmp_path: Path) -> None:
    folder = SocketFolder(str(tmp_path))
    before = os.umask(0)
    try:
        with Watched(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            folder.bind(end, "new")
            assert end.mode == 0o600
    finally:
        os.umask(before)
    folder.close()


def test_a_socket_is_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = SocketFolder(str(tmp_path))
    before = os.umask(0)
    try:
        mailbox = Mailbox(folder, "open")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "open.socket").stat().st_mode) == 0o600
    mailbox.close()
    folder.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="addresses are paths here, and short")
async def test_a_long_path_is_no_hindrance_where_addresses_lead_through_descriptors(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30) / "control.db"
    one, other = LocalConnector(path), LocalConnector(path)
    await one.connect()
    await other.connect()
    async with other.subscribe("a/#") as stream:
        await one.publish("a/b", b"heard")
        with anyio.fail_after(50):
            assert await stream.receive() == Message("a/b", b"heard")
    await other.disconnect()
    await one.disconnect()


async def test_elsewhere_a_short_path_is_an_address_and_a_long_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SocketFolder, "_found_by", lambda self: self._path)
    with public_folder(0o700) as short:
        one, other = LocalConnector(short / "control.db"), LocalConnector(short / "control.db")
        await one.connect()
        await other.connect()
        async with other.subscribe("a/#") as stream:
            await one.publish("a/b", b"heard")
            with anyio.fail_after(50):
                assert await stream.receive() == Message("a/b", b"heard")
        await other.disconnect()
        await one.disconnect()
    with pytest.raises(
        ConnectorRefused, match="too long for the sockets in it; give a shorter one, as local:PATH"
    ):
        await cascade.run(note(), control=f"local:{tmp_path}/{'long' * 30}/control.db")


def test_a_socket_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    folder = SocketFolder(str(tmp_path))
    (tmp_path / "taken.socket").touch()
    with pytest.raises(ConnectorError, match="a socket cannot be made beside the control file"):
        Mailbox(folder, "taken")
    folder.close()
    with pytest.raises(ConnectorError, match="cannot be opened"):
        SocketFolder(str(tmp_path / "no/such"))
