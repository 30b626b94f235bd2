"""From a graph to stages: each node in the first stage after all that it needs.

Gated nodes come after the selectors that decide about them. Where two routers wait for each other's selectors
that is impossible: then the gated nodes are placed early, the frame holds them until they are wanted, and later
stages try them again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import attrs

from cascade.graph.nested import PAUSE_EVERY, Steps, finish
from cascade.graph.nodes import Graph, Junction
from cascade.graph.slots import sources_of
from cascade.model.errors import GraphError
from cascade.model.lazies import LazyResult
from cascade.model.shown.text import counted


@attrs.frozen(eq=False)
class Plan:
    """The order in which a graph runs.

    Attributes:
        graph: The graph.
        levels: For each stage, the indices of its nodes. Routers are in no stage, as nothing is executed for them.
    """

    graph: Graph
    levels: tuple[tuple[int, ...], ...]

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """Node ids, stage by stage."""
        return tuple(tuple(map(self.graph.name, level)) for level in self.levels)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """What notebooks show: a picture of the graph, and the stages as text."""
        from cascade.planning.bundles import bundle  # here, as few programs show plans

        nodes = sum(map(len, self.levels))
        text = f"<Plan of {counted(nodes, 'node')} in {counted(len(self.levels), 'stage')}>"
        return bundle(text, self.graph, include=include, exclude=exclude)


Solver = Callable[[Graph], Plan]


def solve(graph: Graph) -> Plan:
    """The plan with the fewest stages: the longest path to a node decides its stage (Kahn, 1962)."""
    return finish(solve_steps(graph))


def solve_steps(graph: Graph) -> Steps[Plan]:
    """Solve as :func:`solve` does, pausing every few hundred nodes."""
    levels = yield from _levels(graph)
    if levels is None:
        levels = yield from _gated_levels(graph)
    stages: list[tuple[int, ...]] = []
    nothing: list[int] = []
    for number, level in enumerate(levels):
        if level:
            stages.append(tuple(level))
        levels[number] = nothing  # one by one: dropping very many at once takes its time too
        if not number % PAUSE_EVERY:
            yield
    return Plan(graph, tuple(stages))


def _levels(graph: Graph) -> Steps[list[list[int]] | None]:
    """The nodes by the length of the longest path to them; ``None`` if there are routers: those need more.

    Sources have smaller indices, so one pass does, and no level is skipped.
    """
    depths: list[int] = []
    levels: list[list[int]] = []
    for index, sources in enumerate(graph.sources):
        row = graph.rows[index]
        if type(row) is not LazyResult and isinstance(row, Junction):  # most are plain, which is told sooner
            return None
        depth = depths[sources[0]] + 1 if sources else 0
        if len(sources) > PAUSE_EVERY:
            depth = (yield from _deepest(depths, sources)) + 1
        elif len(sources) > 1:
            depth = max([depths[source] for source in sources]) + 1
        depths.append(depth)
        if depth == len(levels):
            levels.append([index])
        else:
            levels[depth].append(index)
        if not index % PAUSE_EVERY:
            yield
    return levels


def _gated_levels(graph: Graph) -> Steps[list[list[int]]]:
    """The nodes by their depth, where nodes behind routes wait for the selectors that decide about them."""
    depths = yield from _gated_depths(graph)
    deepest = max(depths, default=-1)
    levels: list[list[int]] = []
    while len(levels) <= deepest:
        levels.extend([] for _ in range(min(PAUSE_EVERY, deepest + 1 - len(levels))))
        yield
    for index, row in enumerate(graph.rows):
        if not isinstance(row, Junction):
            levels[depths[index]].append(index)
        if not index % PAUSE_EVERY:
            yield
    return levels


def _deepest(depths: Sequence[int], sources: Sequence[int]) -> Steps[int]:
    """The greatest of the depths of very many *sources*."""
    deepest = 0
    for start in range(0, len(sources), PAUSE_EVERY):
        deepest = max(deepest, *[depths[source] for source in sources[start : start + PAUSE_EVERY]])
        yield
    return deepest


def gated_nodes(graph: Graph) -> Steps[bytearray]:
    """For each node, whether it is needed only if routers choose it: every path from it takes a route."""
    gated = bytearray(len(graph.rows))
    selectors = _selectors(graph)
    members = set(graph.members)
    for index in reversed(range(len(graph.rows))):
        if index not in members:
            consumers = graph.consumers[index]
            gated[index] = all(gated[c] or index not in selectors.get(c, (index,)) for c in consumers)
        if not index % PAUSE_EVERY:
            yield
    return gated


def _selectors(graph: Graph) -> dict[int, frozenset[int]]:
    """For each router, the nodes in its selector."""
    routers = (row for row in graph.rows if isinstance(row, Junction))
    return {router.index: frozenset(sources_of(router.selector)) for router in routers}


def _gated_depths(graph: Graph) -> Steps[list[int]]:
    """Depths where nodes behind routes wait for the selectors that decide about them."""
    waits = _Waits(graph, (yield from gated_nodes(graph)), _selectors(graph))
    return (yield from waits.depths())


class _Waits:
    """What waits for what in a graph with routers, as one graph of nodes and openings.

    A node behind routes has an *opening*, numbered after all nodes: the moment from which it is known whether the
    node is needed. It comes after the openings of all that may need the node, and after the selectors of the
    routers that may choose it. Such waits can be circular (two routers, each of which may need the other's
    selector); then an opening in the circle does without, and the run decides when the node is needed.
    """

    def __init__(self, graph: Graph, gated: bytearray, selectors: dict[int, frozenset[int]]) -> None:
        self._graph = graph
        self._gated = gated
        self._selectors = selectors
        self._size = len(graph.rows)

    def depths(self) -> Steps[list[int]]:
        """The stage of each node, and the last stage in it of what a router may give."""
        missing = yield from self._count()
        depths = [-1] * len(missing)
        is_done = bytearray(len(missing))
        ready = [vertex for vertex, count in enumerate(missing) if not count]
        last = len(missing) - 1
        for step in range(len(missing)):
            while not ready:
                if not is_done[last]:
                    ready.append(last)
                last -= 1
            vertex = ready.pop()
            is_done[vertex] = True
            if vertex < self._size:
                depths[vertex] += not isinstance(self._graph.rows[vertex], Junction)
            for follower in self._after(vertex):
                missing[follower] -= 1
                if depths[follower] < depths[vertex]:
                    depths[follower] = depths[vertex]
                if not missing[follower] and not is_done[follower]:
                    ready.append(follower)
            if not step % PAUSE_EVERY:
                yield
        return depths[: self._size]

    def _count(self) -> Steps[list[int]]:
        """For each node and opening, how many it comes after."""
        gated, selectors = self._gated, self._selectors
        missing = [0] * (2 * self._size)
        for index, sources in enumerate(self._graph.sources):
            missing[index] = len(sources) + gated[index]
            if gated[index]:
                consumers = self._graph.consumers[index]
                routers = [c for c in consumers if index not in selectors.get(c, (index,))]
                missing[self._size + index] = sum(gated[c] for c in consumers) + sum(
                    len(selectors[c]) for c in routers
                )
            if not index % PAUSE_EVERY:
                yield
        return missing

    def _after(self, vertex: int) -> Iterator[int]:
        """What comes after a node or opening."""
        if vertex >= self._size:
            index = vertex - self._size
            if self._gated[index]:
                yield index
                yield from self._openings(self._graph.sources[index])
            return
        consumers = self._graph.consumers[vertex]
        yield from consumers
        for router in consumers:
            selector = self._selectors.get(router, ())
            if vertex in selector:
                yield from self._openings(s for s in self._graph.sources[router] if s not in selector)

    def _openings(self, indices: Iterable[int]) -> Iterator[int]:
        return (self._size + index for index in indices if self._gated[index])


def check_plan(plan: Plan) -> None:
    """See that a plan made elsewhere can be run.

    Raises:
        TypeError: If it is none.
        GraphError: If a call is missing, occurs twice, or is not in a later stage than all it needs.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"a solver returns a Plan of the graph, not {plan!r:.100}")
    graph = plan.graph
    stage_of = {index: stage for stage, level in enumerate(plan.levels) for index in level}
    calls = [index for index, row in enumerate(graph.rows) if not isinstance(row, Junction)]
    if sorted(calls) != sorted(index for level in plan.levels for index in level):
        raise GraphError("the solver's plan must have each call of the graph in exactly one stage")
    for node in graph.iterate():
        if isinstance(node, Junction):
            stage_of[node.index] = max((stage_of[source] for source in node.sources), default=-1)
            continue
        for source in node.sources:
            if stage_of[source] >= stage_of[node.index]:
                raise GraphError(
                    f"the solver's plan runs {node.name!r} in stage {stage_of[node.index]}, and "
                    f"{graph.name(source)!r}, which it needs, in {stage_of[source]}"
                )
