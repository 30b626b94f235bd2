"""Lines: who waits to be admitted, and who of them is next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio
import attrs

from cascade.runtime.capacity import Amounts

if TYPE_CHECKING:
    from cascade.runtime.admission import Applicant, Claim


@attrs.define(eq=False)
class Waiter:
    """An attempt that has asked and not been admitted yet.

    Attributes:
        ticket: Its place in the order. Those of one line may change places.
        has_left: Whether it was withdrawn or admitted; then it is passed over.
        came: The ticket that it came with.
    """

    applicant: Applicant
    amounts: Amounts
    ticket: int
    answered: anyio.Event = attrs.field(factory=anyio.Event)
    claim: Claim | None = None
    error: BaseException | None = None
    has_left: bool = False
    came: int = attrs.field(init=False)

    @came.default
    def _came_with(self) -> int:
        return self.ticket


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
