"""Which values may stay on the cluster: those that only other remote calls want, as arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import attrs

from cascade.graph.nested.kinds import Kind
from cascade.graph.nodes import MapNode, Node
from cascade.graph.slots import Nested, Operand, sources_of
from cascade.model.lazies import LazyResult
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.frame.frame import Frame
from cascade.runtime.observation.outcome_stream import NodeSettled

# Containers that do not care what is in them. Sets and records look at what they are given.
_CARELESS = (Kind.LIST, Kind.TUPLE, Kind.DICT)


@attrs.define(eq=False)
class Keeping:
    """Says which values of one frame may stay.

    Attributes:
        run_context: The run.
        frame: Whose values they are.
        items: Of the items of a map, whether their values may stay.
    """

    run_context: RunContext
    frame: Frame
    items: bool = False
    _known: dict[int, bool] = attrs.field(factory=dict)

    def may_stay(self, index: int) -> bool:
        """Whether the value of a node may stay, as all who want it can take it there."""
        if self.run_context.events.wants(NodeSettled):
            return False  # somebody here is given the values themselves
        if self.frame.is_map:
            return self.items
        known = self._known.get(index)
        if known is None:
            known = self._known[index] = self._find(index)
        return known

    def _find(self, index: int) -> bool:
        run_context, graph = self.run_context, self.frame.graph
        goes, settings = run_context.shared.goes, run_context.settings
        if goes is None or settings.strict_state or settings.on_error == "continue":
            return False  # everything that is recorded, or may be shown in the end, has to be here
        if index in graph.members or index in self.frame.layout.tails or not graph.consumers[index]:
            return False
        row = graph.rows[index]
        if isinstance(row, Node) and (row.terms.cache or row.terms.undo or row.terms.errors):
            return False
        return all(self._takes(consumer, index) for consumer in graph.consumers[index])

    def _takes(self, consumer: int, index: int) -> bool:
        """Whether a consumer runs there, and has the value among its arguments and nowhere else."""
        graph, goes = self.frame.graph, self.run_context.shared.goes
        row = graph.rows[consumer]
        if goes is None or consumer in self.frame.layout.injecting:
            return False
        if type(row) is LazyResult:
            return goes(row.task)
        if not isinstance(row, Node) or not goes(row.task):
            return False
        terms = row.terms
        if terms.conditions or terms.after or terms.amounts or terms.cache:
            return False  # it looks at the value; or it may be skipped, and hand the value on to anybody
        is_cut = isinstance(row, MapNode) and not isinstance(graph.rows[index], MapNode)
        if is_cut and any(index in sources_of(column) for _, column in cast("MapNode", row).columns):
            return False  # into items, here
        return all(_is_careless(operand) for operand in _operands(row) if index in sources_of(operand))


def _operands(node: Node) -> Iterator[Operand]:
    yield from node.operands
    yield from (operand for _, operand in node.named)
    if isinstance(node, MapNode):
        yield from (operand for _, operand in node.columns)


def _is_careless(operand: Operand) -> bool:
    """Whether anything may stand in the place of the nodes in *operand*."""
    pending = [operand]
    while pending:
        operand = pending.pop()
        if isinstance(operand, Nested):
            if any(step.kind not in _CARELESS for step in operand.template.steps):
                return False
            pending.extend(operand.operands)
    return True
