"""Who executes a run, and whether that process is still alive."""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Final, Self, cast

import attrs

from cascade.model.errors import RunInProgressError
from cascade.runtime.ledger import RunState

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
    except OSError:  # pragma: no cover  # no Linux
        space = 0
    return f"{socket.gethostname()}/{space}"


@functools.cache
def _boot() -> str:
    """This start of the host; empty if it cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # pragma: no cover  # no Linux
        return ""


def _started(pid: int) -> str:
    """When the process began, in the words of the system; empty if it cannot be told, or is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # pragma: no cover  # no Linux, or gone in this very moment
        return ""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # pragma: no cover  # it exists, and is somebody else's, which root never hears
        return True
    try:
        # A zombie has been killed, and only waits for its parent to notice.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):  # pragma: no cover  # no Linux, or gone in this very moment
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
    def read(cls, text: str | bytes) -> Self:
        """What :meth:`written` made of one."""
        fields = json.loads(text)
        return cls(**{field.name: fields[field.name] for field in attrs.fields(cls)})

    def written(self) -> str:
        """As it stands in stores: JSON."""
        return json.dumps(attrs.asdict(self))

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


def refuse_if_alive(run_id: str, holder: Owner, lease_until: float) -> None:
    """See that the run may be taken from *holder*.

    Raises:
        RunInProgressError: If its lease holds, and it may be alive.
    """
    left = lease_until - time.time()
    if left > 0 and not holder.is_dead():
        raise RunInProgressError(
            f"run {run_id!r} is being executed by {holder}; its lease holds for another {left:.0f} s "
            "unless it is renewed. Wait for its end, or use another run_id"
        )


def overtaken(run_id: str, holder: Owner | None) -> str:
    """What a writer is told who has lost the run."""
    by = "somebody else" if holder is None else str(holder)
    return f"run {run_id!r} has been taken over by {by}; nothing more is recorded here"


def run_state(status: str, holder: Owner | None, lease_until: float) -> RunState:
    """What is to be said of a run whose status is recorded as *status*."""
    if status != "running":
        return cast("RunState", status)
    is_alive = holder is not None and lease_until > time.time() and not holder.is_dead()
    return "running" if is_alive else "interrupted"
