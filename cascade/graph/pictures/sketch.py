"""What a picture shows of a graph: its nodes, or, where these are too many, a box for each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, TypeVar

import attrs

from cascade.graph.nested import PAUSE_EVERY, Steps, finish
from cascade.graph.nodes import (
    AnyNode,
    Edge,
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

T = TypeVar("T")

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
        task: Name of the task of a node; of a router and its like, what they are; empty for all others.
    """

    key: str
    title: str
    note: str
    kind: Kind
    size: int = 1
    task: str = ""


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
    """

    vertices: tuple[Vertex, ...]
    arrows: tuple[Arrow, ...]
    nodes: int
    is_grouped: bool = False
    arrows_left_out: int = 0


def sketch_of(graph: Graph) -> Sketch:
    """What is shown of *graph*: each node, if there are not too many; otherwise each task."""
    if len(graph.rows) <= MOST_BOXES and sum(map(len, graph.sources)) <= MOST_ARROWS:
        return Sketch(tuple(map(vertex_of, graph.iterate())), arrows_of(graph.edges()), len(graph.rows))
    return finish(_grouped_graph(graph))


def _grouped_graph(graph: Graph) -> Steps[Sketch]:
    return (yield from grouped((yield from task_names(graph)), graph.sources))


def fitting(outline: Sketch) -> Sketch:
    """What is shown of a flow that is known by its *outline*, which may have more boxes."""
    if outline.is_grouped or (len(outline.vertices) <= MOST_BOXES and len(outline.arrows) <= MOST_ARROWS):
        return outline
    return finish(grouped([vertex.task for vertex in outline.vertices], sources_in(outline)))


def sources_in(outline: Sketch) -> list[list[int]]:
    """The nodes that each node of *outline* needs; none for a grouped one, which has no nodes."""
    if outline.is_grouped:
        return []
    sources: list[list[int]] = [[] for _ in outline.vertices]
    for arrow in outline.arrows:
        sources[arrow.target].append(arrow.source)
    return sources


def task_names(graph: Graph) -> Steps[list[str]]:
    """The name of the task of each node; of a router and its like, what they are. Pauses now and then."""
    names: list[str] = []
    for some in _portions(graph.rows):
        names += [row.label if isinstance(row, Junction) else row.task.name for row in some]
        yield
    return names


def _portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + PAUSE_EVERY] for start in range(0, len(items), PAUSE_EVERY))


def vertex_of(node: AnyNode) -> Vertex:
    """The box of *node*."""
    kind: Kind = "signal" if is_signal(node) else _KINDS.get(type(node), "call")
    said: list[str] = [kind] if kind in ("map", "signal") else []
    said += [] if (label := name_given(node)) is None else [label]
    said += [] if (task := undo_name(node)) is None else [f"undo: {task}"]
    said += [f"priority {urgency}"] if (urgency := priority_of(node)) else []
    name = node.label if isinstance(node, Junction) else node.task.name
    return Vertex(node.name, one_line(node.name), one_line(", ".join(said)), kind, task=name)


def arrows_of(edges: Iterable[Edge]) -> tuple[Arrow, ...]:
    """*edges* as arrows, one for each pair of nodes."""
    found: dict[tuple[int, int], Arrow] = {}
    for edge in edges:
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


def grouped(names: Sequence[str], sources: Sequence[Sequence[int]]) -> Steps[Sketch]:
    """The tasks of a graph, in the order in which they occur; the rarest share a box if they are too many.

    Pauses now and then.

    Args:
        names: The name of the task of each node.
        sources: What each node needs.
    """
    sizes = Counter[str]()
    for some in _portions(names):
        sizes.update(some)
        yield
    shown: dict[str, int] = sizes
    if len(sizes) > MOST_BOXES:
        common = set(sorted(sizes, key=lambda name: -sizes[name])[: MOST_BOXES - 1])
        shown = {name: size for name, size in sizes.items() if name in common}
    vertices = [group_box(name, size) for name, size in shown.items()]
    places = {name: place for place, name in enumerate(shown)}
    if len(shown) < len(sizes):
        left = sum(sizes.values()) - sum(shown.values())
        vertices.append(rest_box(len(sizes) - len(shown), left))
    rest = len(shown)
    groups: list[int] = []
    pairs: dict[tuple[int, int], None] = {}
    for some, theirs in zip(_portions(names), _portions(sources), strict=True):
        begun = len(groups)
        groups += [places.get(name, rest) for name in some]
        both = zip(groups[begun:], theirs, strict=True)
        pairs.update(dict.fromkeys((groups[source], group) for group, needed in both for source in needed))
        yield
    arrows = _between_groups(pairs)
    left_out = max(len(arrows) - MOST_ARROWS, 0)
    return Sketch(tuple(vertices), arrows[:MOST_ARROWS], len(names), True, left_out)


def group_box(name: str, size: int) -> Vertex:
    """The box of the task *name*, which has so many nodes."""
    return Vertex(name, one_line(name), counted(size, "node"), "group", size)


def rest_box(tasks: int, size: int) -> Vertex:
    """The box of so many *tasks* that have none of their own."""
    return Vertex(REST, f"{tasks} more tasks", counted(size, "node"), "rest", size)


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
