"""One node with policies, from recall to value: cache, resources, attempts, retries. Others settle its outcome.

A ``Job`` is all that has to be known of a node, so nodes of a flow and items of a map are run alike. The result is
an ``Ending``, which ``settle.record`` turns into counts, events, records and failures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import attrs
from anyio import current_effective_deadline, current_time

from cascade.model.errors import AttemptCancelled, TaskTimeoutError
from cascade.model.events import TaskRetrying
from cascade.model.outcomes import Done, Failed, NodeOutcome
from cascade.model.shown.raised import describe
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.context.resources import NodeResources
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import Entry
from cascade.runtime.execution.attempt.remote_calls import hold_on
from cascade.runtime.execution.attempts import Attempts
from cascade.runtime.execution.caching import CachedCall
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.job import Job
from cascade.runtime.execution.returned import is_flow
from cascade.runtime.execution.settle import Ending
from cascade.runtime.execution.telling import detail_of
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.remote_executor import KeptValue


async def live(run_context: RunContext, job: Job) -> Ending:
    """Do *job*; never raises, except for what must not be caught."""
    node_run = NodeRun(run_context, job, Attempts(run_context, job, job.attempts), failed=job.attempts)
    try:
        outcome = await node_run.outcome()
    except BaseException as error:  # whatever it is, it is how the node ends
        outcome = classify(error, job.node_id)
    attempts = node_run.attempts
    bound, account = None, attempts.account
    if isinstance(outcome, Failed):
        bound = attempts.bound
        if node_run.failed < attempts.made:
            attempts.note_failure(outcome.error)
            account = attempts.account
    return Ending(
        outcome,
        attempts.made,
        attempts.started,
        node_run.troubles,
        node_run.failed,
        bound,
        worker=attempts.worker,
        account=account,
        place=attempts.place(),
    )


@attrs.define(eq=False)
class NodeRun:
    """The steps, in order: recall, resources of the run, then attempts until one succeeds or none is left.

    Each attempt is admitted first; the resources of the node are opened after the first admission.

    Attributes:
        run_context: The run.
        job: The node.
        attempts: Makes them.
        troubles: What went wrong after the value was there, and with what.
        failed: Number of the last attempt that failed and was to be followed by another.
    """

    run_context: RunContext
    job: Job
    attempts: Attempts
    troubles: Sequence[tuple[BaseException, str]] = ()
    failed: int = 0

    async def outcome(self) -> NodeOutcome:
        """How the node ends; raises what the last attempt raised."""
        cache = self.job.terms.cache
        if cache is None:
            return Done(await self._value())
        cached = CachedCall(self.run_context, self.job, cache)

        async def compute() -> Any:
            self.attempts.flight = cached.flight
            return await self._value()

        return await cached.outcome(compute)

    async def _value(self) -> Any:
        """The value of the call; lazies that it returned have been run, unless they replace the flow."""
        run_context, job = self.run_context, self.job
        self.attempts.claim_amounts()
        shared = await run_context.resources.open_for_run(job.resources)
        own = run_context.resources.of_node(job.resources)
        self.troubles = own.troubles
        async with own:
            value = await self._attempt_until_done(shared, own)
        if run_context.lifecycle.is_halted or is_cancelled():
            raise AttemptCancelled  # it swallowed its cancellation, or never saw it: its result does not count
        if type(value) is KeptValue:
            job.use.keep(hold_on(value))
            return value
        if job.use.save_later is None and await is_flow(run_context, value, job.use.keep):
            return await run_context.run_flow(value, job.node_id, job.handles)
        return value

    async def _attempt_until_done(self, shared: Mapping[str, Any], own: NodeResources) -> Any:
        while True:
            made = self.attempts.made
            try:
                return await self.attempts.make_one(shared, own)
            except DrainedError:
                raise  # no attempt was made
            except Exception as error:
                # Only what was attempted can be attempted again: else nothing would count how often.
                pause = self._pause_after(error) if self.attempts.made > made else None
                if pause is None:
                    raise
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        resting = self.run_context.progress.resting
        resting[self.job.node_id] = current_time() + seconds
        try:
            with anyio.move_on_after(seconds):
                await self.run_context.lifecycle.drained.wait()
        finally:
            del resting[self.job.node_id]

    def _pause_after(self, error: Exception) -> float | None:
        """Seconds until the next attempt; ``None`` if *error* is final."""
        run_context, retry, made = self.run_context, self.job.terms.retry, self.attempts.made
        if retry is None or made >= retry.max_attempts or not retry.covers(error):
            return None
        if isinstance(error, TaskTimeoutError) and self.job.task.abandon_on_cancel:
            return None  # its thread may still be at work, and two attempts never are
        if run_context.lifecycle.is_halted or is_cancelled():
            return None
        pause = retry.pause_after(made, run_context.beginning.rng.random())
        if current_time() + pause > current_effective_deadline():
            return None
        run_context.events.emit_node(
            TaskRetrying,
            self.job,
            attempt=made,
            max_attempts=retry.max_attempts,
            delay=pause,
            error=describe(error),
        )
        self.failed = made
        self.attempts.note_failure(error, pause)
        if run_context.store.journal is not None and self.job.is_recorded:
            self._record_attempts(run_context.store.journal, error)
        return pause

    def _record_attempts(self, journal: Journal, error: Exception) -> None:
        job = self.job
        detail = detail_of(self.run_context, self.attempts.account, self.attempts.started)
        journal.add(
            Entry(
                job.node_id, status="retrying", digest=job.digest, task_name=job.task.name,
                attempts=self.attempts.made, error=describe(error), label=job.label, detail=detail,
                started=detail.started, worker=detail.worker,
            )
        )  # fmt: skip
