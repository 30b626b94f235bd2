"""What running a graph starts from, computed once per graph: who waits for how many, and who is needed anyway."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import attrs

from cascade.graph.nested import PAUSE_EVERY
from cascade.graph.nodes import NO_TERMS, Graph, Junction, MapNode, Node, Operand, sources_of
from cascade.planning.solve import gates


@attrs.frozen(eq=False)
class Layout:
    """The starting position of a frame.

    Attributes:
        pending: For each node, the number of sources it waits for; one more if a router must want it first.
        uses: For each node, the number of consumers that may want its value; being a target counts as one.
        gated: The nodes that are needed only if routers choose them; empty for most graphs.
        selectors: For each router, the distinct nodes in its selector.
        plain: For each node, whether nothing is said about how it is run.
        tails: The nodes whose value is the flow's own: the target, or what a router that is the target may choose.
        calls: Number of nodes that are calls.
    """

    pending: list[int]
    uses: list[int]
    gated: frozenset[int]
    selectors: Mapping[int, frozenset[int]]
    plain: bytearray
    tails: frozenset[int]
    calls: int


def lay_out(graph: Graph) -> Generator[None, None, Layout]:
    """The layout of *graph*; pauses every few hundred nodes."""
    pending: list[int] = []
    uses: list[int] = []
    selectors: dict[int, frozenset[int]] = {}
    plain = bytearray(len(graph.nodes))
    for node, consumers in zip(graph.nodes, graph.consumers, strict=True):
        pending.append(len(node.sources))
        uses.append(len(consumers))
        if isinstance(node, Junction):
            selectors[node.index] = frozenset(sources_of(node.selector))
            pending[-1] = 1
        else:
            plain[node.index] = is_plain(node)
        if not node.index % PAUSE_EVERY:
            yield
    for member in graph.members:
        uses[member] += 1
    gated: frozenset[int] = frozenset()
    if selectors:
        gated = frozenset(index for index, routers in enumerate(gates(graph)) if routers)
        for index in gated:
            pending[index] += index not in selectors
    return Layout(pending, uses, gated, selectors, plain, _tails(graph), len(graph.nodes) - len(selectors))


def _tails(graph: Graph) -> frozenset[int]:
    pending: list[Operand] = [graph.target]
    found = set()
    while pending:
        operand = pending.pop()
        if not isinstance(operand, int) or operand in found:
            continue
        found.add(operand)
        node = graph.nodes[operand]
        if isinstance(node, Junction):
            pending.extend(route.operand for _, route in node.all_routes())
    return frozenset(found)


def is_plain(node: Node) -> bool:
    """Whether an attempt of *node* needs nothing but a place to run.

    No map, policy, condition or order, no process, and no thread that might be left behind.
    """
    task = node.task
    return (
        node.terms is NO_TERMS
        and not isinstance(node, MapNode)
        and not task.abandon_on_cancel
        and task.mode in (None, "thread", "inline")
    )


def certain_nodes(graph: Graph) -> bytearray:
    """For each node, whether it will come to run if nothing fails: no condition, route or skip can prevent it."""
    certain = bytearray(len(graph.nodes))
    gated = gates(graph)
    for node in graph.nodes:
        if isinstance(node, Junction):
            continue
        is_free = not node.terms.conditions and not gated[node.index]
        certain[node.index] = is_free and all(certain[source] for source in node.sources)
    return certain
