"""One attempt: from the start mark to a value or an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from anyio import CancelScope

from cascade.model.errors import AttemptCancelled, TaskTimeoutError
from cascade.model.tasks import Task
from cascade.runtime.admission.claims import Claim
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.start_mark import NotStartedError, StartMark
from cascade.runtime.execution.attempt.timing import Timing
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.foundation.executor import Executor


@attrs.define(eq=False)
class Attempt:
    """One attempt of one node.

    Attributes:
        surroundings: The run.
        number: Counts attempts, from 1.
        claim: What it holds.
        timing: When it began and ended, and by when it has to.
        mark: Its start mark.
        on_end: Called when a thread that was left behind has ended.
        undone: How often the node was undone in earlier executions of the run.
        may_stay: Whether its value may stay there.
        place: Where it runs, in words for its record, if that is neither the event loop nor a worker of a remote
            executor. Set by whatever runs it.
    """

    surroundings: RunContext
    node_id: str
    task: Task[..., Any]
    number: int
    claim: Claim
    timing: Timing
    mark: StartMark
    on_end: Callable[[], object] | None = None
    undone: int = 0
    may_stay: bool = False
    place: str | None = None

    @property
    def run_id(self) -> str:
        """The run."""
        return self.surroundings.run_id

    @property
    def is_over(self) -> bool:
        """Whether it has ended; what still runs in its name then is not it."""
        return self.mark.is_over

    @property
    def turns(self) -> Sequence[int]:
        """Numbers of the turns that the loops around its node are in, the run's own first."""
        return self.surroundings.progress.turns(self.node_id)

    def end_in_thread(self) -> None:
        """Note, in its thread, that user code has ended."""
        self.timing.end()
        if self.on_end is not None:
            self.on_end()

    def leave_behind(self, on_end: Callable[[], object]) -> None:
        """Stop waiting for the thread; *on_end* is called when it has ended, in any thread, and perhaps twice."""
        self.on_end = on_end
        if self.timing.ended is not None:  # pragma: no cover  # in this very moment
            on_end()

    @property
    def may_still_run(self) -> bool:
        """Whether user code runs, or is about to, although the attempt is over."""
        return self.mark.is_crossing or (self.timing.started is not None and self.timing.ended is None)

    @property
    def is_running(self) -> bool:
        """Whether its function has been called and has not ended."""
        return self.timing.started is not None and not self.mark.is_over

    def why_late(self) -> str | None:
        """How long it should have taken, if it takes longer."""
        return f"its timeout was {self.timing.timeout:g} s" if self.timing.is_late() else None

    def remaining(self) -> float:
        """Seconds to the effective deadline."""
        return self.timing.remaining()

    def check(self) -> None:
        """Raise if it is cancelled or late."""
        if self.timing.is_late():
            raise self.late()
        if self.on_end is not None or self.surroundings.lifecycle.is_over_for(self.node_id):
            raise AttemptCancelled

    def late(self) -> TaskTimeoutError:
        """What a late attempt raises."""
        assert self.timing.timeout is not None
        return TaskTimeoutError(self.node_id, self.timing.timeout)


def enter(attempt: Attempt) -> None:
    """Have the present context be that in which the function of *attempt*, which has begun, is called."""
    tracing = attempt.surroundings.events.tracing
    if tracing is not None:
        tracing.enter(attempt)


async def perform(attempt: Attempt, executor: Executor, bound: Arguments) -> Any:
    """Make *attempt*.

    Returns:
        What the function returned, in time.

    Raises:
        NotStartedError: If it has to ask for admission again.
        TaskTimeoutError: If it was late, from whatever it raised then.
        BaseException: What the function raised, in time.
    """
    tracing = attempt.surroundings.events.tracing
    if tracing is None:
        return await _perform(attempt, executor, bound)
    try:
        value = await _perform(attempt, executor, bound)
    except BaseException as error:
        tracing.leave(attempt, error)
        raise
    tracing.leave(attempt, None)
    return value


async def _perform(attempt: Attempt, executor: Executor, bound: Arguments) -> Any:
    error: Exception | None = None
    value: Any = None
    timing = attempt.timing
    try:
        with CancelScope() if timing.timeout is not None else _NO_SCOPE as timing.scope:
            if not getattr(executor, "marks_start", False):
                attempt.mark.set()  # somebody's own, which may also do with its arguments what it likes
                enter(attempt)
                bound = bound[0], dict(bound[1])
            value = await executor.execute(attempt.task, *bound)
            timing.end()
    except NotStartedError:
        raise
    except Exception as raised:  # raised below, if it was in time
        error = raised
    finally:
        attempt.mark.is_over = True
    if timing.was_cut_short() or timing.is_late():
        raise attempt.late() from error
    if error is not None:
        raise error
    return value


class _NoScope:
    """In the place of a cancel scope, where there is no timeout to cancel anything."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_NO_SCOPE = _NoScope()
