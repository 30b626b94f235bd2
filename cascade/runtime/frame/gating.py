"""Which nodes behind routes are wanted, and which are pruned.

A node is *gated* if only routes lead to it: it is needed only if a router chooses it, or something chosen that
needs it. All other nodes are needed anyway.

=========  ========  =================  =============================================
gated      wanted    may be used by     what becomes of it, as long as it has not begun
=========  ========  =================  =============================================
no         (always)  whoever            it starts when all its sources have settled
yes        no        somebody           it waits
yes        no        nobody any more    it is pruned, with what only it needed
yes        yes       whoever            it starts when all its sources have settled
(either)   yes       nobody any more    it has lost a race: it is pruned, or cancelled if it has begun
=========  ========  =================  =============================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import attrs

from cascade.graph.nodes import Graph
from cascade.model.outcomes import Status
from cascade.model.skip_reasons import SkipReason
from cascade.planning.layout import Layout
from cascade.runtime.frame.demand import Demand
from cascade.runtime.frame.gaps import Gaps
from cascade.runtime.frame.readiness import Readiness


@attrs.define(eq=False)
class Gating:
    """Wants and prunes the nodes of a frame that are behind routes.

    Attributes:
        graph: What is run.
        layout: Its starting position.
        gaps: Where pruned nodes are noted.
        demand: Who may still want a node, begun or not.
        readiness: Where nodes are counted down when they are wanted.
        held: The nodes that a router counts as a consumer of at present.
        wanted: The gated nodes that are needed.
    """

    graph: Graph
    layout: Layout
    gaps: Gaps
    demand: Demand
    readiness: Readiness
    held: Callable[[int], Iterable[int]]
    wanted: set[int] = attrs.field(factory=set)

    def has_settled(self, index: int) -> bool:
        """Whether the node's outcome is known."""
        return self.gaps.status[index] > Status.RUNNING

    def is_wanted(self, index: int) -> bool:
        """Whether the node is needed."""
        return index not in self.layout.gated or index in self.wanted

    def want(self, sources: Iterable[int]) -> list[int]:
        """A router has chosen *sources*: they are needed, with all that they need; returns routers among these."""
        routers: list[int] = []
        agenda = deque(sources)
        while agenda:
            index = agenda.popleft()
            if self.is_wanted(index) or self.has_settled(index):
                continue
            self.wanted.add(index)
            if index in self.layout.selectors:
                agenda.extend(self.layout.selectors[index])
                routers.append(index)
            else:
                agenda.extend(self.graph.sources[index])
                self.readiness.count_down(index)
        return routers

    def release(self, sources: Iterable[int]) -> None:
        """A router needs *sources* no longer: values that nobody needs are dropped, nodes pruned or cancelled."""
        for source in sources:
            agenda = deque([source])
            while agenda:
                index = agenda.popleft()
                if self._is_pruned_by_losing_one(index):
                    is_router = index in self.layout.selectors
                    agenda.extend(self.held(index) if is_router else self.graph.sources[index])

    def _is_pruned_by_losing_one(self, index: int) -> bool:
        """The node loses a consumer; returns whether it is pruned, so that its own sources lose one."""
        uses = self.demand.uses
        uses[index] -= 1
        if uses[index]:
            return False
        if self.has_settled(index):
            self.demand.drop(index)
            return False
        if self.gaps.status[index] != Status.PENDING:  # it has begun, or is about to
            self.readiness.news.lost.append(index)
            return False
        self.gaps.skip(index, SkipReason.PRUNED)
        if index not in self.layout.selectors:
            self.readiness.unsettled -= 1
            self.readiness.news.pruned.append(index)
        return True
