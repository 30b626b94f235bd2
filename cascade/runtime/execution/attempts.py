"""The attempts of one node: each is admitted, performed, and gives back what it held."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import attrs

from cascade.model.errors import AttemptCancelled
from cascade.model.events import AttemptStarted, BlockReason, EngineWarning, TaskBlocked, TaskExecutionStarted
from cascade.model.shown.raised import describe
from cascade.model.shown.text import duration
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.blockers import Blockers
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.pool import Amount, Name
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.context.resources import NodeResources
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.attempt import Attempt, perform
from cascade.runtime.execution.attempt.local_executor import slot_of
from cascade.runtime.execution.attempt.start_mark import NotStartedError, StartMark
from cascade.runtime.execution.attempt.timing import Timing
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.execution.job import Job
from cascade.runtime.execution.single_flight import Flight
from cascade.runtime.execution.telling import ON_LOOP, Account
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.task_context import attempt_var, key_of

# What a node is said to wait for.
_WAITS: Final[dict[BlockReason, str]] = {
    "ResourceContention": "waits for capacity",
    "ConstraintViolation": "waits for a rule",
}


@attrs.define(eq=False)
class Attempts:
    """Makes the attempts of a node, one after another.

    Attributes:
        run_context: The run.
        job: The node.
        made: Number of the last attempt that started; those of earlier executions of the run count.
        started: Start mark of the first one of this execution, on the loop's clock; ``None`` before.
        flight: The computation that others wait for, if this node makes it for a cache.
        bound: What the last attempt was called with.
        worker: Where the last attempt ran, if not in this process.
        last: Start mark of the last attempt, and where it ran, for its record.
        account: What happened; ``None`` if there is nothing to tell, or nobody records it.
    """

    run_context: RunContext
    job: Job
    made: int = 0
    started: float | None = None
    flight: Flight | None = None
    bound: Arguments | None = None
    worker: str | None = None
    last: tuple[float | None, str | None] = (None, None)
    account: Account | None = None
    _amounts: Mapping[Name, Amount] = attrs.field(factory=dict)
    # With which it goes back to be admitted again.
    _again: Claim | None = None
    # Since when it waits for admission, and why, if somebody wants to know.
    _wait: tuple[float, str] | None = None

    def claim_amounts(self) -> None:
        """Find out what each attempt claims."""
        amounts: dict[Name, Amount] = dict(self.job.asking.amounts().items())
        self.run_context.note_unknown(self.job.task.name, amounts)
        slot = slot_of(self.job.task, self.job.resources, self.run_context.shared.executor)
        if slot is not None:
            amounts[slot] = 1
        self._amounts = amounts

    async def make_one(self, shared: Mapping[str, Any], own: NodeResources) -> Any:
        """One attempt, admitted as often as a rule sends it back before it starts; returns its value.

        Between admission and start mark, the node's resources are opened and its arguments bound. Then the
        executor that :func:`perform` calls sets the mark (``StartMark.set`` or ``set_in_thread``), unless a rule
        has changed since the admission (the epoch of the gate is not that of the claim), or the run is over: that
        raises ``NotStartedError``. If a rule has changed, admission is asked for again, with the same ticket,
        which keeps its place in the order of waiting.

        Args:
            shared: The open resources of the run.
            own: The resources of the node, opened after the first admission.
        """
        while True:
            claim = await self._admit()
            self.job.asking.on_admission()
            attempt: Attempt | None = None
            try:
                opened = await own.open()
                attempt = self._new(claim)
                self.bound = bound = self.job.bind({**shared, **opened})
                attempt_var.set(attempt)
                self.run_context.tasks.watch.add(attempt)
                return await perform(attempt, self.run_context.shared.executor, bound)
            except NotStartedError:
                if self.run_context.lifecycle.is_halted or is_cancelled():
                    raise AttemptCancelled from None
                self._again = claim
            finally:
                self._leave(claim, attempt)

    async def _admit(self) -> Claim:
        lifecycle = self.run_context.lifecycle
        again, self._again = self._again, None
        if lifecycle.is_draining:
            if again is not None:
                again.release(has_run=False)
            raise DrainedError
        job, asking = self.job, self.job.asking
        applicant = self.run_context.applicant(job.node_id, job.task, asking.rank, asking.priority)
        on_wait = functools.partial(self._waits, applicant)
        try:
            claim = await admit(self.run_context.admission, applicant, self._amounts, on_wait, again)
        finally:
            if self.flight is not None:
                self.flight.go_on()
            if self._wait is not None:
                self._has_waited(*self._wait)
        if lifecycle.is_draining:  # begun after this was granted, and before it was known here
            claim.release(has_run=False)
            raise DrainedError
        return claim

    def _new(self, claim: Claim) -> Attempt:
        kind = TaskExecutionStarted if self.started is None else AttemptStarted
        report = self._report_start if self.run_context.events.wants(kind) else None
        timing = Timing(self.job.terms.timeout)
        return Attempt(
            self.run_context,
            self.job.node_id,
            self.job.task,
            self.made + 1,
            claim,
            timing,
            StartMark(self.run_context, claim, timing, report),
            undone=self._undone(),
            may_stay=self.job.use.may_stay(),
        )

    def _undone(self) -> int:
        """How often the node was undone in earlier executions of the run."""
        times, node_id = self.run_context.store.undo.times, self.job.node_id
        return times.get(key_of(node_id, self.run_context.progress.turns(node_id)), 0) if times else 0

    def _leave(self, claim: Claim, attempt: Attempt | None) -> None:
        """Count *attempt*, which has ended or did not start, and release what it held."""
        if attempt is not None:
            self.run_context.tasks.watch.remove(attempt)
            attempt.mark.until_decided()
        if attempt is None or attempt.timing.started is None:
            if claim is not self._again:
                claim.release(has_run=False)
            return
        self.made, self.worker = attempt.number, attempt.mark.worker
        self.last = attempt.timing.started, self.worker or attempt.place
        if self.started is None:
            self.started = attempt.timing.started
        if self.job.task.abandon_on_cancel and attempt.may_still_run:
            message = f"a thread of {self.job.node_id!r} was left behind; it keeps what it holds until it ends"
            self.run_context.events.emit(EngineWarning, code="thread-abandoned", message=message)
            self.remark("its thread was left behind")
            attempt.leave_behind(functools.partial(claim.holdings.hand_in, claim))
        else:
            claim.release()

    def place(self) -> str | None:
        """Where the last attempt ran, in words, if that is known and not a remote worker; ``None`` otherwise."""
        task, (began, where) = self.job.task, self.last
        if began is None or self.worker is not None:
            return None
        return where or (ON_LOOP if task.is_async or task.mode == "inline" else None)

    def note_failure(self, error: BaseException, pause: float | None = None) -> None:
        """Note, for the record, that the last attempt has failed, and how many seconds it is until the next."""
        began, _ = self.last
        if self.run_context.store.journal is None or began is None:
            return
        self.account = account = self.account or Account()
        now = self.run_context.beginning.clock()
        account.worker = self.worker or self.place()
        account.failed(self.made, began, now, describe(error))
        if pause:
            account.remark(now, f"rests for {duration(pause)} before attempt {self.made + 1}")

    def remark(self, text: str) -> None:
        """Note *text*, for the record of the node if it fails."""
        if self.run_context.store.journal is not None:
            self.account = self.account or Account()
            self.account.remark(self.run_context.beginning.clock(), text)

    def _report_start(self, worker: str | None) -> None:
        events, job = self.run_context.events, self.job
        if self.started is None:
            events.emit_node(TaskExecutionStarted, job, worker=worker)
        else:
            events.emit_node(AttemptStarted, job, attempt=self.made + 1, worker=worker)

    def _has_waited(self, since: float, reason: str) -> None:
        self._wait, tracing = None, self.run_context.events.tracing
        assert tracing is not None
        tracing.waited(self.job.task, self.run_context.beginning.clock() - since, reason)

    def _waits(self, applicant: Applicant, reason: BlockReason | None) -> None:
        if self.run_context.events.tracing is not None:
            self._wait = self.run_context.beginning.clock(), reason or "Thread"
        if self.flight is not None:
            self.flight.wait_as(applicant)
        if reason is not None:
            self.remark(_WAITS[reason])
        if reason is not None and not self.job.asking.is_told_of and self.run_context.events.wants(TaskBlocked):
            detail = Blockers(self.run_context.admission).first(applicant, self._amounts)
            self.run_context.events.emit_node(TaskBlocked, self.job, reason=reason, detail=detail)
