"""Attempts that take longer than they should and cannot be stopped: they are reported, again and again."""

from __future__ import annotations

import anyio
import attrs
from anyio import CancelScope

from cascade.model.events import EngineWarning
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.context.run_tasks import Watched
from cascade.runtime.execution.attempt.attempt import Attempt


@attrs.define(eq=False)
class Watch:
    """Watches the attempts of one run.

    The pauses between reports double, so a clock that jumps ahead while a thread works cannot make it babble.

    Attributes:
        run_context: The run.
        patience: Seconds before the first report.
    """

    run_context: RunContext
    patience: float
    # In the order in which they began, so that reports have an order.
    _attempts: dict[Watched, None] = attrs.field(factory=dict)
    _scope: CancelScope | None = None

    def add(self, attempt: Watched) -> None:
        """Watch *attempt*, which is about to run."""
        self._attempts[attempt] = None
        if _cannot_be_stopped(attempt):
            self.start()

    def remove(self, attempt: Watched) -> None:
        """*attempt* has ended, or its thread has been left behind."""
        self._attempts.pop(attempt, None)

    def start(self) -> None:
        """Begin to look at the clock, if there is anything to see."""
        if self._scope is None and self._attempts:
            self._scope = CancelScope(shield=True)
            self.run_context.tasks.start_service(self._run, self._scope)

    def stop(self) -> None:
        """Everything has ended."""
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, scope: CancelScope) -> None:
        with scope:
            pause = max(self.patience, 0.001)
            while self._has_something_to_see():
                await anyio.sleep(pause)
                overdue = [attempt for attempt in self._attempts if self._is_overdue(attempt)]
                for attempt in overdue:
                    self._report(attempt)
                if overdue:
                    pause *= 2
        self._scope = None

    def _has_something_to_see(self) -> bool:
        if self.run_context.lifecycle.is_halted:
            return bool(self._attempts)
        return any(map(_cannot_be_stopped, self._attempts))

    def _is_overdue(self, attempt: Watched) -> bool:
        return attempt.is_running and (self.run_context.lifecycle.is_halted or attempt.why_late() is not None)

    def _report(self, attempt: Watched) -> None:
        why = "the run has ended" if self.run_context.lifecycle.is_halted else attempt.why_late()
        message = (
            f"{attempt.node_id!r} still runs although {why}, and the run waits for it; a sync task can call "
            "cascade.checkpoint() or be declared with abandon_on_cancel=True, an async one must not catch "
            "cancellation"
        )
        self.run_context.events.emit(EngineWarning, code="task-overdue", message=message)


def _cannot_be_stopped(attempt: Watched) -> bool:
    """Whether *attempt* may outlast its timeout: a thread does not end when it should."""
    if not isinstance(attempt, Attempt) or attempt.timing.timeout is None:
        return False
    return attempt.task.mode in ("thread", "remote")
