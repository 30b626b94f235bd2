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

# Seconds for which a lease holds after it was renewed, and between two renewals.
LEASE: Final = 30.0
HEARTBEAT: Final = 8.0

# Tokens of the leases that this process holds. A lease of this process with another token is that of a dead run.
_held: set[str] = set()


def _inode(path: str) -> int:
    """The inode of *path*; 0 if there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:  # pragma: no cover  # no Linux
        return 0


def _host() -> str:
    """``HOST/NUMBER``: the name of this host and the inode of its process table (PID namespace); 0 if unknown.

    Containers have process tables of their own. Not cached: a process, or its child, can move to another table.
    """
    try:
        is_own = os.readlink("/proc/self") == str(os.getpid())
    except OSError:  # pragma: no cover  # no Linux
        is_own = False
    # If /proc shows another process table, its ids stand for other processes.
    return f"{socket.gethostname()}/{_inode('/proc/self/ns/pid') if is_own else 0}"


@functools.cache
def _boot() -> str:
    """An id of the present boot of this machine, unique among machines; empty if it is not known.

    The name of the host is not enough: clones and containers often share one.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # pragma: no cover  # no Linux
        return _boot_of_a_mac()
    # In another time namespace, the clock that counts from the boot is shifted.
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
    """Seconds since this machine was booted, the same for all its processes; this clock cannot be set."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # pragma: no cover  # no Linux


def _started(pid: int) -> str:
    """When the process began, as the system says it; empty if that is not known, or the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # pragma: no cover  # no Linux, or it has just ended
        return ""


def _is_running(pid: int) -> bool:
    if os.name == "nt":  # pragma: no cover  # on Windows, signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # pragma: no cover  # another user's, which root may signal
        return True
    try:
        # A zombie has ended; its parent has not waited for it yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):  # pragma: no cover  # no Linux, hidden, or it has just ended
        return True


@attrs.frozen
class Owner:
    """The holder of a lease.

    Attributes:
        host: The host and its process table, as ``HOST/NUMBER``.
        boot: The boot of the machine; empty if it is not known.
        pid: The process.
        started: When the process began, as process ids are used again; empty if it is not known.
        token: Tells the leases of one process apart.
        until: When the lease ends, by :func:`steady_time` of that machine; ``None`` if it is not known.
    """

    host: str
    boot: str
    pid: int
    started: str
    token: str
    until: float | None = None

    @classmethod
    def here(cls) -> Self:
        """A new holder in this process; :meth:`release` it in the end."""
        pid = os.getpid()
        owner = cls(_host(), _boot(), pid, _started(pid), secrets.token_hex(8))
        _held.add(owner.token)
        return owner

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """The holder that :meth:`written` encoded as *text*.

        Raises:
            ValueError: If *text* encodes no holder.
        """
        return cls.of_fields(json.loads(text))

    @classmethod
    def of_fields(cls, fields: Any) -> Self:
        """The holder with these fields, which were read from JSON.

        Raises:
            ValueError: If these are not the fields of a holder.
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
        """As JSON, for stores."""
        return json.dumps(attrs.asdict(self))

    def release(self) -> None:
        """Note that the lease is not held any more."""
        _held.discard(self.token)

    def is_on_this_machine(self) -> bool:
        """Whether the holder has certainly run on this machine since its present boot."""
        return bool(self.boot) and self.boot == _boot()

    def is_dead(self) -> bool:
        """Whether the holder has certainly ended. Reads files, and never waits long.

        ``False`` if it cannot be known: for another machine, for another boot, and for another container.
        """
        table = self.host.rpartition("/")[2]
        if not self.is_on_this_machine() or table in ("", "0") or table != _host().rpartition("/")[2]:
            return False
        started = _started(self.pid)
        if self.pid == os.getpid() and self.started == started:
            return self.token not in _held
        # If the start of the process cannot be read, it may be the holder.
        return not _is_running(self.pid) or (bool(self.started and started) and started != self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('/')[0]}"


def seconds_left(holder: Owner, lease_until: float, now: float) -> float:
    """Seconds for which the lease of *holder* still holds; negative if it has ended.

    Args:
        holder: The holder. If it is on this machine, its steady clock counts.
        lease_until: When the lease ends, by the clock of the store.
        now: The time by the clock of the store.
    """
    if holder.until is not None and holder.is_on_this_machine():
        return holder.until - steady_time()
    return lease_until - now


class UncertainHolderError(Exception):
    """It is not certain yet whether the holder of a lease is alive: ask again. Users never see this error."""


@attrs.define(eq=False)
class Vigil:
    """Decides whether a run may be taken from its holder; asked again and again while that is not certain.

    The clocks of two machines may disagree, and people set clocks. So if a lease was written by one clock and has
    ended by another, or holds for longer than any lease does, it is watched. It is free once it has not been
    renewed for 30 s, which is how long a lease holds.

    Attributes:
        run_id: The run.
        now: Seconds on a clock that cannot be set; the caller updates it before each question.
    """

    run_id: str
    now: float = 0.0
    _seen: object = None
    _since: float = 0.0

    def refuse_if_alive(self, holder: Owner, lease: object, left: float, *, is_certain: bool) -> None:
        """Return if the run may be taken from *holder*.

        Args:
            holder: The holder.
            lease: All that is recorded of the lease; it changes when the lease is renewed.
            left: Seconds for which the lease holds.
            is_certain: Whether *left* is by the clock by which the lease was written.

        Raises:
            RunInProgressError: If the lease holds, and the holder may be alive.
            UncertainHolderError: If that is not certain yet.
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
    """The message for a writer that has lost the run to *holder*; ``None``: to one that has given it up since."""
    by = "somebody else" if holder is None else str(holder)
    return f"run {run_id!r} has been taken over by {by}; nothing more is recorded here"


def vanished(run_id: str) -> str:
    """The message for a writer whose run is no longer in the store."""
    return (
        f"the record of run {run_id!r} is gone from the store: deleted, flushed or expired; nothing more is "
        "recorded here"
    )


def run_state(status: str, holder: Owner | None, left: float) -> RunState:
    """The state of a run, for people.

    Args:
        status: The recorded status.
        holder: The holder of its lease; ``None`` if it is free.
        left: Seconds for which the lease holds.
    """
    if status in _ENDED:
        return cast("RunState", status)
    return "running" if holder is not None and left > 0 and not holder.is_dead() else "interrupted"


_ENDED: Final = ("succeeded", "failed", "cancelled", "suspended")
