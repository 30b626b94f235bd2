"""The waiters of one run that says priorities, in the order in which its places in the queue go to them.

Between runs the order is first come first served: each waiter brings a *place*, its ticket. Within the run, the
places go to the waiters by priority, the highest first, and by ticket among equals: the first place to the first
of them, and so on. So a run never has more places before those of another run than it has come for, whatever its
priorities are. All waiters of all runs still stand in one order; so a large claim is not starved by small ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from cascade.runtime.admission.claims import Applicant
    from cascade.runtime.admission.waiting_line import Kind, Waiter


@attrs.define(eq=False)
class Party:
    """The waiters of one run.

    Attributes:
        kinds: Those that they stand in.
    """

    kinds: dict[Kind, None] = attrs.field(factory=dict)
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

    def moved(self) -> list[Kind]:
        """Have the kinds look up their places; returns those that have others now."""
        found = []
        for kind in self.kinds:
            before = kind.place
            kind.find_place()
            if kind.place != before:
                found.append(kind)
        return found


@attrs.define(eq=False)
class Parties:
    """The parties of all runs that say priorities. The others have none, and pay nothing for it.

    Attributes:
        passed: Those in which somebody has come before others, whose places are not those that their kinds know.
    """

    passed: dict[Party, None] = attrs.field(factory=dict)
    _by_run: dict[str, Party] = attrs.field(factory=dict)

    def join(self, kind: Kind, waiter: Waiter, kinds: Iterable[Kind]) -> None:
        """Let *waiter* of *kind* join the party of its run, before the kind takes it in, if there is one.

        The first waiter of a run that says priorities makes it a party, with all who wait already.

        Args:
            kind: Where the waiter stands.
            waiter: Who comes.
            kinds: All there are.
        """
        applicant = waiter.applicant
        party = self._by_run.get(applicant.run_id)
        if party is None:
            if applicant.priority is None:
                return
            party = self._by_run[applicant.run_id] = Party()
            for other in [other for other in kinds if other.run_id == applicant.run_id]:
                self._take_in(party, other, other.waiters())
        if self._take_in(party, kind, (waiter,)):
            self.passed[party] = None

    def moved(self) -> list[Kind]:
        """The kinds that had other places than they knew; now they know.

        Asked before anybody is admitted, and not for each who comes, as there may be many of both.
        """
        passed, self.passed = self.passed, {}
        return [kind for party in passed for kind in party.moved()]

    def _take_in(self, party: Party, kind: Kind, waiters: Iterable[Waiter]) -> bool:
        kind.party = party
        party.kinds[kind] = None
        passes = [party.join(kind.priority, waiter.ticket) for waiter in waiters]
        return any(passes)

    def leave(self, kind: Kind) -> None:
        """Nobody of *kind* waits any more."""
        if kind.party is not None:
            del kind.party.kinds[kind]
            if not kind.party.kinds:
                del self._by_run[kind.run_id]

    def more_urgent(self, applicant: Applicant) -> list[Kind]:
        """Those of its run with a higher priority."""
        party, priority = self._by_run.get(applicant.run_id), applicant.priority or 0
        return [] if party is None else [kind for kind in party.kinds if kind.priority > priority]
