"""How nodes have ended, as ``settled`` and ``or_else`` take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import attrs

from cascade.graph.nodes import FallbackNode, Graph, MapNode, OutcomeNode, Route
from cascade.graph.slots import resolve
from cascade.model.outcomes import Done, Failed, Skipped, Status
from cascade.model.policies import covers
from cascade.runtime.frame.choices import Routers, chosen
from cascade.runtime.frame.gaps import Gaps

# Failures, each once.
Behind = tuple[Failed, ...]


def failures_behind(graph: Graph, gaps: Gaps, routing: Routers | None, index: int) -> Behind:
    """The failures of the node *index*, or those that kept it from running; none if it has not failed.

    They are in the order of the flow, which does not depend on who failed first: the one of the first source is
    what the node is said to have failed with.
    """
    pending = [index]
    while pending:
        at = pending[-1]
        if at in gaps.errors or at in gaps.causes or not gaps.is_failure(at):
            pending.pop()
            continue
        failed = _failed_sources(graph, gaps, routing, at)
        unknown = [source for source in failed if source not in gaps.errors and source not in gaps.causes]
        if unknown:
            pending.extend(unknown)
            continue
        gaps.causes[at] = joined(_known(gaps, source) for source in failed)
        pending.pop()
    return _known(gaps, index)


def _failed_sources(graph: Graph, gaps: Gaps, routing: Routers | None, index: int) -> list[int]:
    sources: Sequence[int] = graph.sources[index]
    if routing is not None and index in routing.choices:
        route = routing.choices[index].route
        sources = sorted(routing.layout.selectors[index]) if route is None else route.sources
    return [source for source in sources if gaps.is_failure(source)]


def _known(gaps: Gaps, index: int) -> Behind:
    if index in gaps.errors:
        return (gaps.errors[index], *gaps.beside.get(index, ()))
    return gaps.causes.get(index, ())


def joined(several: Iterable[Behind]) -> Behind:
    """All failures in *several*; the very first of these if there are no others, so that few are kept."""
    parts = list({id(part): part for part in several if part}.values())
    if len(parts) < 2:
        return parts[0] if parts else ()
    found: dict[int, Failed] = {}
    for part in parts:
        for failed in part:
            found.setdefault(id(failed.error), failed)
    return parts[0] if len(found) == len(parts[0]) else tuple(found.values())


def failure_behind(graph: Graph, gaps: Gaps, routing: Routers | None, index: int) -> Failed | None:
    """The first of :func:`failures_behind`; ``None`` if there are none."""
    return next(iter(failures_behind(graph, gaps, routing, index)), None)


def errors_of(routing: Routers, indices: Iterable[int]) -> list[Exception]:
    """The errors that those of *indices* have failed with, each once."""
    behind = (failure_behind(routing.graph, routing.gaps, routing, index) for index in indices)
    errors = {id(failed.error): failed.error for failed in behind if failed is not None}
    return [error for error in errors.values() if isinstance(error, Exception)]


@attrs.frozen(eq=False)
class ItemOutcomes(Sequence[Done[Any] | Failed]):
    """How the items of a map end, as a column. An outcome is made when somebody looks, as there may be very many.

    Attributes:
        values: What the items give.
        failures: By item, how those end that give nothing.
        collecting: Id of the map if failures of its items are among the values.
    """

    values: Sequence[Any]
    failures: Mapping[int, Failed] = attrs.field(factory=dict)
    collecting: str | None = None

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
        return value if isinstance(value, Failed) and self._is_failure_of(place, value) else Done(value)

    def _is_failure_of(self, place: int, failed: Failed) -> bool:
        """Whether an item has failed like that. It may as well have returned it, as it got it from elsewhere."""
        item = f"{self.collecting}[{place}]"
        is_of_item = failed.task_id == item or failed.task_id.startswith(f"{item}/")
        return self.collecting is not None and failed.index == place and is_of_item

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
    return Skipped(gaps.reasons[about], routing.prefix + routing.graph.name(chosen(routing, about)))


def _outcomes_of_items(routing: Routers, index: int) -> ItemOutcomes | None:
    row, value = routing.graph.rows[index], routing.values[index]
    if routing.gaps.status[index] == Status.SUCCEEDED:
        collects = isinstance(row, MapNode) and row.terms.errors is not None
        return ItemOutcomes(value, collecting=routing.prefix + routing.graph.name(index) if collects else None)
    return value if isinstance(value, ItemOutcomes) else None


def taken_by(routing: Routers, fallback: FallbackNode) -> Route:
    """The alternative, if what is tried has failed with an error that it is for; else what is tried."""
    tried = fallback.selector
    failed = failure_behind(routing.graph, routing.gaps, routing, tried) if isinstance(tried, int) else None
    if failed is not None and covers(fallback.on, failed.error):
        (alternative,) = fallback.routes.values()
        return alternative
    return Route(tried, (tried,) if isinstance(tried, int) else ())
