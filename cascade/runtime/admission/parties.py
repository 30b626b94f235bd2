"""Who of all who wait belongs to a run that says priorities, and shares places with others: see ``party.py``."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from cascade.runtime.admission.claims import Applicant
from cascade.runtime.admission.party import Party
from cascade.runtime.admission.waiting_line import Kind, Waiter


@attrs.define(eq=False)
class _Run:
    """A run that says priorities.

    Attributes:
        party: Its waiters.
        kinds: Those that they stand in.
    """

    party: Party = attrs.field(factory=Party)
    kinds: dict[Kind, None] = attrs.field(factory=dict)

    def take_in(self, kind: Kind, waiters: Iterable[Waiter]) -> bool:
        """Let *waiters* of *kind* join; whether one of them goes before others."""
        kind.party = self.party
        self.kinds[kind] = None
        passes = [self.party.join(kind.priority, waiter.ticket) for waiter in waiters]
        return any(passes)

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

    passed: dict[_Run, None] = attrs.field(factory=dict)
    _by_run: dict[str, _Run] = attrs.field(factory=dict)

    def join(self, kind: Kind, waiter: Waiter, kinds: Iterable[Kind]) -> None:
        """Let *waiter* of *kind* join the party of its run, before the kind takes it in, if there is one.

        The first waiter of a run that says priorities makes it a party, with all who wait already.

        Args:
            kind: Where the waiter stands.
            waiter: Who comes.
            kinds: All there are.
        """
        applicant = waiter.applicant
        run = self._by_run.get(applicant.run_id)
        if run is None:
            if applicant.priority is None:
                return
            run = self._by_run[applicant.run_id] = _Run()
            for other in [other for other in kinds if other.run_id == applicant.run_id]:
                run.take_in(other, other.waiters())
        if run.take_in(kind, (waiter,)):
            self.passed[run] = None

    def moved(self) -> list[Kind]:
        """The kinds that had other places than they knew; now they know.

        Asked before anybody is admitted, and not for each who comes, as there may be many of both.
        """
        passed, self.passed = self.passed, {}
        return [kind for run in passed for kind in run.moved()]

    def leave(self, kind: Kind) -> None:
        """Nobody of *kind* waits any more."""
        if kind.party is not None:
            kinds = self._by_run[kind.run_id].kinds
            del kinds[kind]
            if not kinds:
                del self._by_run[kind.run_id]

    def more_urgent(self, applicant: Applicant) -> list[Kind]:
        """Those of its run with a higher priority."""
        run, priority = self._by_run.get(applicant.run_id), applicant.priority or 0
        return [] if run is None else [kind for kind in run.kinds if kind.priority > priority]
