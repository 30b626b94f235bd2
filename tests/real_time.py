"""What takes real time, and where nothing but time tells."""

from __future__ import annotations

import time
from collections.abc import Callable


def hold_thread(seconds: float) -> None:
    """Keep this thread for *seconds*, as a library does that waits for something outside."""
    time.sleep(seconds)  # the subject of the test is a thread that is held


def look_until(condition: Callable[[], bool], patience: float = 20.0) -> bool:
    """Look at other processes until *condition* holds, or *patience* seconds are over; whether it holds."""
    until = time.monotonic() + patience
    while not (holds := condition()) and time.monotonic() < until:
        time.sleep(0.001)  # another process says in no other way how far it is
    return holds
