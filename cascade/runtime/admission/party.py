"""The waiters of one run that says priorities, in the order in which its places in the queue go to them.

Between runs the order is first come first served: each waiter brings a *place*, its ticket. Within the run, the
places go to the waiters by priority, the highest first, and by ticket among equals: the first place to the first
of them, and so on. So a run never has more places before those of another run than it has come for, whatever its
priorities are. All waiters of all runs still stand in one order; so a large claim is not starved by small ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort

import attrs


@attrs.define(eq=False)
class Party:
    """The waiters of one run."""

    # Both sorted, and of one length: priority (negative) and ticket of each waiter; and the places.
    _order: list[tuple[int, int]] = attrs.field(factory=list)
    _places: list[int] = attrs.field(factory=list)

    def join(self, priority: int, ticket: int) -> bool:
        """A waiter comes, with its ticket as a further place; whether it goes before others."""
        entry = (-priority, ticket)
        is_last = not self._order or self._order[-1] < entry
        insort(self._order, entry)
        insort(self._places, ticket)
        return not is_last

    def leave(self, priority: int, ticket: int) -> int:
        """A waiter leaves with its place, which is returned; those of the others stay as they are."""
        found = bisect_left(self._order, (-priority, ticket))
        del self._order[found]
        return self._places.pop(found)

    def place_of(self, priority: int, ticket: int) -> int:
        """The place of a waiter."""
        return self._places[bisect_left(self._order, (-priority, ticket))]
