"""The one place where it is decided whether an attempt may start.

An attempt is admitted in one step: no rule holds it, all it claims is free at once, and nobody who came before
waits for any of the same names. Whoever has to wait stands in the :class:`~cascade.runtime.queue.WaitingQueue`. A
waiter that a rule holds stands aside with its ticket and blocks nobody.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Final, Protocol

import anyio
import attrs
from anyio.lowlevel import EventLoopToken

from cascade.model.errors import CapacityError, CascadeError, DeadlockError
from cascade.model.events import BlockReason
from cascade.runtime.bus import EventBus, EventStream
from cascade.runtime.capacity import Amount, Amounts, Name, Pool, Slot, shown
from cascade.runtime.claims import Applicant, Claim, Crosser, Rule
from cascade.runtime.deadlock import deadlock
from cascade.runtime.lines import Waiter
from cascade.runtime.queue import Holder, WaitingQueue
from cascade.runtime.threads import wake_soon

# Attempts admitted in one step; the loop has its turn before the next ones are.
MOST_AT_ONCE: Final = 100


class Unclaimed(Protocol):
    """Where attempts run that hold no claim, as long as nobody counts them: a lane."""

    def adopt(self, admission: Admission) -> None:
        """Give every attempt that runs here a claim, if it has none, to be released when it ends."""
        ...


@attrs.define(eq=False)
class Admission:
    """Admits attempts of all runs of an engine.

    Attributes:
        pool: The amounts.
        rules: What else may hold attempts.
        epoch: Changes whenever an attempt that was admitted, but has not started, may have to go back;
            and with every change of the rules.
        crossers: Who may be between the gate and a function, in other threads.
        lanes: Where attempts run that hold no claim.
        active: The claims that are held, oldest first.
        token: The event loop that is served.
        on_change: Called whenever something that may hold attempts has changed.
    """

    pool: Pool
    rules: list[Rule] = attrs.field(factory=list)
    epoch: int = 0
    crossers: set[Crosser] = attrs.field(factory=set)
    lanes: set[Unclaimed] = attrs.field(factory=set)
    active: dict[Claim, None] = attrs.field(factory=dict)
    token: EventLoopToken | None = None
    on_change: set[Callable[[], None]] = attrs.field(factory=set)
    _tickets: Iterator[int] = attrs.field(factory=itertools.count)
    _queue: WaitingQueue = attrs.field(init=False)
    _handed_in: deque[Claim] = attrs.field(factory=deque)
    _woken: anyio.Event | None = None
    # The last one admitted in a round of answers that was cut short.
    _goes_on: Waiter | None = None

    @_queue.default
    def _new_queue(self) -> WaitingQueue:
        return WaitingQueue(self.pool, self.holder, self._grant)

    @property
    def wants_thread(self) -> bool:
        """Whether somebody could start if there were a thread slot. May be asked in any thread."""
        return self._queue.lacks_only(Slot.THREAD)

    async def until_heard(self, bus: EventBus) -> None:
        """Wait as long as a subscriber of *bus* is full and nothing else has changed."""
        if bus.full() is not None:
            if self._woken is None:
                self._woken = anyio.Event()
            await self._woken.wait()

    # -- asking --------------------------------------------------------------------------------------------

    async def admit(
        self,
        applicant: Applicant,
        amounts: Amounts,
        on_wait: Callable[[BlockReason | None], None],
        again: Claim | None = None,
    ) -> Claim:
        """Wait until *applicant* may start, holding *amounts*.

        First come first served: a claim passes an earlier one only if they share no resource name. If cancelled
        while waiting, nothing was taken.

        Args:
            applicant: Who asks.
            amounts: All it claims, slots included.
            on_wait: Called once if it has to wait, with the reason if that is worth an event.
            again: The claim with which it comes back, having been admitted before and not started; released here,
                and its place in the order is kept.

        Raises:
            CapacityError: If an amount exceeds its total, now or after the total was lowered.
            DeadlockError: If the tasks around the run hold what it needs, or wait for others that do.
        """
        try:
            self.check(applicant, amounts)
        except CascadeError:
            if again is not None:
                again.release(has_run=False)
            raise
        if not self._queue and again is None:
            claim = self._try(applicant, amounts)
            if claim is not None:
                return claim
        return await self._wait(applicant, amounts, on_wait, again)

    def _try(self, applicant: Applicant, amounts: Amounts) -> Claim | None:
        if not self.pool.fits(amounts) or self.holder(applicant) is not None:
            return None
        return self._take(applicant, amounts, next(self._tickets))

    def _take(self, applicant: Applicant, amounts: Amounts, ticket: int) -> Claim:
        self.pool.take(amounts)
        for rule in self.rules:
            rule.spend(applicant)
        return self._hold(Claim(self, applicant, amounts, ticket, self.epoch))

    def _hold(self, claim: Claim) -> Claim:
        self.active[claim] = None
        return claim

    async def _wait(
        self,
        applicant: Applicant,
        amounts: Amounts,
        on_wait: Callable[[BlockReason | None], None],
        again: Claim | None,
    ) -> Claim:
        has_reported = False
        while True:
            answered = anyio.Event()
            waiter = self._line_up(applicant, amounts, again, answered.set)
            if waiter.claim is None and applicant.ancestors:
                self._end_deadlocks()
            if waiter.claim is None and not has_reported:
                has_reported = True
                on_wait(self.reason(applicant, amounts))
            try:
                if waiter.claim is None:
                    await answered.wait()
            except BaseException:
                self._withdraw(waiter)
                raise
            self._go_on(waiter)
            if waiter.error is not None:
                raise waiter.error
            again = waiter.claim
            assert again is not None  # answered without error means granted
            # The answer was given in another task's step: there may be a rule since, which knows nothing of it.
            if again.epoch == self.epoch:
                return again

    def _line_up(
        self, applicant: Applicant, amounts: Amounts, again: Claim | None, on_answer: Callable[[], None]
    ) -> Waiter:
        """Put *applicant* in line; what it holds *again* goes only then, so nobody behind can pass."""
        if again is None:
            ticket = next(self._tickets)
        else:
            # Somebody else to the rules: for a moment both may be admitted.
            ticket, applicant = again.ticket, attrs.evolve(applicant)
        waiter = Waiter(applicant, amounts, ticket, on_answer)
        self._queue.add(self._kind_of(waiter), waiter)
        if again is not None:
            again.release(has_run=False)
        self._answer()
        return waiter

    def _kind_of(self, waiter: Waiter) -> Hashable:
        """Equal for waiters that differ in amounts and ranks only: to rules, tasks are not alike."""
        applicant, names = waiter.applicant, frozenset(waiter.amounts)
        is_ranked = bool(applicant.rank)
        if is_ranked and not self.rules:
            return applicant.run_id, applicant.ancestors, names
        return applicant.full_name, applicant.task_name, is_ranked, applicant.run_id, applicant.ancestors, names

    def check(self, applicant: Applicant, amounts: Amounts) -> None:
        """See that waiting for *amounts* could help.

        Raises:
            CapacityError: If an amount exceeds its total.
            DeadlockError: If it exceeds what the tasks around the run leave.
        """
        error = self._hopeless(applicant, amounts)
        if error is not None:
            raise error

    def _hopeless(self, applicant: Applicant, amounts: Amounts) -> CascadeError | None:
        excess = self.pool.excess(amounts)
        if excess is not None:
            name, amount, total = excess
            return CapacityError(applicant.node_id, str(name), shown(amount), shown(total))
        for name, amount in amounts.items() if applicant.ancestors else ():
            limit = self.pool.totals.get(name)
            holders = [claim for claim in applicant.ancestors if self._is_holding(claim, name)]
            taken = sum(claim.amounts[name] for claim in holders)
            if limit is not None and amount + taken > limit:
                cycle = [*(claim.applicant.node_id for claim in holders), applicant.node_id]
                return DeadlockError(applicant.node_id, str(name), shown(amount), shown(limit - taken), cycle)
        return None

    def _is_holding(self, claim: Claim, name: Name) -> bool:
        """Whether *claim* keeps some of *name* from others here; runs of other engines may lie in between."""
        return claim.is_held and claim.admission is self and name in claim.amounts

    # -- what holds, whatever the capacity -----------------------------------------------------------------

    def holder(self, applicant: Applicant) -> Holder | None:
        """What holds *applicant* whatever the capacity: a rule, or a full subscriber."""
        return next(self.holders(applicant), None)

    def holders(self, applicant: Applicant) -> Iterator[Holder]:
        """All that holds *applicant* whatever the capacity."""
        stream = applicant.bus.full()
        if stream is not None:
            yield stream
        for rule in self.rules:
            if rule.holds(applicant):
                yield rule

    def reason(self, applicant: Applicant, amounts: Amounts) -> BlockReason | None:
        """Why *applicant* waits, as far as it is worth an event: a wait for a mere slot is not."""
        holder = self.holder(applicant)
        if holder is not None:
            return None if isinstance(holder, EventStream) else "ConstraintViolation"
        is_named = any(not isinstance(name, Slot) for name in amounts)
        return "ResourceContention" if is_named else None

    # -- answering -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """What held attempts may hold them no longer: a subscriber has read, or there is a token."""
        self._queue.opened()
        self._answer()

    def _answer(self) -> None:
        """Admit, in the order of tickets, whoever may start now.

        If they are many, the first ones. The last of these sees to it that the round goes on when it has its turn,
        which it has even if it is cancelled.
        """
        if self._goes_on is None:
            self._goes_on = self._queue.go_on(MOST_AT_ONCE)
        if self._woken is not None:
            self._woken.set()
            self._woken = None

    def _go_on(self, waiter: Waiter) -> None:
        """*waiter* has its turn: go on with the round that ended with it."""
        if self._goes_on is waiter:
            self._goes_on = None
            self._answer()

    def _grant(self, waiter: Waiter) -> None:
        waiter.claim = self._take(waiter.applicant, waiter.amounts, waiter.ticket)
        waiter.on_answer()

    def _withdraw(self, waiter: Waiter) -> None:
        if waiter.claim is not None:
            # Granted in the very step in which it was cancelled: the grant must not be lost.
            waiter.claim.release(has_run=False)
            self._go_on(waiter)
            return
        if not waiter.has_left:
            self._queue.leave(self._kind_of(waiter), waiter)
        self._answer()

    def _turn_away(self, waiter: Waiter, error: BaseException) -> None:
        self._queue.leave(self._kind_of(waiter), waiter)
        waiter.error = error
        waiter.on_answer()

    def _end_deadlocks(self) -> None:
        """Turn away who waits for somebody that waits for it."""
        while True:
            kinds = self._queue.kinds.values()
            if not any(kind.head.applicant.ancestors for kind in kinds):
                return
            free = [kind for kind in kinds if self.holder(kind.head.applicant) is None]
            found = deadlock(free, self.active, self.pool)
            if found is None:
                return
            self._turn_away(*found)
            self._answer()

    # -- giving back ---------------------------------------------------------------------------------------

    def hand_in(self, claim: Claim) -> None:
        """Release *claim* soon, from any thread: on the loop that is served, or on the next one that is."""
        self._handed_in.append(claim)
        if self.token is not None:
            wake_soon(self.token, self.collect)

    def collect(self) -> None:
        """Release what has been handed in."""
        while self._handed_in:
            self._handed_in.popleft().release()

    def released(self, claim: Claim, *, has_run: bool) -> None:
        """Take back what *claim* held."""
        del self.active[claim]
        self.pool.give(claim.amounts)
        for rule in self.rules:
            rule.give_back(claim.applicant, has_run=has_run)
        if self._queue:
            self._queue.freed(claim.amounts)
            self._queue.opened(self.rules)
            self._answer()

    def adopted(self, applicant: Applicant) -> Claim:
        """A claim of nothing, for an attempt that runs without one."""
        return self._hold(Claim(self, applicant, {}, -1, self.epoch))

    # -- changes -------------------------------------------------------------------------------------------

    def set_totals(self, totals: Mapping[Name, Amount]) -> None:
        """Change totals while attempts run and wait. Lowering pre-empts nobody.

        Waiters whose claim exceeds a new total get a :class:`CapacityError`.
        """
        self.pool.totals.update(totals)
        for waiter in list(self.waiters()):
            error = self._hopeless(waiter.applicant, waiter.amounts)
            if error is not None:
                self._turn_away(waiter, error)
        self._queue.changed()
        self._answer()
        self._end_deadlocks()

    def close_gate(self) -> None:
        """Something that may hold attempts has changed: whoever has not started yet must ask again."""
        self.epoch += 1
        self._tell()

    def _tell(self) -> None:
        for on_change in tuple(self.on_change):
            on_change()

    def settle_gate(self) -> None:
        """Wait until nobody is between gate and start mark: who comes later has seen the gate as it is now.

        A crossing is a few steps of a thread without a wait in them: this takes microseconds, and must not give
        way to other tasks, who would see rules that do not know yet what runs.
        """
        while any(crosser.is_crossing for crosser in self.crossers):
            time.sleep(0)  # pragma: no cover  # the moment is too short to be met

    def adopt(self) -> None:
        """See that every attempt that runs is among the active claims, also those in lanes."""
        for lane in self.lanes:
            lane.adopt(self)

    def first_active(self, count: int, covers: Callable[[Applicant], bool]) -> Iterator[Claim]:
        """The oldest *count* claims of attempts that *covers* says yes to."""
        found = (claim for claim in self.active if covers(claim.applicant))
        return itertools.islice(found, count)

    def close(self) -> None:
        """Let nobody through who does not ask anew, and know of everybody who is through."""
        self.close_gate()
        self.settle_gate()
        self.adopt()

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Have *rules* stand from now on, in the order in which they are asked, and wake whom that frees.

        If somebody may be held by them who was not before, the gate must have been closed.
        """
        self.epoch += 1
        had_rules, self.rules = bool(self.rules), list(rules)
        if had_rules != bool(self.rules):  # who of those with a rank are alike depends on it
            for waiter in self._queue.clear():
                self._queue.add(self._kind_of(waiter), waiter)
        self._queue.changed()
        self._answer()
        self._tell()
        self._end_deadlocks()

    def turn_away(self, run_id: str, error: BaseException) -> None:
        """Let all waiters of a run have *error* instead of a claim."""
        for waiter in list(self.waiters()):
            if waiter.applicant.run_id == run_id:
                self._turn_away(waiter, error)
        self._answer()

    def waiters(self) -> Iterator[Waiter]:
        """Everybody who waits, line by line."""
        for line in self._queue.lines():
            yield from line
