"""The start mark of an attempt: set where user code starts, in whatever thread that is.

Between admission and mark a rule may close the gate; then the attempt goes back and asks again, with its ticket.
Whoever closes the gate waits until nobody is between gate and mark. There is no lock: the crossing is announced
before the epoch is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
from anyio.lowlevel import EventLoopToken

from cascade.runtime.admission.claims import Claim
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.timing import Timing
from cascade.runtime.foundation.threads import wake_soon


class NotStartedError(Exception):
    """A rule closed between admission and start: the attempt goes back and asks again. Stays in the engine."""


@attrs.define(eq=False)
class StartMark:
    """Marks the start of one attempt.

    Attributes:
        run_context: The run.
        claim: What the attempt holds, since its admission.
        timing: Where the mark is, as a time.
        on_start: Called once, on the event loop, after the mark; takes the worker.
        is_over: Whether the attempt has ended: then no mark is set any more.
        is_crossing: Whether it is between the gate and its mark.
        worker: Where it runs, if that is not this process.
    """

    run_context: RunContext
    claim: Claim
    timing: Timing
    on_start: Callable[[str | None], None] | None = None
    is_over: bool = False
    is_crossing: bool = False
    worker: str | None = None

    def set(self) -> None:
        """Set the mark, if the gate is as it was at admission. Called on the loop, before user code.

        Does nothing if it is set already.

        Raises:
            NotStartedError: If a rule has changed since.
        """
        if self.timing.started is None:
            self._cross()
            self._tell()

    def set_in_thread(self, token: EventLoopToken) -> None:
        """What :meth:`set` does, in a thread."""
        if self.timing.started is not None:
            return
        self._cross()
        if self.on_start is not None or self.timing.scope is not None:
            wake_soon(token, self._tell)

    def pass_gate(self) -> None:
        """Go through the gate, if it is as it was at admission. Called on the loop; the mark is set later.

        Raises:
            NotStartedError: If a rule has changed since.
        """
        if self.timing.started is None and not self._may_pass():
            raise NotStartedError

    def set_elsewhere(self, worker: str, token: EventLoopToken) -> None:
        """Set the mark, as *worker* has called the function. Called in any thread, and perhaps often."""
        if self.timing.started is None and not self.is_over:
            self.worker = worker
            self.timing.started = self.timing.clock()
            if self.on_start is not None or self.timing.scope is not None:
                wake_soon(token, self._tell)

    def set_afterwards(self, worker: str, seconds: float) -> None:
        """The function has ended, and has taken so many *seconds* on *worker*. Called on the loop."""
        self.worker, timing = worker, self.timing
        now = timing.clock()
        if timing.started is None:
            timing.started = now - seconds
        timing.ended = min(now, timing.started + seconds)  # not the time that the value was on its way
        self._tell()

    def until_decided(self) -> None:
        """See that it is known whether the function has been called, by a thread that nobody waits for any more.

        The attempt is over, so a thread that is crossing has its mark in a moment or goes back.
        """
        while self.is_crossing:
            time.sleep(0)
        if self.timing.started is not None:
            self._tell()

    def _may_pass(self) -> bool:
        run = self.run_context
        return not (self.is_over or run.lifecycle.is_halted or run.gate.epoch != self.claim.epoch)

    def _cross(self) -> None:
        # Crossing is announced before the epoch is read, and whoever closes a gate changes the epoch before
        # looking for who is crossing: so no mark is set after a pause has returned (Dekker's argument).
        self.is_crossing = True
        if not self._may_pass():
            self.is_crossing = False
            raise NotStartedError
        self.timing.started = self.timing.clock()
        self.is_crossing = False

    def _tell(self) -> None:
        self.timing.limit()
        if self.on_start is not None:
            report, self.on_start = self.on_start, None
            report(self.worker)
