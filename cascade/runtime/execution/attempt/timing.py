"""When an attempt began and ended, and by when it has to end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import attrs
from anyio import CancelScope, current_effective_deadline, current_time
from anyio.lowlevel import EventLoopToken, current_token


@attrs.define(eq=False)
class Timing:
    """The times of one attempt, all on the event loop's clock.

    Attributes:
        timeout: Seconds it may take from its start mark; ``None`` if it has no timeout.
        ends_by: When the scopes around it end.
        clock: The event loop's clock, as it can be read where the attempt runs.
        scope: What its timeout cancels, where that helps.
        started: The start mark; ``None`` before.
        ended: When user code returned or raised.
    """

    timeout: float | None
    ends_by: float = attrs.field(factory=current_effective_deadline)
    clock: Callable[[], float] = current_time
    scope: CancelScope | None = None
    started: float | None = None
    ended: float | None = None

    def read_in_thread(self) -> EventLoopToken:
        """Prepare for running in a thread, where the loop's clock cannot be asked; returns the loop's token."""
        offset = current_time() - time.perf_counter()
        self.clock = lambda: time.perf_counter() + offset
        return current_token()

    def limit(self) -> None:
        """Have the timeout cancel what runs, counted from the start mark. Called on the loop."""
        if self.scope is not None and self.timeout is not None and self.started is not None:
            self.scope.deadline = self.started + self.timeout

    def end(self) -> None:
        """Note that user code has ended, if that is not known yet."""
        if self.ended is None:
            self.ended = self.clock()

    def is_late(self) -> bool:
        """Whether it has taken longer than its timeout."""
        if self.timeout is None or self.started is None:
            return False
        return (self.clock() if self.ended is None else self.ended) - self.started > self.timeout

    def was_cut_short(self) -> bool:
        """Whether the timeout has cancelled it."""
        return self.scope is not None and self.scope.cancel_called

    def remaining(self) -> float:
        """Seconds to the effective deadline; ``inf`` if there is none."""
        ends_by = self.ends_by
        if self.timeout is not None and self.started is not None:
            ends_by = min(ends_by, self.started + self.timeout)
        return ends_by - self.clock() if math.isfinite(ends_by) else ends_by
