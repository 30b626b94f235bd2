"""Finds out that worker threads are stuck in functions that block, while there is other work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

# Seconds without a node being begun, after which the threads there are count as stuck; and the same if somebody
# else may have kept the interpreter from them.
STUCK: Final = 0.0005
STUCK_AT_LAST: Final = 0.005


def wait_until_stuck(advance: Callable[[], object], sleep: Callable[[float], object]) -> bool:
    """Wait until nothing advances; returns whether that is so. Called in a thread, which it keeps.

    Args:
        advance: What is equal as long as nothing advances; ``None`` once nobody needs to know.
        sleep: Sleeps for so many real seconds.
    """
    seen: object = None
    since = -math.inf
    while True:
        before = time.perf_counter()
        sleep(STUCK)
        after, now = time.perf_counter(), advance()
        if now is None:
            return False
        if now != seen:
            seen, since = now, after
        elif after - before < 2 * STUCK or after - since > STUCK_AT_LAST:
            return True
