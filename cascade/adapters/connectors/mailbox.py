"""Datagram sockets of processes that share a folder, and a way to wake a thread that waits for one.

No address comes from another user: a socket is found by its name in the folder of the control file, which nobody
else can write to.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from cascade.adapters.trusted_paths import ROOT
from cascade.runtime.control.connector import MOST_BYTES, ConnectorError, ConnectorRefused

# Bytes of an address; systems allow 104 to 108.
LONGEST: Final = 103
# Bytes of a datagram: a message and its topic.
LARGEST: Final = MOST_BYTES + 4096
# Datagrams read at a time.
MOST_AT_ONCE: Final = 100
_UCRED: Final = struct.Struct("3i")


def check_system() -> None:
    """See that this system has what the local connector needs.

    Raises:
        ConnectorRefused: If it has not.
    """
    if not (hasattr(socket, "AF_UNIX") and hasattr(os, "geteuid")):
        raise ConnectorRefused(
            "local: needs Unix sockets and file owners, which this system does not have; use mqtt://HOST"
        )


def datagram_socket() -> socket.socket:
    """A socket with room for the longest datagrams."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for size in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        if made.getsockopt(socket.SOL_SOCKET, size) < LARGEST:  # a few KiB on macOS
            made.setsockopt(socket.SOL_SOCKET, size, LARGEST)
    return made


class SocketFolder:
    """The folder in which processes have their sockets.

    On Linux addresses lead through the open descriptor (``/proc/self/fd``), so their length does not matter.
    Elsewhere they are paths: nobody else can replace a folder on the way, but the path must be short.

    Args:
        path: The folder, which nobody else can write to.

    Raises:
        ConnectorError: If it cannot be opened, or its path is too long for an address.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise ConnectorError(f"the folder {path!r} cannot be opened: {error.strerror}") from error
        self._prefix = self._found_by()
        if len(os.fsencode(self.address("0" * 16))) > LONGEST:
            self.close()
            raise ConnectorRefused(
                f"the path of the folder {path!r} is too long for the sockets in it; give a shorter one, as "
                "local:PATH"
            )

    def _found_by(self) -> str:
        through = f"/proc/self/fd/{self._descriptor}"
        with suppress(OSError):
            if os.path.samestat(os.stat(through), os.fstat(self._descriptor)):
                return through
        return self._path

    def address(self, name: str) -> str:
        """The address of the socket of *name*."""
        return f"{self._prefix}/{_file_name(name)}"

    def bind(self, end: socket.socket, name: str) -> os.stat_result:
        """Make *end* the socket of *name*, for this user only; returns the file that it is.

        Raises:
            OSError: If that is not possible, or there is something of that name.
        """
        with suppress(OSError):  # so that it is private from the first moment; not on macOS
            os.fchmod(end.fileno(), 0o600)
        end.bind(self.address(name))
        os.chmod(_file_name(name), 0o600, dir_fd=self._descriptor)
        return os.stat(_file_name(name), dir_fd=self._descriptor, follow_symlinks=False)

    def holds(self, name: str, file: os.stat_result) -> bool:
        """Whether others find *file* as the socket of *name*."""
        try:
            return os.path.samestat(os.lstat(os.path.join(self._path, _file_name(name))), file)
        except OSError:
            return False

    def remove(self, name: str) -> None:
        """Remove the socket of *name*, if there is one and it is this user's."""
        with suppress(OSError):
            found = os.stat(_file_name(name), dir_fd=self._descriptor, follow_symlinks=False)
            if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid():
                os.unlink(_file_name(name), dir_fd=self._descriptor)

    def close(self) -> None:
        """Close the folder; nothing in it is removed."""
        os.close(self._descriptor)


def _file_name(name: str) -> str:
    return f"{name}.socket"


class Bell:
    """Wakes the thread that waits for a mailbox, by a socket pair: it works also when the folder is gone."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def ring(self) -> None:
        """Wake the thread now, or as soon as it waits. From any thread."""
        with suppress(BlockingIOError):  # it has been rung often enough
            self._there.send(b"\0")

    def wait(self, end: socket.socket, seconds: float) -> bool:
        """Wait at most *seconds* until it rings or *end* can be read; whether one of these has happened."""
        poll = select.poll()
        poll.register(self._here, select.POLLIN)
        poll.register(end, select.POLLIN)
        has_come = bool(poll.poll(seconds * 1000))
        with suppress(BlockingIOError):
            self._here.recv(4096)
        return has_come

    def close(self) -> None:
        """Close both ends."""
        self._here.close()
        self._there.close()


class Mailbox:
    """The socket of this process, for datagrams of this user and root.

    Args:
        folder: Where the socket is.
        name: Its name there.

    Raises:
        ConnectorError: If it cannot be made.
    """

    def __init__(self, folder: SocketFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._socket = datagram_socket()
        try:
            self._socket.setblocking(False)
            if _tells_senders():
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._file = folder.bind(self._socket, name)
        except OSError as error:
            self._socket.close()
            raise ConnectorError(f"a socket cannot be made beside the control file: {error.strerror}") from error

    def wait(self, bell: Bell, seconds: float) -> bool:
        """Wait at most *seconds* for a datagram or for *bell*; whether one of these has come."""
        return bell.wait(self._socket, seconds)

    def datagrams(self) -> Iterator[bytes]:
        """The datagrams that have come, at most a hundred, each cut to ``LARGEST`` bytes."""
        for _ in range(MOST_AT_ONCE):
            try:
                datagram, ancillary, _, _ = self._socket.recvmsg(LARGEST, socket.CMSG_SPACE(_UCRED.size))
            except BlockingIOError:
                return
            except OSError as error:
                raise ConnectorError(f"the socket beside the control file is broken: {error.strerror}") from error
            if is_of_this_user(ancillary):
                yield datagram

    def is_in_place(self) -> bool:
        """Whether others still find the socket."""
        return self._folder.holds(self._name, self._file)

    def close(self) -> None:
        """Remove and close the socket."""
        self._folder.remove(self._name)
        self._socket.close()


def _tells_senders() -> bool:
    """Whether the system says who has sent a datagram. Elsewhere the modes of folder and socket must suffice."""
    return hasattr(socket, "SO_PASSCRED") and hasattr(socket, "SCM_CREDENTIALS")


def is_of_this_user(ancillary: list[tuple[int, int, bytes]]) -> bool:
    """Whether this user or root has sent a datagram, by the data beside it; true if the system does not tell."""
    if not _tells_senders():
        return True
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            _, sender, _ = _UCRED.unpack_from(data)
            return sender in (ROOT, os.getuid(), os.geteuid())
    return False
