"""Ends a worker process when its parent ends, whatever either of them is doing."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
# Seconds between two looks at whether the parent is alive, once it has closed the channel.
_POLL: Final = 0.05


def end_with_parent(parent: int, channel: socket.socket) -> None:
    """Kill this process when its parent ends, also if that is killed or crashes.

    On Linux the kernel does it, at once, even during a long call of native code; it does it when the *thread* that
    started this process ends. Elsewhere a thread watches the channel, for which it needs the GIL.

    Args:
        parent: The process id of the parent.
        channel: A socket of which the parent holds the other end.
    """
    if not _kernel_kills() and hasattr(select, "poll"):
        threading.Thread(target=_watch, args=(parent, channel), name="watches parent", daemon=True).start()
    if sys.platform != "win32" and os.getppid() not in (parent, 0):
        os._exit(1)  # it ended before the kernel was asked; 0 stands for a parent in another PID namespace


def _kernel_kills() -> bool:
    """Ask the kernel to kill this process when the thread that started it ends; returns whether it will."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes  # some builds of Python lack it, and only Linux needs it

        prctl: Any = ctypes.CDLL(None).prctl
        return bool(prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def _watch(parent: int, channel: socket.socket) -> None:
    poller = select.poll()
    poller.register(channel, 0)  # no events but the closing of the other end
    poller.poll()
    # The parent may have closed the channel on purpose, and live on.
    while os.getppid() == parent:
        time.sleep(_POLL)
    os._exit(1)
