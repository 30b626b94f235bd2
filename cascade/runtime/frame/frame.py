"""One turn's slots: where every node of a graph stands, and what it gave.

A frame changes only in synchronous steps. Settling a node wakes those that waited for it, releases what nobody
needs any more, lets routers choose, and prunes what they did not choose; what follows from it (events, launches)
is left for the caller in the news of its ``readiness``.

One counter for each node says how many consumers may still want it. It does three jobs: at zero the value is
dropped, a node that has not begun is pruned at zero, and being a target counts as a consumer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs

from cascade.graph.nested import PAUSE_EVERY
from cascade.graph.nodes import Graph, Junction, Node, Row
from cascade.model.inputs import Inject
from cascade.model.outcomes import Failed, Status
from cascade.model.skip_reasons import SkipReason
from cascade.planning.layout import Layout
from cascade.runtime.foundation.replay import for_several
from cascade.runtime.frame.demand import Demand
from cascade.runtime.frame.gaps import Gaps
from cascade.runtime.frame.handling import Handling
from cascade.runtime.frame.readiness import Readiness
from cascade.runtime.frame.routing import Routing
from cascade.runtime.frame.turn import Turn

# The id of the node that raised an error, and the number of attempts that it made.
Origin = tuple[str, int]
# A call that has succeeded: its number, its value, when it began and ended, on the loop's clock, and where it ran,
# in words. The times are 0 if nobody is told, and the last is ``None`` where that is not known.
Ended = tuple[int, Any, float, float, str | None]


@attrs.define(eq=False)
class Frame:
    """The slots of one turn.

    Attributes:
        graph: What is run.
        layout: Its starting position.
        inputs: The resolved Params and Envs, by key.
        prefix: What stands before the node ids of this frame.
        values: By node, what it gave, or what passes through it when skipped.
        status: By node, where it is in its life.
        gaps: Which nodes have no value of their own, and why.
        demand: Whose value is still needed.
        readiness: Who waits for how many, and what has come of it.
        routing: Has the routers choose; ``None`` if there are none.
        turn: What the frame is in its run.
        is_map: Whether all its nodes are wanted, each as an item of a list.
    """

    graph: Graph
    layout: Layout
    inputs: Mapping[str, Any]
    prefix: str
    values: list[Any]
    status: bytearray
    gaps: Gaps
    demand: Demand
    readiness: Readiness
    routing: Routing | None
    turn: Turn = attrs.field(factory=Turn)

    is_map: ClassVar[bool] = False

    @classmethod
    def begin(cls, graph: Graph, layout: Layout, inputs: Mapping[str, Any], prefix: str) -> Self:
        """A frame of *graph* in which nothing has happened; its first ready nodes are in the news."""
        size = len(graph.rows)
        values: list[Any] = [None] * size
        status = bytearray(size)
        gaps, demand = Gaps(status), Demand(values, layout.uses.copy())
        readiness = Readiness(status, layout.pending.copy(), layout.calls)
        readiness.news.ready.extend(layout.ready)
        routing = None
        if layout.selectors:
            routing = Routing(graph, layout, inputs, prefix, gaps, demand, readiness)
        return cls(graph, layout, inputs, prefix, values, status, gaps, demand, readiness, routing)

    def injected(self, name: str) -> Any:
        """The placeholder: resources are not in the frame, each node adds those that it sees."""
        return Inject(name)

    def name(self, index: int) -> str:
        """The node's id."""
        return self.prefix + self.graph.name(index)

    def label(self, index: int) -> str | None:
        """What people call the node, if they have given it a name."""
        row = self.graph.rows[index]
        return (
            row.terms.hints.label.text() if isinstance(row, Node) and row.terms.hints.label is not None else None
        )

    def origin(self, index: int) -> tuple[Graph, Row]:
        """Where the node stands in a flow, and what is said of it there."""
        return self.graph, self.graph.rows[index]

    def find(self, node_id: str) -> int | None:
        """The number of the call with that id; ``None`` if there is none. Takes a scan."""
        name = node_id.removeprefix(self.prefix)
        rows = enumerate(self.graph.rows)
        calls = (index for index, row in rows if not isinstance(row, Junction) and name.startswith(row.task.name))
        return next((index for index in calls if self.graph.name(index) == name), None)

    def digest(self, index: int) -> bytes | None:
        """The node's content, if records are compared by it."""
        digests = self.turn.digests
        return None if digests is None else digests[index]

    @property
    def handling(self) -> Handling:
        """Says which of its failures are handled."""
        return Handling(self.graph, self.layout, self.gaps, self.routing, self.turn)

    def has_settled(self, index: int) -> bool:
        """Whether the node's outcome is known."""
        return self.status[index] > Status.RUNNING

    def succeed(self, index: int, value: Any) -> None:
        """Record the value of a call."""
        self.status[index] = Status.SUCCEEDED
        # As Demand.keep does; each node comes by here, and a call would cost it.
        self.values[index] = value if self.demand.uses[index] < 2 else for_several(value)
        self._follow_up((index,))

    def succeed_all(self, ended: Sequence[Ended]) -> None:
        """Record the values of calls, in the order in which they have ended."""
        status, values, uses = self.status, self.values, self.demand.uses
        for index, value, _, _, _ in ended:
            status[index] = Status.SUCCEEDED
            values[index] = value if uses[index] < 2 else for_several(value)
        self._follow_up([one[0] for one in ended])

    def skip(self, index: int, reason: SkipReason, passed: tuple[Any] | None) -> None:
        """Record that a call is skipped; its consumers get the value in *passed*, if any, in its place."""
        self.gaps.skip(index, reason, gives_value=passed is not None)
        if passed is not None:
            self.demand.keep(index, passed[0])
        self._follow_up((index,))

    def fail(self, index: int, error: BaseException | None, origin: Origin | None = None) -> None:
        """Record that a call failed, or (without an error) was cancelled.

        Args:
            index: The call.
            error: The error.
            origin: The node that raised it, if it was another one, and its attempts.
        """
        task_id, attempts = origin or (self.name(index), 0)
        place = index if self.is_map else None
        self.gaps.fail(index, None if error is None else Failed(error, task_id, attempts, place))
        self._follow_up((index,))

    def _follow_up(self, indices: Sequence[int]) -> None:
        """Calls have settled: what they used may be let go of, and whoever waits for them waits for less."""
        readiness, graph, demand, routing = self.readiness, self.graph, self.demand, self.routing
        readiness.unsettled -= len(indices)
        sources_of, consumers_of, pending = graph.sources, graph.consumers, readiness.pending
        ready = readiness.news.ready if readiness.stage is None else None
        for index in indices:
            sources = sources_of[index]
            if len(sources) > PAUSE_EVERY:
                demand.backlog.append(iter(sources))
            elif sources:
                demand.let_go(sources)
            if routing is not None:
                routing.go_on_from(index)
                continue
            for consumer in consumers_of[index]:
                pending[consumer] -= 1
                if ready is not None and not pending[consumer]:
                    ready.append(consumer)
