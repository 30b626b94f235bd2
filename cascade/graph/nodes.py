"""The graph: calls, and where their arguments come from, by integer index.

A full garbage collection walks all objects that are kept, so a graph keeps few: its nodes are *rows*. The row of
a plain call is the call itself; its sources and consumers stand beside it, in tuples of numbers, which
collections leave out after the first one. A ``Node`` of it is made only when somebody looks: for errors,
pictures, digests and conditions. What runs plain nodes reads the rows. Calls of which something is said, maps and
routers are objects.

A router is a node too (``Junction``), left out of plans and counts, but with edges like others. So nested
routers and routers as targets are one case. So are outcomes and fallbacks: what is tried is their selector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, Final, cast

import attrs

from cascade.graph.slots import Operand, distinct, sources_of
from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult
from cascade.model.policies import CachePolicy, Collect, OnSkip, Retry
from cascade.model.shown.labels import Label
from cascade.model.tasks import Partial, Task
from cascade.model.typed.declared import Input


class EdgeKind(Enum):
    """What one node is to another."""

    DATA = "data"
    CONDITION = "condition"
    AFTER = "sequence"  # as pictures in JSON call it
    CLAIM = "claim"
    SELECTOR = "selector"
    ROUTE = "route"
    OUTCOME = "outcome"  # however the source ends
    FALLBACK = "fallback"
    RACE = "race"


# The task that undoes a call, given the value of the call.
Undo = Task[..., Any] | Partial[Any]


def task_of(undo: Undo) -> Task[..., Any]:
    """The task that *undo* is, or is a partial of."""
    return undo.task if isinstance(undo, Partial) else undo


@attrs.frozen
class Hints:
    """What is said about a node that changes nothing in what it is.

    Attributes:
        cost: Seconds that it is expected to take.
        label: What people call it.
        priority: Whether it goes before others that wait for the same: the highest first.
    """

    cost: float | None = None
    label: Label | None = None
    priority: int = 0


NO_HINTS: Final = Hints()


@attrs.frozen
class Terms:
    """What is said about how a node is run: its own words before the task's defaults.

    Attributes:
        amounts: What it claims: resource name and amount.
        conditions: What must be true.
        after: Nodes that it runs after: they must have succeeded.
        undo: The task that undoes it if the run fails.
        hints: What is no part of what the node is: terms that differ in nothing else are equal.
    """

    retry: Retry | None = None
    timeout: float | None = None
    cache: CachePolicy | None = None
    amounts: tuple[tuple[str, Operand], ...] = ()
    concurrency: int | None = None
    on_skip: OnSkip = "pass"
    errors: Collect | None = None
    conditions: tuple[Operand, ...] = ()
    after: tuple[int, ...] = ()
    undo: Undo | None = None
    hints: Hints = attrs.field(default=NO_HINTS, eq=False)


NO_TERMS: Final = Terms()
Patches = tuple[tuple[Any, Operand], ...]


@attrs.define(eq=False)
class Node:
    """A call in its place in a graph.

    Attributes:
        index: Its number; sources have smaller ones.
        call: The call, with its literal arguments.
        task: What is called.
        positions: Of the positional arguments that are not literal.
        operands: What gives these, in the same order; *sources* itself where it would be the same tuple.
        named: Keyword arguments that are not literal.
        sources: The distinct nodes it waits for, whatever for.
        data: Those among its arguments.
        terms: How it is run.
        ordinal: Counts the nodes of one task name, from 1.
    """

    index: int
    call: LazyResult[Any]
    task: Task[Any, Any]
    positions: tuple[int, ...]
    operands: tuple[Operand, ...]
    named: Patches
    sources: tuple[int, ...]
    data: tuple[int, ...]
    terms: Terms
    ordinal: int

    @property
    def patches(self) -> Patches:
        """Positional arguments that are not literal: position and operand."""
        return tuple(zip(self.positions, self.operands, strict=True))

    @property
    def name(self) -> str:
        """Node id within the graph: the task's name, numbered from the second occurrence on."""
        return numbered(self.task.name, self.ordinal)


def numbered(name: str, ordinal: int) -> str:
    """Id of a node: the name of its task, from the second one on with a number."""
    return name if ordinal == 1 else f"{name}#{ordinal}"


def plain_node(
    index: int, call: LazyResult[Any], operands: tuple[int, ...], sources: tuple[int, ...], ordinal: int
) -> Node:
    """The node of a plain call, or of one that would be if it were not given some call twice."""
    positions = tuple([place for place, value in enumerate(call.args) if type(value) is LazyResult])
    task = cast("Task[Any, Any]", call.task)
    return Node(index, call, task, positions, operands, (), sources, sources, NO_TERMS, ordinal)


@attrs.define(eq=False)
class MapNode(Node):
    """A call per row of its columns.

    Attributes:
        columns: Parameter name to the operand that gives the column.
    """

    columns: tuple[tuple[str, Operand], ...]


@attrs.frozen(eq=False)
class Route:
    """One way a router can take: its value, and the distinct nodes in it."""

    operand: Operand
    sources: tuple[int, ...]


@attrs.define(eq=False)
class Junction:
    """A router in its place: takes the value of the route that its selector names. Nothing is executed for it.

    Attributes:
        selector: Gives the key.
        routes: Key to route.
        default: The route for other keys.
        sources: The distinct nodes in the selector and in all routes.
    """

    index: int
    selector: Operand
    routes: Mapping[Any, Route]
    default: Route | None
    sources: tuple[int, ...]
    ordinal: int

    label: ClassVar[str] = "router"
    # Of the edges from what is looked at first, and from what is chosen then.
    first: ClassVar[EdgeKind] = EdgeKind.SELECTOR
    then: ClassVar[EdgeKind] = EdgeKind.ROUTE

    @property
    def name(self) -> str:
        """Id within the graph."""
        return numbered(self.label, self.ordinal)

    def all_routes(self) -> Iterator[tuple[str, Route]]:
        """Every route with a short text for its key."""
        for key, route in self.routes.items():
            yield f"{key!r:.40}", route
        if self.default is not None:
            yield "default", self.default


@attrs.define(eq=False)
class OutcomeNode(Junction):
    """Takes how its selector ends as its value. It has no routes.

    Attributes:
        by_item: Whether the selector is a map, and the value a column: how each of its items ends.
    """

    by_item: bool = False

    label: ClassVar[str] = "settled"
    first: ClassVar[EdgeKind] = EdgeKind.OUTCOME


@attrs.define(eq=False)
class FallbackNode(Junction):
    """Takes the value of its selector, or of its only route if that fails.

    Attributes:
        on: The errors after which it takes the route.
    """

    on: tuple[type[BaseException], ...] = (Exception,)

    label: ClassVar[str] = "or_else"
    first: ClassVar[EdgeKind] = EdgeKind.OUTCOME
    then: ClassVar[EdgeKind] = EdgeKind.FALLBACK


@attrs.define(eq=False)
class RaceNode(Junction):
    """Takes the value of that node in its selector which succeeds first. It has no routes."""

    label: ClassVar[str] = "race"
    first: ClassVar[EdgeKind] = EdgeKind.RACE


# What takes how others end.
HANDLERS: Final = (OutcomeNode, FallbackNode, RaceNode)
AnyNode = Node | Junction
# What is kept of a node. Most calls are plain: nothing is said of them, and their arguments are leaves and, by
# position, such calls, each once. Of these there is nothing to keep but the call: an object for each node would
# cost more in garbage collections than all else that is done for it.
Row = LazyResult[Any] | Node | Junction


@attrs.frozen
class Edge:
    """*target* needs *source*; ``label`` is a parameter, a resource or a route key."""

    source: int
    target: int
    kind: EdgeKind
    label: str = ""


@attrs.define(eq=False)
class Graph:
    """A flow as nodes in an order in which sources come first.

    Attributes:
        rows: What is kept of each node: a plain call, or the node itself.
        sources: For each node, the distinct nodes that it waits for, whatever for; of a plain call these are the
            calls among its arguments, in their order.
        ordinals: For each node its number among those of one task name, from 1.
        consumers: For each node, the distinct nodes that need it.
        target: What the run returns.
        members: The distinct nodes in the target, each judged as a target of its own.
        inputs: The Params and Envs, by key.
        injections: Names of injected resources, each with the name of a node that injects it.
        counts: How many nodes there are by task name; routers and their like count by their label.
    """

    rows: list[Row]
    sources: list[tuple[int, ...]]
    ordinals: Sequence[int]
    consumers: list[Sequence[int]]
    target: Operand
    members: tuple[int, ...]
    inputs: dict[str, Input[Any]]
    injections: dict[str, str]
    counts: Mapping[str, int] = attrs.field(factory=dict)
    _nodes: list[AnyNode] | None = attrs.field(default=None, init=False, repr=False)

    @property
    def nodes(self) -> list[AnyNode]:
        """Calls and junctions. Those of plain calls are made when somebody asks, and kept from then on."""
        if self._nodes is None:
            self._nodes = [*self.iterate()]
        return self._nodes

    def iterate(self) -> Iterator[AnyNode]:
        """The nodes; those that are made for it are not kept."""
        return map(self.node, range(len(self.rows)))

    def node(self, index: int) -> AnyNode:
        """The node *index*."""
        row = self.rows[index]
        if type(row) is not LazyResult:
            return cast("AnyNode", row)
        if self._nodes is not None:
            return self._nodes[index]
        sources = self.sources[index]
        return plain_node(index, row, sources, sources, self.ordinals[index])

    def task(self, index: int) -> Callee:
        """What the call *index* calls."""
        row = self.rows[index]
        assert not isinstance(row, Junction)
        return row.task

    def name(self, index: int) -> str:
        """Id of the node *index* within the graph."""
        row = self.rows[index]
        return numbered(row.label if isinstance(row, Junction) else row.task.name, self.ordinals[index])

    def calls(self) -> Iterator[Node]:
        """The nodes that stand for calls."""
        return (node for node in self.nodes if isinstance(node, Node))

    def edges(self) -> Iterator[Edge]:
        """All edges, grouped by target."""
        for node in self.iterate():
            yield from edges_to(node)


def edges_to(node: AnyNode) -> Iterator[Edge]:
    """The edges to *node*."""
    return _junction_edges(node) if isinstance(node, Junction) else _call_edges(node)


def _edges(operand: Operand, target: int, kind: EdgeKind, label: str = "") -> Iterator[Edge]:
    return (Edge(source, target, kind, label) for source in distinct(sources_of(operand)))


def _call_edges(node: Node) -> Iterator[Edge]:
    for position, operand in node.patches:
        yield from _edges(operand, node.index, EdgeKind.DATA, node.task.arity.name_of(position))
    for name, operand in (*node.named, *(node.columns if isinstance(node, MapNode) else ())):
        yield from _edges(operand, node.index, EdgeKind.DATA, name)
    for name, operand in node.terms.amounts:
        yield from _edges(operand, node.index, EdgeKind.CLAIM, name)
    for operand in node.terms.conditions:
        yield from _edges(operand, node.index, EdgeKind.CONDITION)
    for source in node.terms.after:
        yield Edge(source, node.index, EdgeKind.AFTER)


def _junction_edges(junction: Junction) -> Iterator[Edge]:
    yield from _edges(junction.selector, junction.index, junction.first)
    for label, route in junction.all_routes():
        kind = junction.then
        yield from _edges(route.operand, junction.index, kind, label if kind is EdgeKind.ROUTE else "")
