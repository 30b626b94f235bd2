"""Who executes a run, and whether that process is still alive."""

from __future__ import annotations

import functools
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import attrs

# Seconds for which a lease holds without a sign of life, and between two of these.
LEASE: Final = 30.0
HEARTBEAT: Final = 8.0

# Tokens of the leases that this process holds: one that it does not know is left from a run that is over.
_held: set[str] = set()


@functools.cache
def _host() -> str:
    """This host, as a process can be looked up in it: containers have processes of their own."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # no Linux
        space = 0
    return f"{socket.gethostname()}/{space}"


@functools.cache
def _boot() -> str:
    """This start of the host; empty if it cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no Linux
        return ""


def _started(pid: int) -> str:
    """When the process began, in the words of the system; empty if it cannot be told, or is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, and is somebody else's
        return True
    try:
        # A zombie has been killed, and only waits for its parent to notice.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return True


@attrs.frozen
class Owner:
    """A holder of a lease.

    Attributes:
        host: The host.
        boot: Its present start.
        pid: The process.
        started: When that began: ids of processes are used again.
        token: Tells the leases of one process apart.
    """

    host: str
    boot: str
    pid: int
    started: str
    token: str

    @classmethod
    def here(cls) -> Self:
        """A new holder in this process; to be given up by :meth:`release`."""
        pid = os.getpid()
        owner = cls(_host(), _boot(), pid, _started(pid), secrets.token_hex(8))
        _held.add(owner.token)
        return owner

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """What :func:`attrs.asdict` made of one."""
        return cls(**{field.name: fields[field.name] for field in attrs.fields(cls)})

    def release(self) -> None:
        """It holds nothing any more."""
        _held.discard(self.token)

    def is_dead(self) -> bool:
        """Whether it is certain that nothing happens in its name any more. Reads files, and never waits long."""
        if self.host != _host():
            return False
        if self.boot != _boot():
            return True
        if self.pid == os.getpid() and self.started == _started(self.pid):
            return self.token not in _held
        return not _is_running(self.pid) or (bool(self.started) and _started(self.pid) != self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('/')[0]}"
