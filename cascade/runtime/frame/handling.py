"""Whether a failure is handled: decided here and nowhere else, from the graph, at the moment of the failure.

A failed node is handled if it is no target and each of its consumers that wants it is fine with that:

====================================================  =========================================================
consumer                                              is fine with a failure of what it needs
====================================================  =========================================================
``settled``                                           always
``settled`` as a column                               if it is the failure of an item of its map
``race``, for a contestant                            always: if all fail, it fails itself
``or_else``, for what it tries                        if ``on`` covers the error, or it is itself handled
``or_else``, for the alternative that it has taken    if it is itself handled
a router, for its selector or the route it has taken  if it is itself handled
a call                                                if it is itself handled, after becoming ``UpstreamFailed``
====================================================  =========================================================

A consumer that was pruned wants nothing. One behind a route that has not been chosen yet does not want anything
*yet*: when it is chosen, the same question is asked again about the failures among what it waits for.

A target of a flow that a node has returned, and an item of a map, pass the question on: to that node, or to the
map. Only an ``Exception`` can be handled.

Failures are rare, so the walk may look at edges; a success comes by nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import attrs

from cascade.graph.nodes import FallbackNode, Graph, Junction, OutcomeNode, RaceNode
from cascade.model.outcomes import Failed
from cascade.model.policies import covers
from cascade.model.skip_reasons import SkipReason
from cascade.planning.layout import Layout
from cascade.runtime.frame.endings import ItemOutcomes, failures_behind
from cascade.runtime.frame.gaps import Gaps
from cascade.runtime.frame.routing import Routing
from cascade.runtime.frame.turn import Handles, Turn, never


@attrs.frozen(eq=False)
class Handling:
    """Says which failures in a frame are handled, and looks for what is behind a node that has no value.

    Attributes:
        graph: What the frame runs.
        layout: Its starting position.
        gaps: Its nodes without a value.
        routing: Its routers, if it has any.
        turn: The turn that it is run for.
    """

    graph: Graph
    layout: Layout
    gaps: Gaps
    routing: Routing | None
    turn: Turn

    @property
    def is_possible(self) -> bool:
        """Whether any failure in the frame might be handled. Asked in any thread."""
        return bool(self.layout.special.handlers) or self.turn.handles is not never

    def is_handled(self, index: int, error: BaseException, *, is_of_item: bool = False) -> bool:
        """Whether everybody who wants the node *index* can do with its failure.

        Args:
            index: A node that failed, or became ``UpstreamFailed``.
            error: The error.
            is_of_item: Whether the node is a map, and it is an item of it that has failed.
        """
        if not self.is_possible or not isinstance(error, Exception):
            return False
        outer = self.turn.handles
        if self.routing is None:
            return outer(error)
        affected, pending = {index}, [index]
        by_item = index if is_of_item or isinstance(self.routing.values[index], ItemOutcomes) else None
        while pending:
            index = pending.pop()
            if index in self.routing.members:
                return outer(error)
            for consumer in _affected_by(self.graph, self.routing, index, error):
                row = self.graph.rows[consumer]
                if isinstance(row, OutcomeNode) and index == by_item:
                    continue  # it takes how each item ends
                if consumer not in affected:
                    affected.add(consumer)
                    pending.append(consumer)
        return True

    def of(self, index: int) -> Handles:
        """What says whether an error is handled if the node *index* fails with it."""
        return partial(self.is_handled, index) if self.is_possible else never

    def of_items(self, index: int) -> Handles:
        """What says whether an error is handled if an item of the map *index* fails with it."""
        return partial(self.is_handled, index, is_of_item=True) if self.is_possible else never

    def failures_behind(self, index: int) -> tuple[Failed, ...]:
        """The failures of the node, or those that kept it from running; the first is what it has failed with."""
        return failures_behind(self.graph, self.gaps, self.routing, index)


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
        return junction.by_item
    if isinstance(junction, RaceNode):
        return False
    route = routing.choices[junction.index].route
    is_taken = route is not None and index in route.sources
    is_selector = index in routing.layout.selectors[junction.index]
    if isinstance(junction, FallbackNode) and is_selector and covers(junction.on, error):
        return is_taken and route in junction.routes.values()
    return is_selector or is_taken
