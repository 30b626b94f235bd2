"""The end of a worker process with that of its parent, whatever either is doing then."""

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
# Seconds between two looks at whether the parent is still there, once the channel says that it may not be.
_POLL: Final = 0.05


def end_with_parent(parent: int, channel: socket.socket) -> None:
    """Have this process killed when its parent ends: by ``kill -9``, in a crash or as it likes.

    On Linux the kernel does it, at once, also in a long call of native code, when the *thread* that started this
    process ends. Elsewhere a thread watches the channel, and needs the GIL to do it.

    Args:
        parent: Its process id.
        channel: What it holds the other end of.
    """
    if not _kernel_kills() and hasattr(select, "poll"):
        threading.Thread(target=_watch, args=(parent, channel), name="watches parent", daemon=True).start()
    if sys.platform != "win32" and os.getppid() not in (parent, 0):
        os._exit(1)  # it had ended before the kernel was told; 0 is one that this namespace does not show


def _kernel_kills() -> bool:
    """Ask the kernel to kill this process when the thread ends that started it; returns whether it will."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes  # not everywhere, and of no use elsewhere

        prctl: Any = ctypes.CDLL(None).prctl
        return bool(prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def _watch(parent: int, channel: socket.socket) -> None:
    poller = select.poll()
    poller.register(channel, 0)  # only for the end of the other side
    poller.poll()
    # The parent may have hung up on purpose; otherwise it is about to be gone.
    while os.getppid() == parent:
        time.sleep(_POLL)
    os._exit(1)
