"""Flows, plans and runs as notebooks show them: a picture where one can be drawn, and text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

from cascade.graph.build import build
from cascade.graph.nested import finish
from cascade.graph.nodes import Graph
from cascade.graph.pictures.layered import laid_out
from cascade.graph.pictures.render import render
from cascade.graph.pictures.sketch import Sketch, sketch_of, task_names
from cascade.graph.pictures.states import MARKS, State, state_of
from cascade.graph.pictures.svg import as_svg
from cascade.model.shown.secrets import redacted

# Nodes of a graph that Mermaid, which lays it out in the browser, is given; larger ones are SVG only.
MOST_MERMAID: Final = 100
MERMAID: Final = "text/vnd.mermaid"

Bundle = dict[str, str]


def bundle_of_flow(
    flow: Any, include: Collection[str] | None = None, exclude: Collection[str] | None = None
) -> Bundle:
    """*flow* as text and as a picture; one that makes no sense as text only.

    Args:
        flow: A lazy, or what else stands for a value.
        include: The formats that are asked for. ``None`` (default): all.
        exclude: Formats that are not wanted. ``None`` (default): none.
    """
    try:
        graph: Graph | None = build(flow)
    except Exception:  # whoever runs it is told; a cell that shows it should show something
        graph = None
    return bundle(repr(flow), graph, include=include, exclude=exclude)


def bundle(
    text: str,
    graph: Graph | None,
    states: Mapping[str, str] | None = None,
    *,
    include: Collection[str] | None = None,
    exclude: Collection[str] | None = None,
) -> Bundle:
    """*text* and pictures of *graph*, of bounded size.

    Args:
        text: What is shown where pictures cannot be.
        graph: What is drawn. ``None``: nothing.
        states: How nodes are, by id: ``"running"`` and so on. Mermaid, which cannot say it, is left out then.
        include: The formats that are asked for. ``None`` (default): all.
        exclude: Formats that are not wanted. ``None`` (default): none.
    """
    found = {"text/plain": text}
    if graph is not None and graph.rows:
        sketch = sketch_of(graph)
        found["image/svg+xml"] = as_svg(laid_out(sketch), _said(graph, sketch, states or {}))
        if states is None and len(graph.rows) <= MOST_MERMAID:
            found[MERMAID] = render(graph, (), "mermaid")
    return {
        kind: redacted(shown)
        for kind, shown in found.items()
        if (include is None or kind in include) and (exclude is None or kind not in exclude)
    }


def _said(graph: Graph, sketch: Sketch, states: Mapping[str, str]) -> dict[str, State]:
    """What is said of each box. One that stands for the nodes of a task tells how many there are of each kind."""
    known = {node_id: status for node_id, status in states.items() if status in MARKS}
    if not sketch.is_grouped:
        return {node_id: State(status, MARKS[status]) for node_id, status in known.items()}
    counts: dict[str, Counter[str]] = {}
    for index, task in enumerate(finish(task_names(graph))):
        status = known.get(graph.name(index))
        if status is not None:
            counts.setdefault(task, Counter())[status] += 1
    return {task: state_of(numbers) for task, numbers in counts.items()}
