"""Waiting, in a task, to be admitted."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import attrs
from anyio.lowlevel import checkpoint

from cascade.model.events import BlockReason
from cascade.runtime.admission.admission import Admission
from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.deadlock import hopeless
from cascade.runtime.admission.pool import Amounts
from cascade.runtime.admission.waiting_line import Waiter


async def admit(
    admission: Admission,
    applicant: Applicant,
    amounts: Amounts,
    on_wait: Callable[[BlockReason | None], None],
    again: Claim | None = None,
) -> Claim:
    """Wait until *applicant* may start, holding *amounts*.

    First come first served: a claim passes an earlier one only if they share no resource name, or if it has the
    higher priority in the same run. If cancelled while waiting, nothing was taken.

    Args:
        admission: Decides.
        applicant: Who asks.
        amounts: All it claims, slots included.
        on_wait: Called once if it has to wait, with the reason if that is worth an event.
        again: The claim with which it comes back, having been admitted before and not started; released here,
            and its place in the order is kept.

    Raises:
        CapacityError: If an amount exceeds its total, now or after the total was lowered.
        DeadlockError: If the tasks around the run hold what it needs, or wait for others that do.
    """
    error = hopeless(applicant, amounts, admission.holdings)
    if error is not None:
        if again is not None:
            again.release(has_run=False)
        raise error
    if again is None and applicant.priority is None:
        again = admission.admit_at_once(applicant, amounts)
        if again is not None and not await _must_yield(admission, Waiter(applicant, amounts), again):
            return again
    has_reported = False
    while True:
        # Who comes back is somebody else to the rules: for a moment both may be admitted.
        answered, asking = anyio.Event(), applicant if again is None else attrs.evolve(applicant)
        waiter = Waiter(asking, amounts, answered.set)
        admission.come(waiter, again)
        if again is None and applicant.priority is not None:
            await _until_others_come(admission, waiter)
        admission.ask(waiter)
        if not waiter.is_answered and not has_reported:
            has_reported = True
            on_wait(admission.holding.reason(applicant, amounts))
        again = await _answered(admission, waiter, answered)
        # The answer was given in another task's step: there may be a rule since, which knows nothing of it.
        if again.epoch == admission.gate.epoch and not await _must_yield(admission, waiter, again):
            return again


async def _until_others_come(admission: Admission, waiter: Waiter) -> None:
    """Let all come that are ready in the same step as *waiter*, before it asks: the most urgent goes first."""
    try:
        await checkpoint()
    except BaseException:
        admission.withdraw(waiter)
        raise


async def _answered(admission: Admission, waiter: Waiter, answered: anyio.Event) -> Claim:
    try:
        if not waiter.is_answered:
            await answered.wait()
    except BaseException:
        admission.withdraw(waiter)
        raise
    admission.go_on(waiter)
    if waiter.error is not None:
        raise waiter.error
    assert waiter.claim is not None  # answered without error means granted
    return waiter.claim


async def _must_yield(admission: Admission, waiter: Waiter, claim: Claim) -> bool:
    """Whether somebody more urgent has come since *waiter* was given *claim*, or there is a rule since.

    What a node has held is given on in the step in which it ends, and nodes that waited for nothing but that one
    ask in the next step. So the most urgent would often come too late. Only where there are ranks or priorities
    does this let others have their turn.
    """
    if not waiter.applicant.rank and waiter.applicant.priority is None:
        return False
    try:
        await checkpoint()
    except BaseException:
        claim.release(has_run=False)
        raise
    return claim.epoch != admission.gate.epoch or admission.queue.is_outranked(waiter)
