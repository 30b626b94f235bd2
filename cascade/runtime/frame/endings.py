"""How nodes have ended, as ``settled`` and ``or_else`` take it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cascade.graph.nodes import FallbackNode, Graph, Junction, Route
from cascade.graph.slots import resolve
from cascade.model.outcomes import Done, Failed, Skipped, Status
from cascade.model.policies import covers
from cascade.runtime.frame.choices import Routers, chosen
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


def outcome_of(routing: Routers, outcome: Junction) -> Done[Any] | Failed | Skipped | None:
    """How that has ended which *outcome* is about; ``None`` if it was cancelled, as the run ends."""
    about, gaps = outcome.selector, routing.gaps
    if not isinstance(about, int):
        return Done(resolve(about, routing))
    if gaps.status[about] == Status.SUCCEEDED:
        return Done(routing.values[about])
    if gaps.is_failure(about):
        return failure_behind(routing.graph, gaps, routing, about)
    return Skipped(gaps.reasons[about], routing.prefix + routing.graph.name(chosen(routing, about)))


def taken_by(routing: Routers, fallback: FallbackNode) -> Route:
    """The alternative, if what is tried has failed with an error that it is for; else what is tried."""
    tried = fallback.selector
    failed = failure_behind(routing.graph, routing.gaps, routing, tried) if isinstance(tried, int) else None
    if failed is not None and covers(fallback.on, failed.error):
        (alternative,) = fallback.routes.values()
        return alternative
    return Route(tried, (tried,) if isinstance(tried, int) else ())
