"""Servers that are there, and do nothing for a while."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Server(Protocol):
    """What runs as a process."""

    process: subprocess.Popen[Any] | None


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """*server* hears, and says nothing, until the block ends."""
    process = server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)  # it may run for a moment yet
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
