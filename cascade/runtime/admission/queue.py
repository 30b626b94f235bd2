"""The queue of those who wait to be admitted, kept by what each of them waits for.

Whoever is next of its kind waits in one of three places:

* *parked*: something other than capacity holds it, a rule or a subscriber that does not read;
* in the *row* of each resource that it claims. It may take these only if it is the first in all of these rows, and
  there is enough of each: so nobody passes an earlier claim on the same resource;
* in the row of those that lack nothing but a *slot*. Who lacks more than a slot keeps no slot from others.

So a change is a question to the first of the rows that it is about, however many wait: for one resource each, or
for many amounts of one.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator

import attrs

from cascade.runtime.admission.holding import Holder, Holding
from cascade.runtime.admission.parties import Parties
from cascade.runtime.admission.pool import Name, Pool, Slot
from cascade.runtime.admission.waiting_line import Kind, Row, Waiter


@attrs.define(eq=False)
class Rows:
    """The kinds that wait for capacity: by resource, and those that lack nothing but a slot.

    Attributes:
        pool: The amounts there are.
        ready: By slot, the kinds that lack nothing else.
    """

    pool: Pool
    ready: dict[Slot, Row] = attrs.field(factory=lambda: {slot: Row() for slot in Slot})
    _by_resource: defaultdict[str, Row] = attrs.field(factory=lambda: defaultdict(Row))

    def first(self, name: Name) -> Kind | None:
        """The first that waits for *name*, or lacks nothing but that."""
        if isinstance(name, Slot):
            return self.ready[name].first
        return self._by_resource[name].first if name in self._by_resource else None

    def keeps(self, kind: Kind, waiter: Waiter) -> bool:
        """Whether *kind*, standing before *waiter*, keeps it waiting; for a slot, if it lacks nothing else."""
        if any(name in waiter.amounts for name in kind.resources):
            return True
        return kind.slot is not None and kind.slot in waiter.amounts and kind in self.ready[kind.slot]

    def leave(self, kind: Kind) -> Iterator[Kind | None]:
        """Take *kind* out; gives those that stand first now where it stood."""
        for name in kind.resources:
            row = self._by_resource[name]
            row.discard(kind)
            yield row.first
            if not row:
                del self._by_resource[name]
        if kind.slot is not None:
            self.ready[kind.slot].discard(kind)

    def may_take_all(self, kind: Kind, head: Waiter) -> bool:
        """Put *kind* into its rows; whether its *head* may take all that it claims."""
        may_take = True
        for name in kind.resources:
            row = self._by_resource[name]
            before = row.first
            row.add(kind)
            if row.first is not before and before is not None and before.slot is not None:
                self.ready[before.slot].discard(before)  # somebody stands before it now
            may_take = may_take and row.first is kind and self.pool.fits({name: head.amounts[name]})
        if kind.slot is None:
            return may_take
        ready = self.ready[kind.slot]
        if not may_take:
            ready.discard(kind)
            return False
        ready.add(kind)
        return ready.first is kind and self.pool.fits({kind.slot: head.amounts[kind.slot]})


@attrs.define(eq=False)
class Parking:
    """The kinds that something other than capacity holds, by what that is."""

    _by_holder: defaultdict[Holder, Row] = attrs.field(factory=lambda: defaultdict(Row))
    _holders: dict[Kind, Holder] = attrs.field(factory=dict)

    def put(self, kind: Kind, holder: Holder) -> None:
        """*holder* holds *kind*."""
        self._by_holder[holder].add(kind)
        self._holders[kind] = holder

    def take(self, kind: Kind) -> Holder | None:
        """Nothing holds *kind*; returns what did."""
        holder = self._holders.pop(kind, None)
        if holder is not None:
            self._by_holder[holder].discard(kind)
            if not self._by_holder[holder]:
                del self._by_holder[holder]
        return holder

    def holds(self, kind: Kind) -> bool:
        """Whether anything holds *kind*."""
        return kind in self._holders

    def first(self, holders: Iterable[Holder] | None = None) -> Iterator[Kind | None]:
        """The first that each of *holders* holds; by default, of all that hold any."""
        for holder in list(self._by_holder) if holders is None else holders:
            if holder in self._by_holder:
                yield self._by_holder[holder].first


@attrs.define(eq=False)
class WaitingQueue:
    """Decides who is admitted next; it never admits by itself, but calls *grant*.

    Attributes:
        holding: What may hold attempts whatever the capacity.
        grant: Admits a waiter that nothing holds, and for which there is enough of everything; also takes its
            place.
        kinds: By what they have in common, those who wait.
    """

    holding: Holding
    grant: Callable[[Waiter, int], None]
    _rows: Rows
    kinds: dict[Hashable, Kind] = attrs.field(factory=dict)
    _parking: Parking = attrs.field(factory=Parking)
    _parties: Parties = attrs.field(factory=Parties)
    # Those that may be able to start, by place; a place may be that of before.
    _agenda: list[tuple[int, int, Kind]] = attrs.field(factory=list)
    _serials: Iterator[int] = attrs.field(factory=itertools.count)

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def lacks_only(self, slot: Slot) -> bool:
        """Whether somebody could start if there were a *slot*. May be asked in any thread."""
        return bool(self._rows.ready[slot])

    def waiters(self) -> Iterator[Waiter]:
        """Everybody who waits, line by line."""
        return (waiter for kind in self.kinds.values() for waiter in kind.waiters())

    # -- coming and going ----------------------------------------------------------------------------------

    def key_of(self, waiter: Waiter) -> Hashable:
        """Equal for waiters that differ in amounts and ranks only: to rules, tasks are not alike."""
        applicant, names = waiter.applicant, frozenset(waiter.amounts)
        is_ranked, run = bool(applicant.rank), (applicant.run_id, applicant.ancestors, applicant.priority or 0)
        if is_ranked and not self.holding.rules:
            return run, names
        return applicant.full_name, applicant.task_name, is_ranked, run, names

    def add(self, waiter: Waiter) -> None:
        """Let *waiter* wait."""
        key = self.key_of(waiter)
        kind = self.kinds.get(key)
        if kind is None:
            kind = self.kinds[key] = Kind.of(key, waiter)
        self._parties.join(kind, waiter, self.kinds.values())
        before = kind.place
        kind.add(waiter)
        if kind.place != before:
            self._moved(kind)

    def leave(self, waiter: Waiter) -> int:
        """Let *waiter* go; returns its place."""
        kind = self.kinds[self.key_of(waiter)]
        place = kind.leave(waiter)
        self._moved(kind)
        return place

    def refuse(self, waiter: Waiter, error: BaseException) -> None:
        """Let *waiter* go with *error*."""
        self.leave(waiter)
        waiter.refuse(error)

    def sort_anew(self, change: Callable[[], None]) -> None:
        """Let everybody go, make a *change* that bears on who is alike, and take everybody in again."""
        waiting = list(self.waiters())
        places = [self.leave(waiter) for waiter in waiting]
        change()
        for waiter, place in zip(waiting, places, strict=True):
            waiter.ticket, waiter.has_left = place, False
            self.add(waiter)

    def _moved(self, kind: Kind) -> None:
        """A kind has another place or another head: so it may be able to start, and so may those behind it."""
        self._look_at(*self._rows.leave(kind))
        if kind.place is None:
            del self.kinds[kind.key]
            self._parking.take(kind)
            self._parties.leave(kind)
        else:
            self._look_at(kind)

    # -- priorities ----------------------------------------------------------------------------------------

    def is_outranked(self, waiter: Waiter) -> bool:
        """Whether somebody of its run is more urgent than *waiter*, which waits no longer, and wants the same."""
        kind = self.kinds.get(self.key_of(waiter))
        if kind is not None and kind.outranks(waiter):
            return True
        return any(
            not self._parking.holds(other) and self._rows.keeps(other, waiter)
            for other in self._parties.more_urgent(waiter.applicant)
        )

    # -- changes -------------------------------------------------------------------------------------------

    def _look_at(self, *kinds: Kind | None) -> None:
        for kind in kinds:
            if kind is not None and kind.place is not None:
                heapq.heappush(self._agenda, (kind.place, next(self._serials), kind))

    def freed(self, names: Iterable[Name]) -> None:
        """There is more of *names*."""
        self._look_at(*map(self._rows.first, names))

    def opened(self, holders: Iterable[Holder] | None = None) -> None:
        """What *holders* held may be free; by default, any that hold somebody."""
        self._look_at(*self._parking.first(holders))

    def changed(self) -> None:
        """Anything may have changed."""
        self._look_at(*self.kinds.values())

    # -- answering -----------------------------------------------------------------------------------------

    def go_on(self, most: int) -> Waiter | None:
        """Admit, in the order of tickets, whoever may start, *most* at once.

        Returns:
            The last one, if there may be more; ``None`` if nobody else can start.
        """
        granted = 0
        if self._parties.passed:
            for moved in self._parties.moved():
                self._moved(moved)
        while self._agenda:
            place, _, kind = heapq.heappop(self._agenda)
            if place != kind.place:
                self._look_at(kind)
                continue
            waiter = self._consider(kind)
            if waiter is not None:
                granted += 1
                if granted == most:
                    return waiter
        return None

    def _consider(self, kind: Kind) -> Waiter | None:
        """Admit the head of *kind*, if possible, and put the kind where it waits otherwise."""
        head, before = kind.head, self._parking.take(kind)
        holder = self.holding.holder(head.applicant)
        if holder is not None:
            self._look_at(*self._rows.leave(kind))
            self._parking.put(kind, holder)
        if before is not None and holder is not before:
            self.opened([before])
        if holder is not None or not self._rows.may_take_all(kind, head):
            return None
        assert kind.place is not None  # somebody waits: the head
        kind.take_place(head)
        self.grant(head, kind.place)
        kind.leave(head)
        self._moved(kind)
        self.freed(head.amounts)  # there may be enough for the next one, too
        return head
