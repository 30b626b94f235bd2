"""The one place where it is decided whether an attempt may start.

An attempt is admitted in one step: no rule holds it, all it claims is free at once, and nobody who came before
waits for any of the same names. Whoever has to wait stands in a *line* with those who are like it in all that
matters here (task, run, amounts), so that a change is a question to the heads of lines only. A head that a rule
holds stands aside with its ticket and blocks nobody.
"""

from __future__ import annotations

import bisect
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

import anyio
import attrs
from anyio.lowlevel import EventLoopToken

from cascade.model.errors import CapacityError, CascadeError, DeadlockError
from cascade.model.events import BlockReason
from cascade.runtime.bus import EventBus, EventStream
from cascade.runtime.capacity import Amount, Amounts, Name, Pool, Slot, shown
from cascade.runtime.deadlock import deadlock
from cascade.runtime.lines import Line, Waiter
from cascade.runtime.threads import wake_soon

# Attempts admitted in one step; the loop has its turn before the next ones are.
MOST_AT_ONCE: Final = 100


@attrs.frozen(eq=False)
class Applicant:
    """What rules look at.

    Attributes:
        node_id: The node, in its run.
        task_name: The task's name.
        full_name: ``module.name`` of the task.
        run_id: The run.
        bus: The run's bus; a full subscriber on it holds the run.
        ancestors: Claims of the tasks around the run, outermost first.
        is_lane: Whether it is a thread lane, which looks at rules before each of its nodes.
        rank: Who of a run goes first, of those that claim the same: the highest. 0 if that does not matter.
    """

    node_id: str
    task_name: str
    full_name: str
    run_id: str
    bus: EventBus
    ancestors: tuple[Claim, ...] = ()
    is_lane: bool = False
    rank: float = 0.0


class Rule(Protocol):
    """Something that may hold attempts back, whatever the capacity."""

    def holds(self, applicant: Applicant) -> str | None:
        """Why *applicant* may not start now; ``None`` if it may."""
        ...

    def spend(self, applicant: Applicant) -> None:
        """*applicant* has been admitted."""
        ...

    def give_back(self, applicant: Applicant, *, has_run: bool) -> None:
        """The attempt has ended, or (``has_run=False``) gone back without starting."""
        ...


class Crosser(Protocol):
    """Somebody who passes the gate in a thread of its own."""

    @property
    def is_crossing(self) -> bool:
        """Whether it is between the gate and its start mark."""
        ...


class Unclaimed(Protocol):
    """Where attempts run that hold no claim, as long as nobody counts them: a lane."""

    def adopt(self, admission: Admission) -> None:
        """Give every attempt that runs here a claim, if it has none, to be released when it ends."""
        ...


@attrs.define(eq=False)
class Claim:
    """What an admitted attempt holds. Released once, synchronously."""

    admission: Admission
    applicant: Applicant
    amounts: Amounts
    ticket: int
    epoch: int
    is_held: bool = True

    def __attrs_post_init__(self) -> None:
        self.admission.active[self] = None

    def release(self, *, has_run: bool = True) -> None:
        """Give everything back and wake whom it frees; a second call does nothing."""
        if self.is_held:
            self.is_held = False
            self.admission.released(self, has_run=has_run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


@attrs.define(eq=False)
class Admission:
    """Admits attempts of all runs of an engine.

    Attributes:
        pool: The amounts.
        rules: What else may hold attempts.
        crossers: Who may be between the gate and a function, in other threads.
        lanes: Where attempts run that hold no claim.
        active: The claims that are held, oldest first.
        token: The event loop that is served.
        epoch: Changes whenever an attempt that was admitted, but has not started, may have to go back;
            and with every change of the rules.
    """

    pool: Pool
    rules: list[Rule] = attrs.field(factory=list)
    epoch: int = 0
    crossers: set[Crosser] = attrs.field(factory=set)
    lanes: set[Unclaimed] = attrs.field(factory=set)
    active: dict[Claim, None] = attrs.field(factory=dict)
    _tickets: Iterator[int] = attrs.field(factory=itertools.count)
    _lines: dict[Hashable, Line] = attrs.field(factory=dict)
    # Each line's place, with its key; sorted. Tickets are unique, so keys are never compared.
    _heads: list[tuple[int, Hashable]] = attrs.field(factory=list)
    _places: dict[Hashable, int] = attrs.field(factory=dict)
    # How many lines wait for each name; under None those that claim nothing, which nobody can stand before.
    _wanted: Counter[Name | None] = attrs.field(factory=Counter)
    token: EventLoopToken | None = None
    _handed_in: deque[Claim] = attrs.field(factory=deque)
    _woken: anyio.Event | None = None
    # The last one admitted in a round of answers that was cut short.
    _goes_on: Waiter | None = None

    @property
    def wants_thread(self) -> bool:
        """Whether somebody waits for a thread slot. May be asked in any thread."""
        return self._wanted[Slot.THREAD] > 0

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
        on_wait: Callable[[BlockReason], None],
        again: Claim | None = None,
    ) -> Claim:
        """Wait until *applicant* may start, holding *amounts*.

        First come first served: a claim passes an earlier one only if they share no resource name. If cancelled
        while waiting, nothing was taken.

        Args:
            applicant: Who asks.
            amounts: All it claims, slots included.
            on_wait: Called once, with the reason, if it has to wait.
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
        if not self._lines and again is None:
            claim = self._try(applicant, amounts, next(self._tickets))
            if claim is not None:
                return claim
        return await self._wait(applicant, amounts, on_wait, again)

    async def _wait(
        self, applicant: Applicant, amounts: Amounts, on_wait: Callable[[BlockReason], None], again: Claim | None
    ) -> Claim:
        has_reported = False
        while True:
            waiter = self._line_up(applicant, amounts, again)
            if waiter.claim is None and applicant.ancestors:
                self._end_deadlocks()
            if waiter.claim is None and not has_reported:
                has_reported = True
                reason = self.reason(applicant, amounts)
                if reason is not None:
                    on_wait(reason)
            try:
                if waiter.claim is None:
                    await waiter.answered.wait()
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

    def _end_deadlocks(self) -> None:
        """Turn away who waits for somebody that waits for it."""
        while True:
            heads = [self._lines[key].head for _, key in self._heads]
            if not any(head.applicant.ancestors for head in heads):
                return
            free = [head for head in heads if self.holder(head.applicant) is None]
            found = deadlock(free, self.active, self.pool)
            if found is None:
                return
            self._turn_away(*found)

    def _turn_away(self, waiter: Waiter, error: BaseException) -> None:
        self._leave_line(waiter)
        waiter.error = error
        waiter.answered.set()

    def _line_up(self, applicant: Applicant, amounts: Amounts, again: Claim | None) -> Waiter:
        """Put *applicant* in line; what it holds *again* goes only then, so nobody behind can pass."""
        if again is None:
            ticket = next(self._tickets)
        else:
            # Somebody else to the rules: for a moment both may be admitted.
            ticket, applicant = again.ticket, attrs.evolve(applicant)
        waiter = Waiter(applicant, amounts, ticket)
        self._enqueue(waiter)
        if again is not None:
            again.release(has_run=False)
        return waiter

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

    def holder(self, applicant: Applicant) -> str | EventStream | None:
        """What holds *applicant* whatever the capacity: a rule's words, or a full subscriber."""
        stream = applicant.bus.full()
        if stream is not None:
            return stream
        for rule in self.rules:
            words = rule.holds(applicant)
            if words is not None:
                return words
        return None

    def holders(self, applicant: Applicant) -> Iterator[str | EventStream]:
        """All that holds *applicant* whatever the capacity."""
        stream = applicant.bus.full()
        if stream is not None:
            yield stream
        for rule in self.rules:
            words = rule.holds(applicant)
            if words is not None:
                yield words

    def reason(self, applicant: Applicant, amounts: Amounts) -> BlockReason | None:
        """Why *applicant* waits, as far as it is worth an event: a wait for a mere slot is not."""
        holder = self.holder(applicant)
        if holder is not None:
            return "ConstraintViolation" if isinstance(holder, str) else None
        is_named = any(not isinstance(name, Slot) for name in amounts)
        return "ResourceContention" if is_named else None

    def _try(self, applicant: Applicant, amounts: Amounts, ticket: int) -> Claim | None:
        if not self.pool.fits(amounts) or self.holder(applicant) is not None:
            return None
        self.pool.take(amounts)
        for rule in self.rules:
            rule.spend(applicant)
        return Claim(self, applicant, amounts, ticket, self.epoch)

    # -- lines ---------------------------------------------------------------------------------------------

    def _enqueue(self, waiter: Waiter) -> None:
        key = self._line_of(waiter)
        is_first = self._add(key, waiter)
        if is_first:  # otherwise what keeps the head waiting keeps this one too
            self.wake()

    def _line_of(self, waiter: Waiter) -> Hashable:
        """Equal for waiters that are alike in all that admission looks at: to rules, tasks are not alike."""
        applicant, amounts = waiter.applicant, waiter.amounts
        claimed = tuple(sorted((str(name), amount) for name, amount in amounts.items()))
        is_ranked = bool(applicant.rank)
        if is_ranked and not self.rules:
            return applicant.run_id, applicant.ancestors, claimed
        return applicant.full_name, applicant.task_name, is_ranked, applicant.run_id, applicant.ancestors, claimed

    def _add(self, key: Hashable, waiter: Waiter) -> bool:
        """Put *waiter* into the line *key*; returns whether that gave the line a place or another one."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(is_ranked=bool(waiter.applicant.rank))
            self._wanted.update(waiter.amounts.keys() or [None])
        line.add(waiter)
        return self._moved(key, line)

    def _moved(self, key: Hashable, line: Line) -> bool:
        """Note the place of a line; returns whether it has changed."""
        place, before = line.place, self._places.get(key)
        if place == before:
            return False
        if before is not None:
            del self._heads[bisect.bisect_left(self._heads, before, key=_ticket)]
            del self._places[key]
        if place is not None:
            bisect.insort(self._heads, (place, key), key=_ticket)
            self._places[key] = place
        return True

    def _leave_line(self, waiter: Waiter) -> None:
        key = self._line_of(waiter)
        line = self._lines[key]
        waiter.has_left = True
        self._moved(key, line)
        if line.place is None:
            del self._lines[key]
            self._wanted -= Counter(waiter.amounts.keys() or [None])

    def _line_up_anew(self) -> None:
        """Put all waiters in line again: who of those with a rank are alike depends on whether there are rules."""
        if not any(line.is_ranked for line in self._lines.values()):
            return
        waiting = list(self.waiters())
        self._lines.clear()
        self._heads.clear()
        self._places.clear()
        self._wanted.clear()
        for waiter in waiting:
            self._add(self._line_of(waiter), waiter)

    def _withdraw(self, waiter: Waiter) -> None:
        if waiter.claim is not None:
            # Granted in the very step in which it was cancelled: the grant must not be lost.
            waiter.claim.release(has_run=False)
            self._go_on(waiter)
            return
        if not waiter.has_left:
            self._leave_line(waiter)
        self.wake()

    # -- answering -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Admit, in the order of tickets, whoever may start now.

        If they are many, the first ones. The last of these sees to it that the round goes on when it has its turn,
        which it has even if it is cancelled; until then it is no use to ask.
        """
        if self._goes_on is not None:
            return
        taken: set[Name] = set()
        place = granted = 0
        while place < len(self._heads) and len(taken) < len(self._wanted):
            line = self._lines[self._heads[place][1]]
            head = line.head
            if not self._answer(line, head, taken):
                place += 1
                continue
            granted += 1
            if granted == MOST_AT_ONCE:
                self._goes_on = head
                break
        if self._woken is not None:
            self._woken.set()
            self._woken = None

    def _go_on(self, waiter: Waiter) -> None:
        """*waiter* has its turn: go on with the round that ended with it."""
        if self._goes_on is waiter:
            self._goes_on = None
            self.wake()

    def _answer(self, line: Line, waiter: Waiter, taken: set[Name]) -> bool:
        """Admit *waiter*, the head of *line*, if possible; *taken* are names for which somebody waits already."""
        if self.holder(waiter.applicant) is not None:
            return False
        is_free = taken.isdisjoint(waiter.amounts)
        claim = self._try(waiter.applicant, waiter.amounts, waiter.ticket) if is_free else None
        if claim is not None:
            line.take_place(waiter)
            claim.ticket = waiter.ticket
            self._leave_line(waiter)
            waiter.claim = claim
            waiter.answered.set()
            return True
        taken.update(self._stood_for(waiter.amounts, taken))
        return False

    def _stood_for(self, amounts: Amounts, taken: set[Name]) -> Iterator[Name]:
        """The names that whoever waits for *amounts* keeps from those behind: a slot only if all else is free."""
        missing = {*self.pool.lacking(amounts), *taken.intersection(amounts)}
        waits_for_more = any(not isinstance(name, Slot) for name in missing)
        return (name for name in amounts if not (waits_for_more and isinstance(name, Slot)))

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
        if self._lines:
            self.wake()

    def set_totals(self, totals: Mapping[Name, Amount]) -> None:
        """Change totals while attempts run and wait. Lowering pre-empts nobody.

        Waiters whose claim exceeds a new total get a :class:`CapacityError`.
        """
        self.pool.totals.update(totals)
        for line in list(self._lines.values()):
            for waiter in line:
                error = self._hopeless(waiter.applicant, waiter.amounts)
                if error is not None:
                    self._turn_away(waiter, error)
        self.wake()
        self._end_deadlocks()

    def close_gate(self) -> None:
        """Something that may hold attempts has changed: whoever has not started yet must ask again."""
        self.epoch += 1

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

    def adopted(self, applicant: Applicant) -> Claim:
        """A claim of nothing, for an attempt that runs without one."""
        return Claim(self, applicant, {}, -1, self.epoch)

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
        if had_rules != bool(self.rules):
            self._line_up_anew()
        self.wake()
        self._end_deadlocks()

    def turn_away(self, run_id: str, error: BaseException) -> None:
        """Let all waiters of a run have *error* instead of a claim."""
        for line in list(self._lines.values()):
            if line.head.applicant.run_id == run_id:
                for waiter in line:
                    self._turn_away(waiter, error)
        self.wake()

    def waiters(self) -> Iterator[Waiter]:
        """Everybody who waits, line by line."""
        for line in self._lines.values():
            yield from line


def _ticket(head: tuple[int, Hashable]) -> int:
    return head[0]
