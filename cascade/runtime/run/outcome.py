"""How a run ended: its value or its error, its status, its counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from cascade.model.errors import MapFailed, RaceFailed, RunCancelled, RunFailed, RunSuspended, waits_for
from cascade.model.events import RunStatus
from cascade.model.outcomes import Cancelled, Done, Failed, NodeOutcome, Status
from cascade.model.shown.raised import annotate, describe, raise_unchanged
from cascade.model.shown.text import counted
from cascade.runtime.context.failures import Failure
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.records import Closing
from cascade.runtime.execution.target import values_left
from cascade.runtime.run.preparation import Prepared

_HOW_TO_GO_ON: Final = (
    ".results has the values that there are; to take a failure as a value, pass on cascade.settled(call), give "
    'the call an .or_else(...), or the map .with_errors("collect")'
)


@attrs.define(eq=False)
class RunOutcome:
    """What a run has come to.

    Attributes:
        run_context: The run.
        prepared: Its flow.
        finished: The result, boxed, if the run had finished before.
        value: What it gave, boxed, once it has given anything.
    """

    run_context: RunContext
    prepared: Prepared
    finished: tuple[Any] | None = None
    value: tuple[Any] | None = None
    # One object, however often it is asked for: what was raised already is known by its identity.
    _together: RunFailed | None = None
    _suspended: RunSuspended | None = None

    @property
    def _awaited(self) -> tuple[str, ...]:
        return self.run_context.lifecycle.awaited

    def result(self, status: RunStatus | None) -> Any:
        """The value.

        Raises:
            RunFailed: If failures are to be raised together.
            RunCancelled: If the run was cancelled.
            RunSuspended: If it waits for signals, and is not to wait.
            BaseException: The first failure, as it is.
        """
        error = self.error(status)
        if error is not None:
            raise_unchanged(error)
        return None if self.value is None else self.value[0]

    def error(self, status: RunStatus | None) -> BaseException | None:
        """What :meth:`result` raises."""
        failures = [failure.error for failure in self.run_context.failures.recorded]
        if not failures and status == "Suspended":
            self._suspended = self._suspended or RunSuspended(self.run_context.run_id, self._awaited)
            return self._suspended
        if not failures:
            has_stopped = status in ("Cancelled", "Drained")
            return RunCancelled(self.run_context.run_id, str(status).lower()) if has_stopped else None
        for error in failures:
            if not isinstance(error, Exception):
                return error
        exceptions = [error for error in failures if isinstance(error, Exception)]
        if self.run_context.settings.on_error == "first" or len(exceptions) < len(failures):
            return failures[0]
        if self._together is None or len(self._together.exceptions) < len(exceptions):
            message = _headline(self.run_context.run_id, self.run_context.failures.recorded)
            self._together = RunFailed(message, exceptions, self._results())
            annotate(self._together, _HOW_TO_GO_ON)
        return self._together

    def name_others(self, error: BaseException | None) -> None:
        """Note on *error*, which the run raises, that there are other failures."""
        if error is None or error is self._together:
            return
        others = [failure for failure in self.run_context.failures.recorded if failure.error is not error]
        if others:
            annotate(error, _others(others))

    def status(self) -> RunStatus:
        """How the run ends, as things are."""
        if self.run_context.failures.recorded:
            return "Failed"
        if self.run_context.lifecycle.is_halted:
            return "Cancelled"
        if self.value is not None:
            return "Succeeded"
        return "Suspended" if self._awaited else "Drained"

    def of_target(self) -> NodeOutcome:
        """How its target has ended, if that was in a later turn."""
        if self.value is not None:
            return Done(self.value[0])
        failures = self.run_context.failures.recorded
        return Failed(failures[0].error) if failures else Cancelled()

    def closing(self, status: RunStatus) -> Closing:
        """What the store is told of the end."""
        if status == "Succeeded":
            return Closing("succeeded", result=self.value)
        if status == "Suspended":
            return Closing("suspended", f"it {waits_for(self._awaited)}")
        error = self.error(None)
        return Closing("failed" if status == "Failed" else "cancelled", None if error is None else describe(error))

    def counts(self) -> dict[str, int]:
        """Nodes by state: how many ended in each, and how many of the present turn have not."""
        progress = self.run_context.progress
        counts = {status.name.lower(): progress.counts[status] for status in Status}
        counts["succeeded"] = progress.succeeded()
        del counts["running"], counts["queued"]
        if self.finished is not None:
            counts["pending"] = 0  # all of them had ended before
        else:
            frame = progress.present()
            counts["pending"] = self.prepared.layout.calls if frame is None else frame.readiness.unsettled
        return counts

    def _results(self) -> dict[str, Any]:
        """Values of target members, of nodes that somebody still wanted, and of the items of failed maps."""
        progress, failures = self.run_context.progress, self.run_context.failures.recorded
        frame, maps = progress.frame, progress.failed_maps
        left: dict[str, Any] = {}
        if frame is not None:
            left.update(values_left(frame))
            told = {id(error) for failure in failures for error in _said(failure.error)}
            handled = frame.gaps.all_maps()
            maps = maps + [
                one for one in handled if any(id(failed.error) in told for failed in one.errors.values())
            ]
        for one in maps:
            left.update(one.values())
        for failure in failures:
            if isinstance(failure.error, MapFailed):  # maybe of a run of its own, that a task has made
                items = failure.error.results.items()
                left.update((name, value) for name, value in items if name.startswith(f"{failure.origin}["))
        return left


def _headline(run_id: str, failures: Sequence[Failure]) -> str:
    """What has failed: tasks, and what is none of theirs, such as a tear-down or the state store."""
    tasks = sum(failure.is_of_node for failure in failures)
    beside = len(failures) - tasks
    if not tasks:
        return f"run {run_id!r} has {counted(beside, 'failure')} outside its tasks"
    others = f", and there {'is' if beside == 1 else 'are'} {counted(beside, 'failure')} outside its tasks"
    return f"{tasks} of the tasks of run {run_id!r} failed{others if beside else ''}"


def _others(failures: Sequence[Failure]) -> str:
    """The note that counts *failures*, and names the first of them."""
    shown = "; ".join(f"{failure.origin}: {describe(failure.error):.200}" for failure in failures[:3])
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return f"{counted(len(failures), 'other failure')} of this run: {shown}{more} (all in RunFinished.failures)"


def _said(error: BaseException) -> Iterator[BaseException]:
    """*error*, and if it is one of ours that stands for several, these."""
    pending = [error]
    while pending:
        error = pending.pop()
        yield error
        if isinstance(error, (MapFailed, RaceFailed)):
            pending += error.exceptions
