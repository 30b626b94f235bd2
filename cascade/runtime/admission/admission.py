"""The one place where it is decided whether an attempt may start.

An attempt is admitted in one step: no rule holds it, all it claims is free at once, and nobody who came before
waits for any of the same names. Whoever has to wait stands in the ``WaitingQueue``. A waiter that a rule holds
stands aside with its ticket and blocks nobody.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import anyio
import attrs

from cascade.runtime.admission.claims import Applicant, Claim, Holdings
from cascade.runtime.admission.deadlock import deadlock, hopeless
from cascade.runtime.admission.gate import Gate
from cascade.runtime.admission.holding import Holding, Rule
from cascade.runtime.admission.pool import Amount, Amounts, Name, Pool
from cascade.runtime.admission.queue import Rows, WaitingQueue
from cascade.runtime.admission.waiting_line import Waiter
from cascade.runtime.observation.bus import EventBus

# Attempts admitted in one step; the loop has its turn before the next ones are.
MOST_AT_ONCE: Final = 100


@attrs.define(eq=False)
class Admission:
    """Admits attempts of all runs of an engine.

    Attributes:
        pool: The amounts.
        holding: What else may hold attempts.
        gate: What attempts pass between admission and start.
        holdings: The claims that are held.
        queue: Who waits.
    """

    pool: Pool
    holding: Holding = attrs.field(factory=Holding)
    gate: Gate = attrs.field(factory=Gate)
    holdings: Holdings = attrs.field(init=False)
    queue: WaitingQueue = attrs.field(init=False)
    _tickets: Iterator[int] = attrs.field(factory=itertools.count)
    _woken: anyio.Event | None = None
    # The last one admitted in a round of answers that was cut short.
    _goes_on: Waiter | None = None

    def __attrs_post_init__(self) -> None:
        self.holdings = Holdings(self.pool, self._released)
        self.queue = WaitingQueue(self.holding, self._grant, Rows(self.pool))

    async def until_heard(self, bus: EventBus) -> None:
        """Wait as long as a subscriber of *bus* is full and nothing else has changed."""
        if bus.full() is not None:
            if self._woken is None:
                self._woken = anyio.Event()
            await self._woken.wait()

    # -- asking --------------------------------------------------------------------------------------------

    def admit_at_once(self, applicant: Applicant, amounts: Amounts) -> Claim | None:
        """A claim of *amounts*, if nobody waits and nothing keeps *applicant* from starting."""
        if self.queue or not self.pool.fits(amounts) or self.holding.holder(applicant) is not None:
            return None
        self.holding.spend(applicant)
        return self.holdings.take(applicant, amounts, next(self._tickets), self.gate.epoch)

    def come(self, waiter: Waiter, again: Claim | None = None) -> None:
        """Let *waiter* wait; it is told when it has been given what it asks for, or never will be.

        It must :meth:`ask` soon, as that may be at once; otherwise it is in a step of somebody else. Who waits no
        longer must say so (:meth:`withdraw`), and who has been answered goes on (:meth:`go_on`).

        Args:
            waiter: Who asks, and for what. Waiting for that could help (``hopeless`` says whether).
            again: The claim with which it comes back, having been admitted before and not started; released here,
                and its place in the order is kept.
        """
        waiter.take_ticket(next(self._tickets) if again is None else again.ticket)
        self.queue.add(waiter)
        if again is not None:
            again.release(has_run=False)  # only now, so that nobody behind it can pass

    def ask(self, waiter: Waiter) -> None:
        """Admit whoever may start now; end the deadlocks that *waiter*, which has come, may have brought."""
        self._answer()
        if waiter.applicant.ancestors and not waiter.is_answered:
            self._end_deadlocks()

    def withdraw(self, waiter: Waiter) -> None:
        """*waiter* does not want its answer any more."""
        if waiter.claim is not None:
            # Granted in the very step in which it was cancelled: the grant must not be lost.
            waiter.claim.release(has_run=False)
            self.go_on(waiter)
            return
        if not waiter.has_left:
            self.queue.leave(waiter)
        self._answer()

    def go_on(self, waiter: Waiter) -> None:
        """*waiter*, which has been answered, has its turn: go on with a round that ended with it."""
        waiter.go_on()
        if self._goes_on is waiter:
            self._goes_on = None
            self._answer()

    # -- answering -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """What held attempts may hold them no longer: a subscriber has read, or there is a token."""
        self.queue.opened()
        self._answer()

    def _answer(self) -> None:
        """Admit, in the order of tickets, whoever may start now.

        If they are many, the first ones. The last of these sees to it that the round goes on when it has its turn,
        which it has even if it is cancelled.
        """
        if self._goes_on is None:
            self._goes_on = self.queue.go_on(MOST_AT_ONCE)
        if self._woken is not None:
            self._woken.set()
            self._woken = None

    def _grant(self, waiter: Waiter, place: int) -> None:
        self.holding.spend(waiter.applicant)
        waiter.answer(self.holdings.take(waiter.applicant, waiter.amounts, place, self.gate.epoch))

    def _end_deadlocks(self) -> None:
        """Refuse who waits for somebody that waits for it."""
        while True:
            kinds = self.queue.kinds.values()
            if not any(kind.head.applicant.ancestors for kind in kinds):
                return
            free = [kind for kind in kinds if self.holding.holder(kind.head.applicant) is None]
            found = deadlock(free, self.holdings)
            if found is None:
                return
            self.queue.refuse(*found)
            self._answer()

    def _released(self, claim: Claim, has_run: bool) -> None:
        self.holding.give_back(claim.applicant, has_run=has_run)
        if self.queue:
            self.queue.freed(claim.amounts)
            self.queue.opened(self.holding.rules)
            self._answer()

    # -- changes -------------------------------------------------------------------------------------------

    def close_gate(self) -> None:
        """A subscriber has come, gone, or does not read: whoever has not started yet must ask again."""
        self.gate.change()

    def set_totals(self, totals: Mapping[Name, Amount]) -> None:
        """Change totals while attempts run and wait. Lowering pre-empts nobody.

        Waiters whose claim exceeds a new total get a ``CapacityError``.
        """
        self.pool.totals.update(totals)
        for waiter in list(self.queue.waiters()):
            error = hopeless(waiter.applicant, waiter.amounts, self.holdings)
            if error is not None:
                self.queue.refuse(waiter, error)
        self.queue.changed()
        self._answer()
        self._end_deadlocks()

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Have *rules* stand from now on, in the order in which they are asked, and wake whom that frees.

        If somebody may be held by them who was not before, the gate must have been closed.
        """
        after = list(rules)
        if not after and not self.holding.rules:
            return

        def change() -> None:
            self.holding.rules = after
            self.gate.change()

        if bool(after) != bool(self.holding.rules):  # who of those with a rank are alike depends on it
            self.queue.sort_anew(change)
        else:
            change()
        self.queue.changed()
        self._answer()
        self._end_deadlocks()

    def turn_away(self, run_id: str, error: BaseException) -> None:
        """Let all waiters of a run have *error* instead of a claim."""
        for waiter in list(self.queue.waiters()):
            if waiter.applicant.run_id == run_id:
                self.queue.refuse(waiter, error)
        self._answer()
