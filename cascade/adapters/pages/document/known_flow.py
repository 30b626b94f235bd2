"""What pages know of a flow: from the flow itself, or from what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

import attrs

from cascade.graph.nodes import Graph, Junction
from cascade.graph.pictures.sketch import Sketch, fitting, sketch_of, sources_in


@attrs.frozen(eq=False)
class KnownFlow:
    """A flow, without its calls.

    Attributes:
        sources: For each node, the nodes that it needs, by number. Sources have smaller numbers. Empty if only
            the tasks are known.
        name: The id of a node.
        task: Name of the task of a node; ``None`` for a router and its like, for which nothing runs.
        task_names: The tasks.
        sketch: Makes what a picture shows.
    """

    sources: Sequence[Sequence[int]]
    name: Callable[[int], str]
    task: Callable[[int], str | None]
    task_names: Collection[str]
    sketch: Callable[[], Sketch]


def flow_of_graph(graph: Graph) -> KnownFlow:
    """The flow *graph*."""

    def task(index: int) -> str | None:
        return None if isinstance(graph.rows[index], Junction) else graph.task(index).name

    return KnownFlow(graph.sources, graph.name, task, graph.counts, partial(sketch_of, graph))


def flow_of_outline(outline: Sketch) -> KnownFlow:
    """The flow that was recorded as *outline*."""
    vertices = outline.vertices

    def task(index: int) -> str | None:
        return vertices[index].task if vertices[index].kind in ("call", "map", "signal") else None

    names = {vertex.task or vertex.key for vertex in vertices}
    return KnownFlow(
        sources_in(outline), lambda index: vertices[index].key, task, names, partial(fitting, outline)
    )
