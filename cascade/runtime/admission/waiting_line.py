"""Who waits to be admitted, in the order in which they are.

A *line* has the waiters that are alike in all that admission looks at. A *kind* has the lines that differ only in
how much they claim.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence

import attrs

from cascade.runtime.admission.claims import Applicant, Claim
from cascade.runtime.admission.party import Party
from cascade.runtime.admission.pool import Amount, Amounts, Name, Slot
from cascade.runtime.observation.bus import EventStream


@attrs.define(eq=False)
class Waiter:
    """An attempt that has asked and not been admitted yet.

    Attributes:
        applicant: Who asks.
        amounts: All it claims, slots included.
        on_answer: Called once, when there is a claim or an error.
        ticket: Its place in the order. Those of one line may change places.
        claim: What it has been given.
        error: Why it will never be given what it asks for.
        has_left: Whether it was withdrawn or answered; then it is passed over.
        came: The ticket that it came with.
        told: The subscribers that expect to be told of its start, until it has its turn.
    """

    applicant: Applicant
    amounts: Amounts
    on_answer: Callable[[], None] = lambda: None
    ticket: int = 0
    claim: Claim | None = None
    error: BaseException | None = None
    has_left: bool = False
    came: int = 0
    told: Sequence[EventStream] = ()

    @property
    def is_answered(self) -> bool:
        """Whether there is a claim or an error."""
        return self.claim is not None or self.error is not None

    def take_ticket(self, ticket: int) -> None:
        """Come with *ticket*."""
        self.ticket = self.came = ticket

    def answer(self, claim: Claim) -> None:
        """Be given *claim*."""
        self.claim = claim
        self.told = self.applicant.bus.told_of_starts()
        for stream in self.told:
            stream.expect(1)
        self.on_answer()

    def go_on(self) -> None:
        """Have its turn."""
        told, self.told = self.told, ()
        for stream in told:
            stream.expect(-1)

    def refuse(self, error: BaseException) -> None:
        """Never be given anything."""
        self.error = error
        self.on_answer()


@attrs.define(eq=False)
class Line:
    """Waiters that are alike in all that admission looks at: what keeps one waiting keeps all of them.

    First come first served is between lines: the lowest ticket in a line is the line's place. Within a line that
    ticket goes to the waiter of the highest rank, who changes places with whom it belonged to. So the nodes of a
    run have as many places in the order as they have come for, and its longest paths go first.

    Attributes:
        is_ranked: Whether ranks matter; otherwise the order of tickets is all there is.
    """

    is_ranked: bool = False
    # Heaps; entries of those who have left, or have another ticket by now, are dropped when they come up. One who
    # comes back has the ticket of one who has left, so that entries differ for certain by their serials only.
    _by_ticket: list[tuple[int, int, Waiter]] = attrs.field(factory=list)
    _by_rank: list[tuple[float, int, int, Waiter]] = attrs.field(factory=list)
    _serials: Iterator[int] = attrs.field(factory=itertools.count)

    def add(self, waiter: Waiter) -> None:
        """Take *waiter* in."""
        self._place(waiter)
        if self.is_ranked:
            entry = (-waiter.applicant.rank, waiter.came, next(self._serials), waiter)
            heapq.heappush(self._by_rank, entry)

    def _place(self, waiter: Waiter) -> None:
        heapq.heappush(self._by_ticket, (waiter.ticket, next(self._serials), waiter))

    def _first(self) -> Waiter | None:
        """The waiter with the lowest ticket."""
        heap = self._by_ticket
        while heap and (heap[0][2].has_left or heap[0][2].ticket != heap[0][0]):
            heapq.heappop(heap)
        return heap[0][2] if heap else None

    @property
    def place(self) -> int | None:
        """The lowest ticket; ``None`` if nobody is left."""
        first = self._first()
        return None if first is None else first.ticket

    @property
    def head(self) -> Waiter:
        """Who is next; somebody must be left."""
        heap = self._by_rank
        if not self.is_ranked:
            first = self._first()
            assert first is not None
            return first
        while heap[0][-1].has_left:
            heapq.heappop(heap)
        return heap[0][-1]

    def take_place(self, waiter: Waiter) -> None:
        """Let *waiter* have the lowest ticket."""
        first = self._first()
        if first is not None and first is not waiter:
            first.ticket, waiter.ticket = waiter.ticket, first.ticket
            self._place(first)
            self._place(waiter)

    def __iter__(self) -> Iterator[Waiter]:
        """Those who are left, in the order of their tickets."""
        left = (w for ticket, _, w in self._by_ticket if not w.has_left and w.ticket == ticket)
        return iter(sorted(left, key=lambda waiter: waiter.ticket))


@attrs.define(eq=False)
class Kind:
    """The lines of those who claim the same names with the same priority, for one task of one run.

    If the first of them is held by a rule, or has to wait for capacity, so have the others: what they claim has
    the same names, and they came later. So only the first is ever asked about, however many amounts there are.

    Attributes:
        key: What its waiters have in common.
        resources: The named resources that they claim.
        slot: The slot that they claim, if any.
        lines: By what the waiters claim.
        most: By name, at least the largest amount that one of them claims.
        place: The lowest ticket, or the place that the party has for it; ``None`` if nobody waits.
        run_id: The run.
        priority: That of all waiters.
        party: The waiters of the run, if it says priorities.
        ticket: The lowest one; ``None`` if nobody waits.
    """

    key: Hashable
    resources: tuple[str, ...]
    slot: Slot | None
    run_id: str = ""
    priority: int = 0
    lines: dict[Hashable, Line] = attrs.field(factory=dict)
    most: dict[Name, Amount] = attrs.field(factory=dict)
    place: int | None = None
    party: Party | None = None
    ticket: int | None = None
    # A heap of lines by place. Entries of lines that have another place by now are dropped when they come up.
    _by_place: list[tuple[int, int, Line]] = attrs.field(factory=list)
    _serials: Iterator[int] = attrs.field(factory=itertools.count)

    @classmethod
    def of(cls, key: Hashable, waiter: Waiter) -> Kind:
        """The kind of those who are like *waiter*."""
        slot = next((name for name in waiter.amounts if isinstance(name, Slot)), None)
        resources = tuple(name for name in waiter.amounts if isinstance(name, str))
        return cls(key, resources, slot, waiter.applicant.run_id, waiter.applicant.priority or 0)

    def add(self, waiter: Waiter) -> None:
        """Take *waiter* into its line; if there is a party, it has joined that."""
        key = _claimed(waiter.amounts)
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(is_ranked=bool(waiter.applicant.rank))
        before = line.place
        line.add(waiter)
        self._moved(line, before)
        for name, amount in waiter.amounts.items():
            self.most[name] = max(amount, self.most.get(name, amount))

    def leave(self, waiter: Waiter) -> int:
        """Let *waiter* go, which is in one of the lines; returns its place."""
        party, key = self.party, _claimed(waiter.amounts)
        left = waiter.ticket if party is None else party.leave(self.priority, waiter.ticket)
        line = self.lines[key]
        before = line.place
        waiter.has_left = True
        if line.place is None:
            del self.lines[key]
        self._moved(line, before)
        return left

    def take_place(self, waiter: Waiter) -> None:
        """Let *waiter*, the head of the first line, have that line's place."""
        self.lines[_claimed(waiter.amounts)].take_place(waiter)

    def outranks(self, waiter: Waiter) -> bool:
        """Whether somebody who claims the same as *waiter*, which waits no longer, is more urgent."""
        line = self.lines.get(_claimed(waiter.amounts))
        return line is not None and line.is_ranked and line.head.applicant.rank > waiter.applicant.rank

    def _moved(self, line: Line, before: int | None) -> None:
        place = line.place
        if place is not None and place != before:
            heapq.heappush(self._by_place, (place, next(self._serials), line))
        heap = self._by_place
        while heap and heap[0][-1].place != heap[0][0]:
            heapq.heappop(heap)
        self.ticket = heap[0][0] if heap else None
        self.find_place()

    def find_place(self) -> None:
        """Have the place that the party has for the lowest ticket; that itself, without a party."""
        self.place = self.ticket if self.party is None else self.place_with(self.ticket)

    def waiters(self) -> Iterator[Waiter]:
        """Everybody, line by line."""
        return (waiter for line in self.lines.values() for waiter in line)

    def place_with(self, ticket: int | None) -> int | None:
        """The place of a waiter with *ticket*."""
        if self.party is None or ticket is None:
            return ticket
        return self.party.place_of(self.priority, ticket)

    @property
    def head(self) -> Waiter:
        """Who is next; somebody must be left."""
        return self._by_place[0][-1].head


def _claimed(amounts: Amounts) -> Hashable:
    return tuple(sorted((str(name), amount) for name, amount in amounts.items()))


@attrs.define(eq=False)
class Row:
    """Some kinds in the order of their places."""

    _places: dict[Kind, int] = attrs.field(factory=dict)
    # A heap; entries of kinds that have left, or have another place by now, are dropped when they come up.
    _heap: list[tuple[int, int, Kind]] = attrs.field(factory=list)
    _serials: Iterator[int] = attrs.field(factory=itertools.count)

    def add(self, kind: Kind) -> None:
        """Take *kind* in, or note that it has another place."""
        place = kind.place
        assert place is not None  # somebody of it waits
        if self._places.get(kind) != place:
            self._places[kind] = place
            heapq.heappush(self._heap, (place, next(self._serials), kind))

    def discard(self, kind: Kind) -> None:
        """Let *kind* go, if it is there."""
        self._places.pop(kind, None)

    @property
    def first(self) -> Kind | None:
        """The kind with the lowest place."""
        heap = self._heap
        while heap and self._places.get(heap[0][-1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][-1] if heap else None

    def __bool__(self) -> bool:
        return bool(self._places)

    def __contains__(self, kind: Kind) -> bool:
        return kind in self._places
