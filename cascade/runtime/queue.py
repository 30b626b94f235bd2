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

from cascade.runtime.bus import EventStream
from cascade.runtime.capacity import Name, Pool, Slot
from cascade.runtime.claims import Applicant, Rule
from cascade.runtime.lines import Kind, Line, Row, Waiter

Holder = Rule | EventStream


@attrs.define(eq=False)
class WaitingQueue:
    """Decides who is admitted next; it never admits by itself, but calls *grant*.

    Attributes:
        pool: The amounts there are.
        holder: What holds an applicant whatever the capacity.
        grant: Admits a waiter that nothing holds, and for which there is enough of everything.
        kinds: By what they have in common, those who wait.
    """

    pool: Pool
    holder: Callable[[Applicant], Holder | None]
    grant: Callable[[Waiter], None]
    kinds: dict[Hashable, Kind] = attrs.field(factory=dict)
    _rows: defaultdict[str, Row] = attrs.field(factory=lambda: defaultdict(Row))
    _ready: dict[Slot, Row] = attrs.field(factory=lambda: {slot: Row() for slot in Slot})
    _parked: defaultdict[Holder, Row] = attrs.field(factory=lambda: defaultdict(Row))
    _parked_by: dict[Kind, Holder] = attrs.field(factory=dict)
    # Those that may be able to start, by place; a place may be that of before.
    _agenda: list[tuple[int, int, Kind]] = attrs.field(factory=list)
    _serials: Iterator[int] = attrs.field(factory=itertools.count)

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def lacks_only(self, slot: Slot) -> bool:
        """Whether somebody could start if there were a *slot*. May be asked in any thread."""
        return bool(self._ready[slot])

    def lines(self) -> Iterator[Line]:
        """All lines."""
        return (line for kind in self.kinds.values() for line in kind.lines.values())

    # -- coming and going ----------------------------------------------------------------------------------

    def add(self, key: Hashable, waiter: Waiter) -> None:
        """Let *waiter* wait among those who have *key* in common."""
        kind = self.kinds.get(key)
        if kind is None:
            kind = self.kinds[key] = Kind.of(key, waiter.amounts)
        before = kind.place
        kind.add(waiter)
        if kind.place != before:
            self._moved(kind)

    def leave(self, key: Hashable, waiter: Waiter) -> None:
        """Let *waiter* go, which waits among those who have *key* in common."""
        kind = self.kinds[key]
        kind.leave(waiter)
        self._moved(kind)

    def clear(self) -> list[Waiter]:
        """Let everybody go; returns who waited."""
        waiting = [waiter for line in self.lines() for waiter in line]
        self.kinds.clear()
        self._rows.clear()
        self._parked.clear()
        self._parked_by.clear()
        self._agenda.clear()
        self._ready = {slot: Row() for slot in Slot}
        return waiting

    def _moved(self, kind: Kind) -> None:
        """A kind has another place or another head: so it may be able to start, and so may those behind it."""
        self._step_out(kind)
        if kind.place is None:
            del self.kinds[kind.key]
            self._unpark(kind)
        else:
            self._look_at(kind)

    def _step_out(self, kind: Kind) -> None:
        """Take a kind out of the rows for capacity; whoever stood behind it may be able to start."""
        for name in kind.resources:
            row = self._rows[name]
            row.discard(kind)
            self._look_at(row.first)
            if not row:
                del self._rows[name]
        if kind.slot is not None:
            self._ready[kind.slot].discard(kind)

    def _unpark(self, kind: Kind) -> Holder | None:
        """Take a kind from where it is parked; returns what had held it."""
        holder = self._parked_by.pop(kind, None)
        if holder is not None:
            self._parked[holder].discard(kind)
            if not self._parked[holder]:
                del self._parked[holder]
        return holder

    # -- changes -------------------------------------------------------------------------------------------

    def _look_at(self, kind: Kind | None) -> None:
        if kind is not None and kind.place is not None:
            heapq.heappush(self._agenda, (kind.place, next(self._serials), kind))

    def freed(self, names: Iterable[Name]) -> None:
        """There is more of *names*."""
        for name in names:
            if isinstance(name, Slot):
                self._look_at(self._ready[name].first)
            elif name in self._rows:
                self._look_at(self._rows[name].first)

    def opened(self, holders: Iterable[Holder] | None = None) -> None:
        """What *holders* held may be free; by default, any that hold somebody."""
        for holder in list(self._parked) if holders is None else holders:
            if holder in self._parked:
                self._look_at(self._parked[holder].first)

    def changed(self) -> None:
        """Anything may have changed."""
        for kind in self.kinds.values():
            self._look_at(kind)

    # -- answering -----------------------------------------------------------------------------------------

    def go_on(self, most: int) -> Waiter | None:
        """Admit, in the order of tickets, whoever may start, *most* at once.

        Returns:
            The last one, if there may be more; ``None`` if nobody else can start.
        """
        granted = 0
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
        head, before = kind.head, self._unpark(kind)
        holder = self.holder(head.applicant)
        if holder is not None:
            self._step_out(kind)
            self._parked[holder].add(kind)
            self._parked_by[kind] = holder
        if before is not None and holder is not before:
            self.opened([before])
        if holder is not None or not self._may_take_resources(kind, head):
            return None
        if kind.slot is not None:
            ready = self._ready[kind.slot]
            ready.add(kind)
            if ready.first is not kind or not self.pool.fits({kind.slot: head.amounts[kind.slot]}):
                return None
        kind.take_place(head)
        self.grant(head)
        kind.leave(head)
        self._moved(kind)
        self.freed(head.amounts)  # there may be enough for the next one, too
        return head

    def _may_take_resources(self, kind: Kind, head: Waiter) -> bool:
        may_take = True
        for name in kind.resources:
            row = self._rows[name]
            before = row.first
            row.add(kind)
            if row.first is not before and before is not None and before.slot is not None:
                self._ready[before.slot].discard(before)  # somebody stands before it now
            may_take = may_take and row.first is kind and self.pool.fits({name: head.amounts[name]})
        if not may_take and kind.slot is not None:
            self._ready[kind.slot].discard(kind)
        return may_take
