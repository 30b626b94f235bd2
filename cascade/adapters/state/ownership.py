"""Who executes a run, whether that process is still alive, and when its lease ends.

Every write compares the token of the lease in its own transaction, so a stale writer cannot write even if it does
not know that it is one.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Self, cast

import attrs

from cascade.model.errors import RunInProgressError
from cascade.runtime.durability.history import RunState

# Seconds for which a lease holds without a sign of life, and between two of these.
LEASE: Final = 30.0
HEARTBEAT: Final = 8.0

# Tokens of the leases that this process holds: one that it does not know is left from a run that is over.
_held: set[str] = set()


def _inode(path: str) -> int:
    """The inode of *path*; 0 if there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:  # pragma: no cover  # no Linux
        return 0


def _host() -> str:
    """The name of this host, and the number of the process table that is seen from here; 0 if that is not known.

    Containers have tables of their own. Not kept: a process can move to another table, its children more often.
    """
    try:
        is_own = os.readlink("/proc/self") == str(os.getpid())
    except OSError:  # pragma: no cover  # no Linux
        is_own = False
    # A /proc that belongs to another table would tell of processes that are others.
    return f"{socket.gethostname()}/{_inode('/proc/self/ns/pid') if is_own else 0}"


@functools.cache
def _boot() -> str:
    """This start of this machine, which no other shares; empty if it cannot be told.

    The name of a host tells no machines apart: clones and containers often share one.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # pragma: no cover  # no Linux
        return _boot_of_a_mac()
    # Clocks that count from the start of the machine may be shifted for a group of processes.
    return f"{boot}/{_inode('/proc/self/ns/time')}"


def _boot_of_a_mac() -> str:  # pragma: no cover  # tested on Linux only
    if sys.platform != "darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def steady_time() -> float:
    """Seconds since the start of this machine, the same for all its processes; nobody sets this clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # pragma: no cover  # no Linux


def _started(pid: int) -> str:
    """When the process began, in the words of the system; empty if it cannot be told, or is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # pragma: no cover  # no Linux, or gone in this very moment
        return ""


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # pragma: no cover  # there, signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # pragma: no cover  # it is somebody else's, which root never hears
        return True
    try:
        # A zombie has been killed, and only waits for its parent to notice.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):  # pragma: no cover  # no Linux, hidden, or gone in this very moment
        return True


@attrs.frozen
class Owner:
    """A holder of a lease.

    Attributes:
        host: The host, and its table of processes.
        boot: Its present start.
        pid: The process.
        started: When that began: ids of processes are used again.
        token: Tells the leases of one process apart.
        until: When the lease ends to hold, by :func:`steady_time` of that machine; ``None`` if that is not known.
    """

    host: str
    boot: str
    pid: int
    started: str
    token: str
    until: float | None = None

    @classmethod
    def here(cls) -> Self:
        """A new holder in this process; to be given up by :meth:`release`."""
        pid = os.getpid()
        owner = cls(_host(), _boot(), pid, _started(pid), secrets.token_hex(8))
        _held.add(owner.token)
        return owner

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """What :meth:`written` made of one.

        Raises:
            ValueError: If it is nothing of the kind.
        """
        return cls.of_fields(json.loads(text))

    @classmethod
    def of_fields(cls, fields: Any) -> Self:
        """The holder with these fields, as they were read from JSON.

        Raises:
            ValueError: If they are not those of a holder.
        """
        until = fields.get("until") if isinstance(fields, dict) else None
        try:
            texts = [str(fields[name]) for name in ("host", "boot", "started", "token")]
            pid, until = int(fields["pid"]), None if until is None else float(until)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{fields!r:.100} names no holder of a lease") from error
        host, boot, started, token = texts
        return cls(host, boot, pid, started, token, until)

    def written(self) -> str:
        """As it stands in stores: JSON."""
        return json.dumps(attrs.asdict(self))

    def release(self) -> None:
        """It holds nothing any more."""
        _held.discard(self.token)

    def is_on_this_machine(self) -> bool:
        """Whether it is certain that the holder was, or is, on this machine since its present start."""
        return bool(self.boot) and self.boot == _boot()

    def is_dead(self) -> bool:
        """Whether it is certain that nothing happens in its name any more. Reads files, and never waits long.

        Nothing is certain of another machine, nor of another start of what may be this one, nor of a container
        with processes of its own.
        """
        table = self.host.rpartition("/")[2]
        if not self.is_on_this_machine() or table in ("", "0") or table != _host().rpartition("/")[2]:
            return False
        started = _started(self.pid)
        if self.pid == os.getpid() and self.started == started:
            return self.token not in _held
        # Where a process may not be looked at, it may be the one.
        return not _is_running(self.pid) or (bool(self.started and started) and started != self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('/')[0]}"


def seconds_left(holder: Owner, lease_until: float, now: float) -> float:
    """Seconds for which the lease of *holder* holds; negative if it does not, as far as clocks can be trusted.

    Args:
        holder: Who has it.
        lease_until: When it ends, by the clock of the store.
        now: What that clock says.
    """
    if holder.until is not None and holder.is_on_this_machine():
        return holder.until - steady_time()
    return lease_until - now


class UncertainHolderError(Exception):
    """Nobody can tell yet whether the holder of a lease is alive; to be asked again. Stays in the adapters."""


@attrs.define(eq=False)
class Vigil:
    """Decides whether a run may be taken from whoever holds it; asked again and again while that is not certain.

    Clocks of two machines may disagree, and clocks are set. So where a lease seems to have ended by another clock
    than that by which it was written, or to hold for longer than any does, it is watched: it is free once it has
    stayed as it is for the 30 s for which it would hold.

    Attributes:
        run_id: The run.
        now: Seconds on a clock that nobody sets; brought up to date before each question.
    """

    run_id: str
    now: float = 0.0
    _seen: object = None
    _since: float = 0.0

    def refuse_if_alive(self, holder: Owner, lease: object, left: float, *, is_certain: bool) -> None:
        """See that the run may be taken from *holder*.

        Args:
            holder: Who has it.
            lease: All that is recorded of the lease, to see whether it is renewed.
            left: Seconds for which it holds.
            is_certain: Whether that was found by the clock by which it was written.

        Raises:
            RunInProgressError: If the lease holds, and the holder may be alive.
            UncertainHolderError: If that cannot be told yet.
        """
        if holder.is_dead() or (is_certain and left <= 0):
            return
        if self._seen is None and 0 < left <= LEASE:
            raise RunInProgressError(
                f"run {self.run_id!r} is being executed by {holder}; its lease holds for another {left:.0f} s "
                "unless it is renewed. Wait for its end, or use another run_id"
            )
        if self._seen is None:
            self._seen, self._since = lease, self.now
        if lease != self._seen:
            raise RunInProgressError(
                f"run {self.run_id!r} is being executed by {holder}, which has renewed its lease a moment ago. "
                "Wait for its end, or use another run_id"
            )
        if self.now - self._since < LEASE:
            raise UncertainHolderError


def overtaken(run_id: str, holder: Owner | None) -> str:
    """What a writer is told who has lost the run to *holder*, or to somebody who has given it up since."""
    by = "somebody else" if holder is None else str(holder)
    return f"run {run_id!r} has been taken over by {by}; nothing more is recorded here"


def vanished(run_id: str) -> str:
    """What a writer is told whose run is no longer in the store."""
    return (
        f"the record of run {run_id!r} is gone from the store: deleted, flushed or expired; nothing more is "
        "recorded here"
    )


def run_state(status: str, holder: Owner | None, left: float) -> RunState:
    """What is to be said of a run whose status is recorded as *status*.

    Args:
        status: The recorded status.
        holder: Who has its lease.
        left: Seconds for which that holds.
    """
    if status in _ENDED:
        return cast("RunState", status)
    return "running" if holder is not None and left > 0 and not holder.is_dead() else "interrupted"


_ENDED: Final = ("succeeded", "failed", "cancelled")
