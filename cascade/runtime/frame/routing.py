"""How routers settle: by their selector, and then by the route that it names.

=======================  =================================  ===========================================
selector                 chosen route                       router
=======================  =================================  ===========================================
has not settled          -                                  waits; its routes wait with it
has failed               -                                  skipped, ``UPSTREAM_FAILED``
was skipped, no value    -                                  skipped, ``UPSTREAM_DATA``
gives a value            there is none for it               failed, ``RouteNotFoundError``
gives a value            some of it has not settled         waits; the other routes are released
gives a value            some of it has failed              skipped, ``UPSTREAM_FAILED``
gives a value            some of it was skipped             skipped, ``UPSTREAM_ROUTE``
gives a value            cannot be put together             failed, with that error
gives a value            has all its values                 succeeded, with the value of the route
=======================  =================================  ===========================================

"Has failed" includes what did not run because something else had failed. A selector that was skipped gives a value
if one passes through it. Of a route, any skip counts, as the route is the router's value: it has none of its own
that could stand in its place. The rows are looked at from top to bottom, and not before a router is wanted.

``settled`` and ``or_else`` are routers whose selector is what is tried. ``settled`` has no routes: how the
selector ends is its value. As a column (``by_item``) its value is how each item of the map ends; if the map has
failed or was skipped as a whole, it is skipped like a router whose selector gives no value. ``or_else`` takes its
alternative as a route if the selector fails with an error that it covers, and otherwise the selector itself:
value, skip and failure. A skip of what it takes is its own: same reason, and the same value passes on.

So is ``race``, whose selector is all contestants. It takes the first of them that succeeds, without waiting for
the others: ``racing.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import attrs

from cascade.graph.nodes import FallbackNode, Graph, Junction, OutcomeNode, RaceNode, Route
from cascade.graph.slots import resolve, sources_of
from cascade.model.errors import RaceFailed, RouteNotFoundError
from cascade.model.inputs import Inject
from cascade.model.outcomes import Failed, Status
from cascade.model.skip_reasons import SkipReason
from cascade.planning.layout import Layout
from cascade.runtime.frame.choices import Choice
from cascade.runtime.frame.demand import Demand
from cascade.runtime.frame.endings import outcome_of, taken_by
from cascade.runtime.frame.gaps import Gaps
from cascade.runtime.frame.gating import Gating
from cascade.runtime.frame.racing import Racing
from cascade.runtime.frame.readiness import Readiness


@attrs.define(eq=False)
class Routing:
    """Has the routers of a frame choose, and settles them.

    Attributes:
        graph: What is run.
        layout: Its starting position.
        inputs: The resolved Params and Envs, by key.
        prefix: What stands before the node ids of the frame.
        gaps: Where routers without a value are noted.
        demand: Whose value is still needed, and the values.
        readiness: Where consumers of routers are counted down, and faults are told.
        racing: Decides races.
        members: The nodes in the target of the frame.
        gating: Wants what has been chosen, and releases the rest.
        choices: By router, what it waits for.
    """

    graph: Graph
    layout: Layout
    inputs: Mapping[str, Any]
    prefix: str
    gaps: Gaps
    demand: Demand
    readiness: Readiness
    racing: Racing = attrs.field(init=False)
    members: frozenset[int] = attrs.field(init=False)
    gating: Gating = attrs.field(init=False)
    choices: dict[int, Choice] = attrs.field(factory=dict, init=False)
    # Routers that may be able to go on; worked off in a loop, so that routers of routers need no recursion.
    _agenda: deque[int] = attrs.field(factory=deque, init=False)

    def __attrs_post_init__(self) -> None:
        self.racing = Racing(self)
        self.members = frozenset(self.graph.members)
        self.gating = Gating(self.graph, self.layout, self.gaps, self.demand, self.readiness, self.racing.held)
        for router, selectors in self.layout.selectors.items():
            self.choices[router] = Choice(set(selectors))
            self._agenda.append(router)
        self._work_off()

    @property
    def values(self) -> list[Any]:
        """By node, what it gave."""
        return self.demand.values

    def injected(self, name: str) -> Any:
        """The placeholder: resources are not in a frame."""
        return Inject(name)

    def go_on_from(self, index: int) -> None:
        """A call has settled: its consumers wait for one less, and routers among them may go on."""
        self._wake_consumers(index)
        self._work_off()

    def _wake_consumers(self, index: int) -> None:
        for consumer in self.graph.consumers[index]:
            if consumer in self.choices:
                self.choices[consumer].waiting.discard(index)
                self._agenda.append(consumer)
            else:
                self.readiness.count_down(consumer)

    def _work_off(self) -> None:
        while self._agenda:
            self._advance(self._agenda.popleft())

    def _advance(self, router: int) -> None:
        """Go on with a router, if what it waits for has settled."""
        choice, gating = self.choices[router], self.gating
        if gating.has_settled(router) or not gating.is_wanted(router):
            return
        row = self.graph.rows[router]
        if isinstance(row, RaceNode):
            self._decide(router)
            return
        if choice.waiting:
            return
        if isinstance(row, OutcomeNode):
            outcome = outcome_of(self, row)
            if outcome is None:
                why = self.gaps.behind(self.layout.selectors[router], SkipReason.UPSTREAM_DATA)
                self._skip(router, why or SkipReason.UPSTREAM_DATA)
            else:
                self._succeed(router, outcome)
            return
        if choice.route is None:
            self._choose(router, choice)
        if choice.route is not None and not choice.waiting:
            self._take(router, choice.route)

    def _decide(self, race: int) -> None:
        match self.racing.verdict(race):
            case None:
                return
            case RaceFailed() as error:
                self._fail(race, error)
            case SkipReason() as reason:
                self._skip(race, reason)
            case winner:
                self.racing.give(race, winner)
                self._succeed(race, self.values[winner])

    def _choose(self, router: int, choice: Choice) -> None:
        """Look the route up that the selector names, want it, and release the others."""
        junction, gating = _junction(self.graph, router), self.gating
        selectors = self.layout.selectors[router]
        if isinstance(junction, FallbackNode):
            route = taken_by(self, junction)
        else:
            reason = self.gaps.behind(selectors, SkipReason.UPSTREAM_DATA)
            if reason is not None:
                self._skip(router, reason)
                return
            try:
                route = self._route(junction)
            except Exception as error:  # the lookup runs __hash__ and __eq__ of a user's key
                self._fail(router, error)
                return
        choice.route = route
        choice.waiting = {source for source in route.sources if not gating.has_settled(source)}
        gating.release(
            source for source in junction.sources if source not in route.sources and source not in selectors
        )
        self.readiness.news.wanted.extend(route.sources)
        self._agenda.extend(gating.want(route.sources))

    def _route(self, junction: Junction) -> Route:
        key = resolve(junction.selector, self)
        try:
            route = junction.routes.get(key, junction.default)
        except TypeError:  # unhashable
            route = None
        if route is None:
            selectors = [self.prefix + self.graph.name(source) for source in sources_of(junction.selector)]
            names = selectors or [repr(key)]
            raise RouteNotFoundError(key, junction.routes, ", ".join(map(repr, names)))
        return route

    def _take(self, router: int, route: Route) -> None:
        """All of the chosen route has settled: it is the router's value, unless some of it was skipped."""
        taken = route.operand
        if (
            isinstance(self.graph.rows[router], FallbackNode)
            and isinstance(taken, int)
            and taken in self.gaps.reasons
        ):
            self._skip(router, self.gaps.reasons[taken], taken)
            return
        reason = self.gaps.behind(route.sources, SkipReason.UPSTREAM_ROUTE)
        if reason is None and any(self.gaps.status[source] == Status.SKIPPED for source in route.sources):
            reason = SkipReason.UPSTREAM_ROUTE
        if reason is not None:
            self._skip(router, reason)
            return
        try:
            value = resolve(route.operand, self)
        except Exception as error:  # records in it are made anew by their own constructors
            self._fail(router, error)
            return
        self._succeed(router, value)

    def _succeed(self, router: int, value: Any) -> None:
        self.demand.keep(router, value)
        self.gaps.status[router] = Status.SUCCEEDED
        self._leave(router)

    def _skip(self, router: int, reason: SkipReason, taken: int | None = None) -> None:
        """Skip a router; the value that *taken* has passed on, if any, passes on."""
        gives_value = taken is not None and taken not in self.gaps.gone
        if gives_value:
            self.demand.keep(router, self.values[cast("int", taken)])
        self.gaps.skip(router, reason, gives_value=gives_value)
        if reason is SkipReason.UPSTREAM_FAILED:
            self.readiness.news.without.append(router)
        self._leave(router)

    def _fail(self, router: int, error: Exception) -> None:
        self.readiness.news.faults.append((router, error))
        self.gaps.fail(router, Failed(error, self.prefix + self.graph.name(router)))
        self._leave(router)

    def _leave(self, router: int) -> None:
        """The router has settled: its sources lose a consumer, its consumers may go on."""
        self.gating.release(self.racing.held(router))
        self._wake_consumers(router)


def _junction(graph: Graph, router: int) -> Junction:
    junction = graph.rows[router]
    assert isinstance(junction, Junction)
    return junction
