"""Whether a failure is handled: decided here and nowhere else, from the graph, at the moment of the failure.

A failed node is handled if it is no target and each of its consumers that wants it is fine with that:

====================================================  =========================================================
consumer                                              is fine with a failure of what it needs
====================================================  =========================================================
``settled``                                           always
``or_else``, for what it tries                        if ``on`` covers the error, or it is itself handled
``or_else``, for the alternative that it has taken    if it is itself handled
a router, for its selector or the route it has taken  if it is itself handled
a call                                                if it is itself handled, after becoming ``UpstreamFailed``
====================================================  =========================================================

A consumer that was pruned wants nothing. One behind a route that has not been chosen yet does not want anything
*yet*: if it is chosen later, it becomes ``UpstreamFailed``, and the same question is asked again, about it.

A target of a flow that a node has returned, and an item of a map, pass the question on: to that node, or to the
map. Only an ``Exception`` can be handled.

Failures are rare, so the walk may look at edges; a success comes by nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cascade.graph.nodes import FallbackNode, Graph, Junction, OutcomeNode
from cascade.model.outcomes import SkipReason
from cascade.model.policies import covers

if TYPE_CHECKING:
    from cascade.runtime.frame.routing import Routing


def is_handled(
    graph: Graph, routing: Routing | None, outer: Callable[[BaseException], bool], index: int, error: BaseException
) -> bool:
    """Whether everybody who wants the node *index* can do with the *error* that it raised, or that kept it from
    running.

    Args:
        graph: The flow.
        routing: What its routers have chosen; ``None`` if there are none.
        outer: Whether the error is handled if it is that of the whole flow.
        index: The node.
        error: The error.
    """
    if not isinstance(error, Exception):
        return False
    if routing is None:
        return outer(error)
    members = set(graph.members)
    affected, pending = {index}, [index]
    while pending:
        index = pending.pop()
        if index in members:
            return outer(error)
        for consumer in _affected_by(graph, routing, index, error):
            if consumer not in affected:
                affected.add(consumer)
                pending.append(consumer)
    return True


def _affected_by(graph: Graph, routing: Routing, index: int, error: Exception) -> Iterator[int]:
    """The consumers of the node *index* that have no value for its failure."""
    for consumer in graph.consumers[index]:
        is_pruned = routing.gaps.reasons.get(consumer) is SkipReason.PRUNED
        if is_pruned or not routing.gating.is_wanted(consumer):
            continue
        row = graph.rows[consumer]
        if not isinstance(row, Junction) or _is_affected(row, routing, index, error):
            yield consumer


def _is_affected(junction: Junction, routing: Routing, index: int, error: Exception) -> bool:
    if isinstance(junction, OutcomeNode):
        return False
    route = routing.choices[junction.index].route
    is_taken = route is not None and index in route.sources
    is_selector = index in routing.layout.selectors[junction.index]
    if isinstance(junction, FallbackNode) and is_selector and covers(junction.on, error):
        return is_taken and route in junction.routes.values()
    return is_selector or is_taken
