"""What a picture shows of a graph: its nodes, or, where these are too many, a box for each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import attrs

from cascade.graph.nodes import (
    AnyNode,
    EdgeKind,
    FallbackNode,
    Graph,
    Junction,
    MapNode,
    OutcomeNode,
    RaceNode,
)
from cascade.graph.pictures.titles import inscription_of, is_signal, name_given, priority_of, undo_name
from cascade.model.shown.text import counted, one_line

# Boxes and arrows of a picture, at most.
MOST_BOXES: Final = 400
MOST_ARROWS: Final = 1500
Kind = Literal["call", "map", "signal", "router", "settled", "or_else", "race", "group", "rest"]
_KINDS: Final[dict[type, Kind]] = {
    MapNode: "map", Junction: "router", OutcomeNode: "settled", FallbackNode: "or_else", RaceNode: "race",
}  # fmt: skip
# The key of the box for the tasks that have none of their own; no task is called so.
REST: Final = "..."


@attrs.frozen
class Vertex:
    """A box of a picture.

    Attributes:
        key: Id of the node; of a group, the name of its task.
        title: What is written in the box.
        note: What is written below that; may be empty.
        kind: What it stands for: a call, a map, a signal, one of the routers and their like, all nodes of one task
            (``"group"``), or all tasks that have no box of their own (``"rest"``).
        size: Number of nodes that it stands for.
    """

    key: str
    title: str
    note: str
    kind: Kind
    size: int = 1


@attrs.frozen
class Arrow:
    """*target* needs *source*, by their places among the vertices; *source* is the smaller one.

    Attributes:
        label: What is written on it; may be empty.
        style: ``"solid"``, ``"dashed"`` (it may not be followed) or ``"bold"`` (only the order matters).
        is_back: Whether it is *source* that needs *target*, which happens between groups.
    """

    source: int
    target: int
    label: str = ""
    style: Literal["solid", "dashed", "bold"] = "solid"
    is_back: bool = False


@attrs.frozen(eq=False)
class Sketch:
    """The boxes and arrows of a picture; where they stand is decided later.

    Attributes:
        vertices: The boxes. Each comes after those that it needs, where that can be.
        arrows: At most one for each pair of boxes.
        nodes: Number of nodes of the graph.
        is_grouped: Whether a box stands for all nodes of a task.
        arrows_left_out: Number of arrows that would have been too many.
        task_boxes: Of a grouped picture, the box of each task by its name.
    """

    vertices: tuple[Vertex, ...]
    arrows: tuple[Arrow, ...]
    nodes: int
    is_grouped: bool = False
    arrows_left_out: int = 0
    task_boxes: Mapping[str, str] = attrs.field(factory=dict)


def sketch_of(graph: Graph, most: int = MOST_BOXES) -> Sketch:
    """What is shown of *graph*: each node, if there are at most *most*; otherwise each task."""
    if len(graph.rows) <= most:
        arrows = _arrows(graph)
        if len(arrows) <= MOST_ARROWS:
            return Sketch(tuple(map(_vertex, graph.iterate())), arrows, len(graph.rows))
    return _grouped(graph, most)


def _vertex(node: AnyNode) -> Vertex:
    kind: Kind = "signal" if is_signal(node) else _KINDS.get(type(node), "call")
    said: list[str] = [kind] if kind in ("map", "signal") else []
    said += [] if (label := name_given(node)) is None else [label]
    said += [] if (task := undo_name(node)) is None else [f"undo: {task}"]
    said += [f"priority {urgency}"] if (urgency := priority_of(node)) else []
    return Vertex(node.name, one_line(node.name), one_line(", ".join(said)), kind)


def _arrows(graph: Graph) -> tuple[Arrow, ...]:
    found: dict[tuple[int, int], Arrow] = {}
    for edge in graph.edges():
        pair = edge.source, edge.target
        label, style = one_line(inscription_of(edge)), _style(edge.kind)
        known = found.get(pair)
        if known is None:
            found[pair] = Arrow(*pair, label, style)
        elif label and label not in known.label.split(", "):
            found[pair] = attrs.evolve(known, label=f"{known.label}, {label}" if known.label else label)
    return tuple(found.values())


def _style(kind: EdgeKind) -> Literal["solid", "dashed", "bold"]:
    match kind:
        case EdgeKind.CONDITION | EdgeKind.CLAIM | EdgeKind.ROUTE | EdgeKind.FALLBACK:
            return "dashed"
        case EdgeKind.AFTER:
            return "bold"
        case _:
            return "solid"


# -- groups ------------------------------------------------------------------------------------------------------


def _grouped(graph: Graph, most: int) -> Sketch:
    """The tasks of *graph*, in the order in which they occur; the rarest share a box if they are too many."""
    names = [row.label if isinstance(row, Junction) else row.task.name for row in graph.rows]
    sizes = dict.fromkeys(names, 0)
    for name in names:
        sizes[name] += 1
    shown = sizes
    if len(sizes) > most:
        common = set(sorted(sizes, key=lambda name: -sizes[name])[: most - 1])
        shown = {name: size for name, size in sizes.items() if name in common}
    boxes = {name: name for name in shown}
    vertices = [_group(name, size) for name, size in shown.items()]
    places = {name: place for place, name in enumerate(shown)}
    if len(shown) < len(sizes):
        left = sum(sizes.values()) - sum(shown.values())
        title = f"{len(sizes) - len(shown)} more tasks"
        vertices.append(Vertex(REST, title, counted(left, "node"), "rest", left))
    rest = len(shown)
    groups = [places.get(name, rest) for name in names]
    pairs = dict.fromkeys(
        (groups[source], group) for group, sources in zip(groups, graph.sources, strict=True) for source in sources
    )
    arrows = _between_groups(pairs)
    left_out = max(len(arrows) - MOST_ARROWS, 0)
    return Sketch(tuple(vertices), arrows[:MOST_ARROWS], len(graph.rows), True, left_out, boxes)


def _group(name: str, size: int) -> Vertex:
    return Vertex(name, one_line(name), counted(size, "node"), "group", size)


def _between_groups(pairs: Iterable[tuple[int, int]]) -> tuple[Arrow, ...]:
    """Arrows from what comes first to what comes later; within a group there is none."""
    found: dict[tuple[int, int], Arrow] = {}
    for source, target in pairs:
        if source != target:
            pair = min(source, target), max(source, target)
            is_back = source > target
            if pair not in found or (found[pair].is_back and not is_back):
                found[pair] = Arrow(*pair, style="dashed" if is_back else "solid", is_back=is_back)
    return tuple(found.values())
