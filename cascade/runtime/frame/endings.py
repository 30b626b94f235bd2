"""How nodes have ended, as ``settled`` and ``or_else`` take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import attrs

from cascade.graph.nodes import FallbackNode, Graph, MapNode, OutcomeNode, Route, resolve
from cascade.model.outcomes import Done, Failed, Skipped, Status
from cascade.model.policies import covers
from cascade.runtime.frame.choices import Routers
from cascade.runtime.frame.gaps import Gaps


def failure_behind(graph: Graph, gaps: Gaps, routing: Routers | None, index: int) -> Failed | None:
    """The failure of the node *index*, or the one that kept it from running; ``None`` if there is none.

    Of several, that of the first source counts, in the order of the flow. It does not depend on who failed first.
    """
    passed: list[int] = []
    while index not in gaps.errors and index not in gaps.causes:
        passed.append(index)
        sources = graph.sources[index]
        if routing is not None and index in routing.choices:
            route = routing.choices[index].route
            sources = tuple(sorted(routing.layout.selectors[index])) if route is None else route.sources
        failed = [source for source in sources if gaps.is_failure(source)]
        if not failed or not gaps.is_failure(index):
            return None
        index = failed[0]
    found = gaps.errors[index] if index in gaps.errors else gaps.causes[index]
    gaps.causes.update(dict.fromkeys(passed, found))
    return found


def errors_of(routing: Routers, indices: Iterable[int]) -> list[Exception]:
    """The errors behind those of *indices* that have failed, each once."""
    behind = (failure_behind(routing.graph, routing.gaps, routing, index) for index in indices)
    errors = {id(failed.error): failed.error for failed in behind if failed is not None}
    return [error for error in errors.values() if isinstance(error, Exception)]


@attrs.frozen(eq=False)
class ItemOutcomes(Sequence[Done[Any] | Failed]):
    """How the items of a map end, as a column. An outcome is made when somebody looks, as there may be very many.

    Attributes:
        values: What the items give.
        failures: By item, how those end that give nothing.
        collects: Whether failures are among the values.
    """

    values: Sequence[Any]
    failures: Mapping[int, Failed] = attrs.field(factory=dict)
    collects: bool = False

    @overload
    def __getitem__(self, place: int) -> Done[Any] | Failed: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Done[Any] | Failed]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self.values))[place]]
        if place in self.failures:
            return self.failures[place]
        value = self.values[place]
        is_failure = self.collects and isinstance(value, Failed) and value.index == place
        return value if is_failure else Done(value)

    def __len__(self) -> int:
        return len(self.values)

    def snapshot(self) -> ItemOutcomes:
        """The same, whoever changes the list of values."""
        return attrs.evolve(self, values=tuple(self.values))


def outcome_of(routing: Routers, outcome: OutcomeNode) -> Done[Any] | Failed | Skipped | ItemOutcomes | None:
    """How that has ended which *outcome* is about; ``None`` if it was cancelled, as the run ends.

    If it is about the items of a map: how these have ended; ``None`` if the map has failed, or was skipped, as a
    whole.
    """
    about, gaps = outcome.selector, routing.gaps
    if not isinstance(about, int):
        return Done(resolve(about, routing))
    if outcome.by_item:
        return _outcomes_of_items(routing, about)
    if gaps.status[about] == Status.SUCCEEDED:
        return Done(routing.values[about])
    if gaps.is_failure(about):
        return failure_behind(routing.graph, gaps, routing, about)
    return Skipped(gaps.reasons[about], routing.prefix + routing.graph.name(routing.chosen(about)))


def _outcomes_of_items(routing: Routers, index: int) -> ItemOutcomes | None:
    row, value = routing.graph.rows[index], routing.values[index]
    if routing.gaps.status[index] == Status.SUCCEEDED:
        return ItemOutcomes(value, collects=isinstance(row, MapNode) and row.terms.errors is not None)
    return value if isinstance(value, ItemOutcomes) else None


def taken_by(routing: Routers, fallback: FallbackNode) -> Route:
    """The alternative, if what is tried has failed with an error that it is for; else what is tried."""
    tried = fallback.selector
    failed = failure_behind(routing.graph, routing.gaps, routing, tried) if isinstance(tried, int) else None
    if failed is not None and covers(fallback.on, failed.error):
        (alternative,) = fallback.routes.values()
        return alternative
    return Route(tried, (tried,) if isinstance(tried, int) else ())
