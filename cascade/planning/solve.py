"""From a graph to stages: each node in the first stage after all that it needs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from heapq import heappop, heappush
from typing import Final, cast

import attrs

from cascade.graph.nested import PAUSE_EVERY
from cascade.graph.nodes import Graph, Junction, Node, distinct, sources_of
from cascade.model.errors import GraphError

_OPEN: Final[frozenset[int]] = frozenset()


@attrs.frozen(eq=False)
class Plan:
    """The order in which a graph is run.

    Attributes:
        graph: What is run.
        levels: For each stage, the indices of its nodes; routers are in none, nothing is executed for them.
    """

    graph: Graph
    levels: tuple[tuple[int, ...], ...]

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """Node ids, stage by stage."""
        nodes = self.graph.nodes
        return tuple(tuple(nodes[index].name for index in level) for level in self.levels)


Solver = Callable[[Graph], Plan]


def solve(graph: Graph) -> Plan:
    """The plan with the fewest stages: the longest path to a node decides its stage (Kahn, 1962)."""
    steps = solve_steps(graph)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return cast("Plan", stop.value)


def solve_steps(graph: Graph) -> Generator[None, None, Plan]:
    """Solve as :func:`solve` does, pausing every few hundred nodes."""
    if any(isinstance(node, Junction) for node in graph.nodes):
        depths = yield from _gated_depths(graph)
    else:
        depths = yield from _depths(graph)
    levels: list[list[int]] = [[] for _ in range(max(depths, default=-1) + 1)]
    for node in graph.nodes:
        if isinstance(node, Node):
            levels[depths[node.index]].append(node.index)
        if not node.index % PAUSE_EVERY:
            yield
    return Plan(graph, tuple(tuple(level) for level in levels if level))


def _depths(graph: Graph) -> Generator[None, None, list[int]]:
    """Length of the longest path to each node; sources have smaller indices, so one pass does."""
    depths: list[int] = []
    for node in graph.nodes:
        sources = node.sources
        if len(sources) == 1:
            depths.append(depths[sources[0]] + 1)
        else:
            depths.append(max([depths[source] for source in sources], default=-1) + 1)
        if not node.index % PAUSE_EVERY:
            yield
    return depths


def gates(graph: Graph) -> list[frozenset[int]]:
    """For each node, the routers that decide whether it is needed; none, if it is needed anyway.

    A node is needed anyway if some path from it to the target uses no route.
    """
    members = set(graph.members)
    found = [_OPEN] * len(graph.nodes)
    for node in reversed(graph.nodes):
        if node.index in members:
            continue
        paths = [_gates_through(graph, consumer, node.index, found) for consumer in graph.consumers[node.index]]
        if all(paths):
            found[node.index] = frozenset().union(*paths)
    return found


def _gates_through(graph: Graph, consumer: int, index: int, found: list[frozenset[int]]) -> frozenset[int]:
    node = graph.nodes[consumer]
    if isinstance(node, Junction) and index not in sources_of(node.selector):
        return found[consumer] | {consumer}
    return found[consumer]


def _gated_depths(graph: Graph) -> Generator[None, None, list[int]]:
    """Depths where routes wait for their selectors.

    Such waits can be circular (two routers, each of which may need the other's selector); what is left in the
    circle then starts without waiting, and the run decides when it is needed.
    """
    waits = _selector_waits(graph)
    followers: dict[int, list[int]] = {}
    for index, selectors in waits.items():
        for selector in selectors:
            followers.setdefault(selector, []).append(index)
    hard = [len(node.sources) for node in graph.nodes]
    soft = [len(waits.get(node.index, ())) for node in graph.nodes]
    depths = [-1] * len(graph.nodes)
    is_done = bytearray(len(graph.nodes))
    ready = [node.index for node in graph.nodes if not hard[node.index] and not soft[node.index]]
    held = [node.index for node in graph.nodes if not hard[node.index] and soft[node.index]]
    while ready or held:
        index = heappop(ready) if ready else heappop(held)
        if is_done[index]:
            continue
        is_done[index] = True
        depths[index] += isinstance(graph.nodes[index], Node)
        if not index % PAUSE_EVERY:
            yield
        for follower, counts in _after(graph, followers, index, hard, soft):
            counts[follower] -= 1
            depths[follower] = max(depths[follower], depths[index])
            if not hard[follower]:
                heappush(held if soft[follower] else ready, follower)
    return depths


def _after(
    graph: Graph, followers: dict[int, list[int]], index: int, hard: list[int], soft: list[int]
) -> Iterable[tuple[int, list[int]]]:
    for consumer in graph.consumers[index]:
        yield consumer, hard
    for follower in followers.get(index, ()):
        yield follower, soft


def _selector_waits(graph: Graph) -> dict[int, tuple[int, ...]]:
    """For each node behind routes, the selectors that it waits for."""
    waits = {}
    for index, routers in enumerate(gates(graph)):
        selectors = distinct(
            [
                s
                for r in sorted(routers)
                for s in sources_of(cast("Junction", graph.nodes[r]).selector)
                if s != index
            ]
        )
        if selectors:
            waits[index] = selectors
    return waits


def check_plan(plan: Plan) -> None:
    """See that a plan made elsewhere can be run.

    Raises:
        GraphError: If a call is missing, occurs twice, or is not in a later stage than all it needs.
    """
    graph = plan.graph
    stage_of = {index: stage for stage, level in enumerate(plan.levels) for index in level}
    calls = [node.index for node in graph.calls()]
    if sorted(calls) != sorted(index for level in plan.levels for index in level):
        raise GraphError("the solver's plan must have each call of the graph in exactly one stage")
    for node in graph.nodes:
        if isinstance(node, Junction):
            stage_of[node.index] = max((stage_of[source] for source in node.sources), default=-1)
            continue
        for source in node.sources:
            if stage_of[source] >= stage_of[node.index]:
                raise GraphError(
                    f"the solver's plan runs {node.name!r} in stage {stage_of[node.index]}, and "
                    f"{graph.nodes[source].name!r}, which it needs, in {stage_of[source]}"
                )
