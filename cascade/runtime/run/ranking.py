"""How urgent the nodes of a run's flows are, and what the run learns about that for the next one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from cascade.graph.nested import Steps
from cascade.graph.nodes import Graph
from cascade.planning.node_durations import NodeDurations, outline_steps
from cascade.planning.ranks import rank_steps
from cascade.runtime.context.durations import Durations

# Flows of one run whose durations go to its store: a loop may have another flow in each turn.
_MOST_STORED: Final = 16


@attrs.define(eq=False)
class Ranking:
    """Ranks the nodes of flows by how long they are going to take.

    Attributes:
        durations: What this process has seen.
        recorded: What the store of the run has: outline to the packed seconds of its nodes.
    """

    durations: Durations
    recorded: Mapping[bytes, bytes] = attrs.field(factory=dict)
    _used: dict[bytes, NodeDurations] = attrs.field(factory=dict)

    def steps(self, graph: Graph) -> Steps[tuple[list[float], NodeDurations]]:
        """The ranks of the nodes of *graph*, and where to note how long they take."""
        outline = yield from outline_steps(graph)
        known = self.durations.flows.of(outline, len(graph.rows))
        if outline in self.recorded:
            known.recall(self.recorded[outline])
        self._used.pop(outline, None)
        self._used[outline] = known
        if len(self._used) > _MOST_STORED:
            del self._used[next(iter(self._used))]
        ranks = yield from rank_steps(graph, self.durations.means, known.seconds)
        return ranks, known

    def learnt(self) -> dict[bytes, bytes]:
        """What the store is to have: of the flows that were ranked last, those that this process has seen run."""
        return {outline: known.packed() for outline, known in self._used.items() if known.has_learnt}
