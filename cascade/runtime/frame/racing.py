"""How races are decided: by the first contestant that succeeds, or when all have ended.

===================  ===================  ===================================================
a contestant         the others           the race
===================  ===================  ===================================================
has succeeded        whatever             succeeded, with its value; the others lose a consumer
has not ended        have not succeeded   waits
has ended otherwise  have, and one failed failed, ``RaceFailed`` with all their errors
was skipped          were skipped         skipped, ``UPSTREAM_DATA``
===================  ===================  ===================================================

Of several that have succeeded before the race was wanted, the first in the order of the flow wins.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from cascade.graph.nodes import Junction, RaceNode, Route
from cascade.graph.slots import distinct, sources_of
from cascade.model.errors import RaceFailed
from cascade.model.outcomes import Status
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.frame.choices import Routers
from cascade.runtime.frame.endings import errors_of

# Who has won, or what the race fails with, or why it is skipped.
Verdict = int | RaceFailed | SkipReason


@attrs.frozen(eq=False)
class Racing:
    """Decides the races of a frame.

    Attributes:
        routing: The routers of the frame, of which races are some.
    """

    routing: Routers

    def verdict(self, race: int) -> Verdict | None:
        """How the race ends; ``None`` if it is open."""
        routing, gaps, choice = self.routing, self.routing.gaps, self.routing.choices[race]
        contestants = self._contestants(race)
        ended = [index for index in contestants if index not in choice.waiting]
        winner = next((index for index in ended if gaps.status[index] == Status.SUCCEEDED), None)
        if winner is not None or choice.waiting:
            return winner
        failures = errors_of(routing, contestants)
        if failures:
            return RaceFailed(routing.prefix + routing.graph.name(race), failures)
        has_failed = any(map(gaps.is_failure, contestants))  # as the run ends
        return SkipReason.UPSTREAM_FAILED if has_failed else SkipReason.UPSTREAM_DATA

    def give(self, race: int, winner: int) -> None:
        """Let all contestants but *winner* lose. Does nothing if that has been done."""
        routing, choice = self.routing, self.routing.choices[race]
        if choice.route is None:
            others = [index for index in self._contestants(race) if index != winner]
            choice.route = Route(winner, (winner,))
            choice.waiting &= {winner}
            routing.gating.release(others)

    def held(self, router: int) -> Iterable[int]:
        """The nodes that a router counts as a consumer of: all in it, or its selector and what it has chosen.

        A race that was given to a contestant has no selector any more.
        """
        route, junction = self.routing.choices[router].route, self.routing.graph.rows[router]
        assert isinstance(junction, Junction)
        if route is None:
            return junction.sources
        if isinstance(junction, RaceNode):
            return route.sources
        return {*route.sources, *self.routing.layout.selectors[router]}

    def _contestants(self, race: int) -> tuple[int, ...]:
        """Those that may win: all, or one if the race was given to it when the run was executed before."""
        route, row = self.routing.choices[race].route, self.routing.graph.rows[race]
        assert isinstance(row, RaceNode)
        return distinct(sources_of(row.selector)) if route is None else route.sources
