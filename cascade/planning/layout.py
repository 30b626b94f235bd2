"""What running a graph starts from, computed once per graph: who waits for how many, and who is needed anyway."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from cascade.graph.nested import PAUSE_EVERY, Steps, finish
from cascade.graph.nodes import NO_TERMS, Graph, Junction, MapNode, Node, sources_of
from cascade.planning.solve import gated_nodes


@attrs.frozen(eq=False)
class Layout:
    """The starting position of a frame.

    Attributes:
        pending: For each node, the number of sources it waits for; one more if a router must want it first.
        uses: For each node, the number of consumers that may want its value; being a target counts as one.
        gated: The nodes that are needed only if routers choose them; empty for most graphs.
        selectors: For each router, the distinct nodes in its selector.
        plain: For each node, whether nothing is said about how it is run.
        tails: The nodes whose value is the flow's own and nobody else's: the target, or what a router that is the
            target may choose.
        calls: Number of nodes that are calls.
    """

    pending: list[int]
    uses: list[int]
    gated: frozenset[int]
    selectors: Mapping[int, frozenset[int]]
    plain: bytearray
    tails: frozenset[int]
    calls: int


def lay_out(graph: Graph) -> Steps[Layout]:
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
        is_gated = yield from gated_nodes(graph)
        gated = frozenset(index for index, is_held in enumerate(is_gated) if is_held)
        for index in gated:
            pending[index] += index not in selectors
    tails = yield from _tails(graph)
    return Layout(pending, uses, gated, selectors, plain, tails, len(graph.nodes) - len(selectors))


def _tails(graph: Graph) -> Steps[frozenset[int]]:
    """The target, and what routers among these give if nothing else gets it: that must have a value itself."""
    pending = [graph.target] if isinstance(graph.target, int) else []
    found = set(pending)
    given: dict[int, set[int]] = {}  # by router
    while pending:
        node = graph.nodes[pending.pop()]
        if isinstance(node, Junction):
            given[node.index] = _only_given(node)
            for source in given[node.index]:
                if all(source in given.get(consumer, ()) for consumer in graph.consumers[source]):
                    found.add(source)
                    pending.append(source)
                    if not len(found) % PAUSE_EVERY:
                        yield
    return frozenset(found)


def _only_given(router: Junction) -> set[int]:
    """The nodes that *router* takes as its value, and does not need for anything else."""
    operands = [route.operand for route in router.routes.values()]
    operands += [] if router.default is None else [router.default.operand]
    given = {operand for operand in operands if isinstance(operand, int)}
    for operand in (router.selector, *(operand for operand in operands if not isinstance(operand, int))):
        given.difference_update(sources_of(operand))
    return given


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
    gated = finish(gated_nodes(graph))
    for node in graph.nodes:
        if isinstance(node, Junction):
            continue
        is_free = not node.terms.conditions and not gated[node.index]
        certain[node.index] = is_free and all(certain[source] for source in node.sources)
    return certain
