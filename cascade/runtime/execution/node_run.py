"""The life of a node with policies: recall, admit, attempt, retry; its outcome is settled by others."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import anyio
import attrs
from anyio import current_effective_deadline, current_time

from cascade.graph.canonical import NotDigestibleError
from cascade.graph.code import TaskNotDigestibleError
from cascade.graph.nested import compile_nested
from cascade.graph.nodes import Terms
from cascade.model.errors import AttemptCancelled, TaskCancelledError, TaskTimeoutError, describe, leaves
from cascade.model.events import (
    AttemptStarted,
    BlockReason,
    EngineWarning,
    TaskBlocked,
    TaskExecutionStarted,
    TaskRetrying,
)
from cascade.model.outcomes import Cancelled, Done, Failed, Outcome
from cascade.model.policies import MISS, CachePolicy, Hit
from cascade.model.tasks import Task
from cascade.runtime.admission.asking import admit
from cascade.runtime.admission.blockers import Blockers
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.pool import Amount, Name
from cascade.runtime.context.resources import NodeResources
from cascade.runtime.context.run_context import Execution
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import Entry
from cascade.runtime.execution.attempt import Attempt, DrainedError, NotStartedError, perform
from cascade.runtime.execution.binding import Arguments, Inputs, inputs
from cascade.runtime.execution.executor import slot_of
from cascade.runtime.execution.settle import Ending
from cascade.runtime.execution.single_flight import Flight, Placed, may_wait
from cascade.runtime.foundation.cancellations import is_cancelled, without_cancellations
from cascade.runtime.foundation.task_context import attempt_var

# Saves the final value of a flow for one of the calls that it replaced.
Save = Callable[[Any], Awaitable[None]]
# In how many of the calls of a loop, from its beginning and from its end, the final value is saved.
SAVED_AT_EACH_END: Final = 16


@attrs.define(eq=False)
class Saves:
    """What is to be done with the final value of a flow, for the cached calls that it replaced.

    A loop may make millions of calls, each with its arguments, in constant memory: the first ones and the last
    ones are kept.
    """

    _first: list[Save] = attrs.field(factory=list)
    _last: deque[Save] = attrs.field(factory=lambda: deque(maxlen=SAVED_AT_EACH_END))

    def add(self, save: Save) -> None:
        """Do this, too."""
        if len(self._first) < SAVED_AT_EACH_END:
            self._first.append(save)
        else:
            self._last.append(save)

    async def finish(self, value: Any) -> None:
        """Save *value*, the innermost call first."""
        for save in (*reversed(self._last), *reversed(self._first)):
            await save(value)


@attrs.frozen(eq=False)
class Job:
    """What there is to do for one node, or for one item of a map.

    Attributes:
        node_id: Its id.
        task: What is called.
        terms: How it is run.
        bind: Its arguments, given the open resources.
        amounts: What it claims, exact.
        resources: The resources that it injects.
        rank: How urgent it is where places are scarce, against others of the run; 0 if that does not matter.
        save_later: Of the flow's target, where a lazy that it returns replaces the flow instead of being run in
            its place: takes what is to be done with the final value.
        digest: Its content, for the store.
        attempts: Those that were made when the run was executed before.
        is_told_of: Whether its waiting has been told already.
        on_admission: Called whenever it has been admitted.
    """

    node_id: str
    task: Task[..., Any]
    terms: Terms
    bind: Callable[[Mapping[str, Any]], Arguments]
    amounts: Callable[[], Mapping[str, Amount]]
    resources: tuple[str, ...] = ()
    rank: float = 0.0
    save_later: Callable[[Save], None] | None = None
    digest: bytes | None = None
    attempts: int = 0
    is_told_of: bool = False
    on_admission: Callable[[], None] = attrs.field(default=lambda: None, kw_only=True)


async def live(execution: Execution, job: Job) -> Ending:
    """Do *job*; never raises, except for what must not be caught."""
    life = Life(execution, job, job.attempts, failed=job.attempts)
    try:
        outcome = await life.outcome()
    except BaseException as error:
        outcome = classify(error, job.node_id)
    return Ending(outcome, life.attempts, life.started, life.troubles, life.failed)


async def _save(execution: Execution, node_id: str, cache: CachePolicy, named: Inputs, value: Any) -> None:
    try:
        await cache.save(node_id, named, value)
    except TaskNotDigestibleError:
        pass  # that has been told
    except Exception as error:
        _warn_of_cache(execution, node_id, "did not take the result", error)


def _warn_of_cache(execution: Execution, node_id: str, what: str, error: Exception) -> None:
    message = f"the cache of {node_id!r} {what}: {describe(error)}"
    execution.emit(EngineWarning, code="cache-failed", message=message)


def classify(error: BaseException, node_id: str) -> Outcome:
    """What *error*, raised by a node's own code or on its behalf, means for the node."""
    if isinstance(error, DrainedError):
        return Cancelled()
    failure = without_cancellations(error)
    if failure is None:
        return _cancelled(next(leaves(error)), node_id)
    if isinstance(failure, StopIteration):
        # No coroutine can raise it (PEP 479), and the run is one.
        failure = RuntimeError(
            f"task {node_id!r} raised StopIteration, which is the end of an iterator and no error that can be "
            "handed on; give next() a default, or raise something else"
        )
        failure.__cause__ = error
    return Failed(failure)


def _cancelled(cancellation: BaseException, node_id: str) -> Outcome:
    """What a cancellation means: the end of the node, or its failure if nothing around it is cancelled."""
    if is_cancelled() or isinstance(cancellation, AttemptCancelled):
        return Cancelled()
    failure = TaskCancelledError(node_id)
    failure.__cause__ = cancellation
    return Failed(failure)


@attrs.define(eq=False)
class Life:
    """One life. Order of the steps: recall, resources of the run, admission, resources of the node, attempt."""

    execution: Execution
    job: Job
    attempts: int = 0
    started: float | None = None
    troubles: Sequence[tuple[BaseException, str]] = ()
    failed: int = 0
    _amounts: Mapping[Name, Amount] = attrs.field(factory=dict)
    # With which it goes back to be admitted again.
    _again: Claim | None = None
    _own_flight: Flight | None = None

    async def outcome(self) -> Outcome:
        """Go through the life; raises what the last attempt raised."""
        cache = self.job.terms.cache
        if cache is None:
            return Done(await self._value())
        named = inputs(self.job.task, self.job.bind({}))
        # Joined before the cache is asked: an answer that comes late would be about the time before.
        flight, is_own = self._flight(cache, named)
        if flight is not None and is_own:
            self._own_flight = flight
        elif flight is not None:
            await self._until_landed(flight)  # if the cache has nothing then, each computes it
        try:
            return await self._find_or_compute(cache, named)
        finally:
            if self._own_flight is not None:
                self._own_flight.land()

    async def _until_landed(self, flight: Flight) -> None:
        joined, news = self.execution.joined, anyio.Event()
        joined[self.job.node_id] = (*flight.node, news)
        try:
            await flight.until_landed(news, self.execution.admission)
        finally:
            del joined[self.job.node_id]

    async def _find_or_compute(self, cache: CachePolicy, named: Inputs) -> Outcome:
        hit = await self._recall(cache, named)
        if hit is not None:
            return Done(hit.value, from_cache=True)
        if self.execution.is_draining:
            raise DrainedError
        value = await self._value()
        if self.job.save_later is not None and compile_nested(value, may_circle=True) is not None:
            # Without the node, which would keep its whole turn.
            self.job.save_later(functools.partial(_save, self.execution, self.job.node_id, cache, named))
        else:
            await _save(self.execution, self.job.node_id, cache, named, value)
        return Done(value)

    def _flight(self, cache: CachePolicy, named: Inputs) -> tuple[Flight | None, bool]:
        """The computation of the same entry that is under way, or a new one, which is this node's own."""
        run_id, node_id = self.execution.run_id, self.job.node_id
        # Inside a task, whoever waits may hold what the other needs.
        if not isinstance(cache, Placed) or self.execution.is_nested or not may_wait(run_id, node_id):
            return None, False
        try:
            place = cache.place_of(node_id, named)
        except Exception:  # the cache itself is about to say it, as it should be said
            return None, False
        flight, is_own = Flight.join(place, run_id, node_id, self.execution.admission)
        return (flight, is_own) if flight.is_worth_waiting_for(self.execution.admission) else (None, False)

    # -- cache ---------------------------------------------------------------------------------------------

    async def _recall(self, cache: CachePolicy, named: Inputs) -> Hit[Any] | None:
        try:
            found = await cache.check(self.job.node_id, named)
        except TaskNotDigestibleError as error:
            message = f"{self.job.node_id!r} is not cached: {error}"
            self.execution.emit(EngineWarning, code="not-digestible", message=message)
            return None
        except NotDigestibleError:
            raise  # the task was given what this cache cannot work with, and would never be found
        except Exception as error:
            _warn_of_cache(self.execution, self.job.node_id, "could not be asked", error)
            return None
        return None if found is MISS else found

    # -- attempts ------------------------------------------------------------------------------------------

    async def _value(self) -> Any:
        """The value of the call; lazies that it returned have been run, unless they replace the flow."""
        execution, job = self.execution, self.job
        self._amounts = self._claimed()
        shared = await execution.resources.open_for_run(job.resources)
        own = execution.resources.of_node(job.resources)
        self.troubles = own.troubles
        async with own:
            value = await self._attempt_until_done(shared, own)
        if execution.is_halted or is_cancelled():
            raise AttemptCancelled  # it swallowed its cancellation, or never saw it: its result does not count
        if job.save_later is not None:
            return value
        return await execution.in_place(value, job.node_id)

    def _claimed(self) -> Mapping[Name, Amount]:
        amounts: dict[Name, Amount] = dict(self.job.amounts().items())
        self.execution.note_unknown(self.job.task.name, amounts)
        slot = slot_of(self.job.task, self.execution.executor)
        if slot is not None:
            amounts[slot] = 1
        return amounts

    async def _attempt_until_done(self, shared: Mapping[str, Any], own: NodeResources) -> Any:
        while True:
            try:
                return await self._attempt_once(shared, own)
            except DrainedError:
                raise  # no attempt was made
            except Exception as error:
                pause = self._pause_after(error)
                if pause is None:
                    raise
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        resting = self.execution.resting
        resting[self.job.node_id] = current_time() + seconds
        try:
            with anyio.move_on_after(seconds):
                await self.execution.drained.wait()
        finally:
            del resting[self.job.node_id]

    def _pause_after(self, error: Exception) -> float | None:
        """Seconds until the next attempt; ``None`` if *error* is final."""
        retry = self.job.terms.retry
        if retry is None or self.attempts >= retry.max_attempts or not retry.covers(error):
            return None
        if isinstance(error, TaskTimeoutError) and self.job.task.abandon_on_cancel:
            return None  # its thread may still be at work, and two attempts never are
        if self.started is None or self.execution.is_halted or is_cancelled():
            return None
        pause = retry.pause_after(self.attempts, self.execution.random())
        if current_time() + pause > current_effective_deadline():
            return None
        self.execution.emit_node(
            TaskRetrying,
            self.job,
            attempt=self.attempts,
            max_attempts=retry.max_attempts,
            delay=pause,
            error=describe(error),
        )
        self.failed = self.attempts
        if self.execution.journal is not None:
            self._record_attempts(self.execution.journal, error)
        return pause

    def _record_attempts(self, journal: Journal, error: Exception) -> None:
        job = self.job
        journal.add(
            Entry(
                job.node_id, status="retrying", digest=job.digest, task_name=job.task.name,
                attempts=self.attempts, error=describe(error),
            )
        )  # fmt: skip

    async def _attempt_once(self, shared: Mapping[str, Any], own: NodeResources) -> Any:
        """One attempt, admitted as often as a rule sends it back before it starts."""
        while True:
            claim = await self._admit()
            self.job.on_admission()
            attempt: Attempt | None = None
            try:
                opened = await own.open()
                attempt = self._new_attempt(claim)
                bound = self.job.bind({**shared, **opened})
                attempt_var.set(attempt)
                self.execution.watch.add(attempt)
                return await perform(attempt, self.execution.executor, bound)
            except NotStartedError:
                if self.execution.is_halted:
                    raise AttemptCancelled from None
                self._again = claim
            finally:
                self._leave(claim, attempt)

    async def _admit(self) -> Claim:
        again, self._again = self._again, None
        if self.execution.is_draining:
            if again is not None:
                again.release(has_run=False)
            raise DrainedError
        applicant = self.execution.applicant(self.job.node_id, self.job.task, self.job.rank)
        on_wait = functools.partial(self._waits, applicant)
        try:
            claim = await admit(self.execution.admission, applicant, self._amounts, on_wait, again)
        finally:
            if self._own_flight is not None:
                self._own_flight.go_on()
        if self.execution.is_draining:  # which began after this was granted, and before it was known here
            claim.release(has_run=False)
            raise DrainedError
        return claim

    def _new_attempt(self, claim: Claim) -> Attempt:
        reports = self.execution.wants(TaskExecutionStarted if self.started is None else AttemptStarted)
        return Attempt(
            self.execution,
            self.job.node_id,
            self.job.task,
            self.attempts + 1,
            self.job.terms.timeout,
            claim,
            on_start=self._report_start if reports else None,
        )

    def _leave(self, claim: Claim, attempt: Attempt | None) -> None:
        """The attempt has ended, one way or another: count it, and give back what it held."""
        if attempt is not None:
            self.execution.watch.remove(attempt)
            attempt.until_decided()
        if attempt is None or attempt.started is None:
            if claim is not self._again:
                claim.release(has_run=False)
            return
        self.attempts = attempt.number
        if self.started is None:
            self.started = attempt.started
        if self.job.task.abandon_on_cancel and attempt.may_still_run:
            message = f"a thread of {self.job.node_id!r} was left behind; it keeps what it holds until it ends"
            self.execution.emit(EngineWarning, code="thread-abandoned", message=message)
            attempt.leave_behind(functools.partial(claim.holdings.hand_in, claim))
        else:
            claim.release()

    def _report_start(self) -> None:
        if self.started is None:
            self.execution.emit_node(TaskExecutionStarted, self.job)
        else:
            self.execution.emit_node(AttemptStarted, self.job, attempt=self.attempts + 1)

    def _waits(self, applicant: Applicant, reason: BlockReason | None) -> None:
        if self._own_flight is not None:
            self._own_flight.wait_as(applicant)
        if reason is not None and not self.job.is_told_of and self.execution.wants(TaskBlocked):
            detail = Blockers(self.execution.admission).first(applicant, self._amounts)
            self.execution.emit_node(TaskBlocked, self.job, reason=reason, detail=detail)
