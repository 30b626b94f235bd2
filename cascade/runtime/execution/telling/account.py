"""How a node came to fail, as its record tells it. Made for nodes that fail, and for nobody else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Final

import attrs

from cascade.model.shown.text import fitted
from cascade.model.shown.tracebacks import text_of
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.details import AttemptRecord, NodeDetail, Remark

# Bytes of a traceback that are recorded, and how many of them are of its beginning if it is longer.
LONGEST_TRACEBACK: Final = 8192
_HEAD: Final = 2048
# Attempts and remarks that are kept of a node; of more attempts, so many of the first ones.
MOST_ATTEMPTS: Final = 50
_FIRST_ATTEMPTS: Final = 5
MOST_REMARKS: Final = 20
# Characters of the error of an attempt that are kept.
LONGEST_ERROR: Final = 500

ON_LOOP: Final = "event loop"


def this_thread() -> str:
    """The calling thread, in words. For where it was a worker thread that ran a node."""
    return f"thread {threading.get_native_id()} of process {os.getpid()}"


@attrs.define(eq=False)
class Account:
    """What happened to a node on its way. Times are those of the loop's clock.

    Attributes:
        attempts: Its attempts that failed: number, start mark, end, and error.
        remarks: What else is worth knowing, and when it was.
        worker: Where its last attempt ran, in words; ``None`` if it is not known.
    """

    attempts: list[tuple[int, float, float, str]] = attrs.field(factory=list)
    remarks: list[tuple[float, str]] = attrs.field(factory=list)
    worker: str | None = None

    def failed(self, number: int, started: float, now: float, error: str) -> None:
        """Note that an attempt failed."""
        self.attempts.append((number, started, now, fitted(error, LONGEST_ERROR)))
        if len(self.attempts) > MOST_ATTEMPTS:
            del self.attempts[_FIRST_ATTEMPTS]

    def remark(self, now: float, text: str) -> None:
        """Note what happened."""
        self.remarks.append((now, text))
        if len(self.remarks) > MOST_REMARKS:
            del self.remarks[0]


def detail_of(
    run_context: RunContext,
    account: Account | None,
    started: float | None,
    *,
    error: BaseException | None = None,
    node_id: str = "",
    arguments: Sequence[tuple[str, str]] = (),
    worker: str | None = None,
) -> NodeDetail:
    """What is recorded of a node that has failed, or is to be attempted again.

    Args:
        run_context: The run.
        account: What happened to it on its way, if that was noted.
        started: Start mark of its first attempt; ``None`` if none began.
        error: What it failed with; ``None`` if it is to be attempted again.
        node_id: The node.
        arguments: What it was called with.
        worker: Where it ran, if *account* does not say.
    """
    ahead = wall_clock_lead(run_context)
    began = None if started is None else started + ahead
    cause = None if error is None else run_context.failures.cause_of(error)
    if cause is not None and cause != node_id:
        return NodeDetail(began, arguments=arguments, caused_by=cause)
    account = account or Account()
    hidden = run_context.events.secrets
    attempts = [
        AttemptRecord(number, mark + ahead, max(end - mark, 0.0), hidden.redact(text))
        for number, mark, end, text in account.attempts
    ]
    return NodeDetail(
        began,
        None if started is None else account.worker or worker,
        arguments,
        attempts,
        None if error is None else _cut(hidden.redact(text_of(error))),
        [Remark(at + ahead, hidden.redact(text)) for at, text in account.remarks],
    )


def wall_clock_lead(run_context: RunContext) -> float:
    """What makes seconds since the epoch of a moment on the loop's clock; 0 in a simulation."""
    if run_context.shared.pacer is not None:
        return 0.0
    return time.time() - run_context.beginning.clock()


def _cut(text: str) -> str:
    """*text* in a form that any store takes, cut to 8 KB in the middle, at ends of lines."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST_TRACEBACK:
        return data.decode()
    gap = f"\n  ... ({len(data)} bytes in all, cut here) ...\n"
    tail = LONGEST_TRACEBACK - _HEAD - len(gap)
    first, last = data[:_HEAD].decode(errors="ignore"), data[-tail:].decode(errors="ignore")
    first, last = first.rpartition("\n")[0] or first, last.partition("\n")[2] or last
    return f"{first}{gap}{last}"
