"""Pictures of a graph, as text: values in, a string out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

from cascade.graph.nodes import (
    HANDLERS,
    AnyNode,
    EdgeKind,
    FallbackNode,
    Graph,
    Junction,
    MapNode,
    OutcomeNode,
    RaceNode,
)
from cascade.graph.pictures.titles import inscription_of, is_signal, name_given, priority_of, title_of, undo_name
from cascade.model.shown.text import one_line

Format = Literal["mermaid", "dot", "text", "json", "svg"]

_MERMAID_ARROWS: Final = {
    EdgeKind.DATA: "-->",
    EdgeKind.CONDITION: "-.->",
    EdgeKind.AFTER: "==>",
    EdgeKind.CLAIM: "-.->",
    EdgeKind.SELECTOR: "-->",
    EdgeKind.ROUTE: "-.->",
    EdgeKind.OUTCOME: "-->",
    EdgeKind.FALLBACK: "-.->",
    EdgeKind.RACE: "-->",
}
_DOT_STYLES: Final = {
    EdgeKind.DATA: "solid",
    EdgeKind.CONDITION: "dashed",
    EdgeKind.AFTER: "bold",
    EdgeKind.CLAIM: "dotted",
    EdgeKind.SELECTOR: "solid",
    EdgeKind.ROUTE: "dashed",
    EdgeKind.OUTCOME: "solid",
    EdgeKind.FALLBACK: "dashed",
    EdgeKind.RACE: "solid",
}


def render(graph: Graph, levels: Sequence[Sequence[int]], format: Format) -> str:  # the public name
    """*graph* as text.

    Args:
        graph: What to show.
        levels: Its stages, by index.
        format: ``"mermaid"``, ``"dot"``, ``"text"`` (stages and what each node needs), ``"json"`` or ``"svg"``.

    Raises:
        ValueError: If there is no such format.
    """
    match format:
        case "mermaid":
            return _mermaid(graph)
        case "dot":
            return _dot(graph)
        case "text":
            return _text(graph, levels)
        case "json":
            return _json(graph, levels)
        case "svg":
            from cascade.graph.pictures.svg import svg_of  # here, as few programs render

            return svg_of(graph)
    raise ValueError(f"format is one of {', '.join(map(repr, get_args(Format)))}, not {format!r}")


def _mermaid_text(text: str) -> str:
    """*text* inside quotes: mermaid takes entities for what would end them or mean something."""
    plain = one_line(text)
    escaped = "".join(char if char.isalnum() or char in " _.,-()" else f"#{ord(char)};" for char in plain)
    return f'"{escaped}"'


def _mermaid_shape(node: AnyNode) -> tuple[str, str]:
    """What stands around the title of *node*."""
    if isinstance(node, Junction):
        return "{", "}"
    if isinstance(node, MapNode):
        return "[[", "]]"
    return ("([", "])") if is_signal(node) else ("[", "]")


def _mermaid(graph: Graph) -> str:
    lines = ["flowchart TD"]
    for node in graph.nodes:
        before, after = _mermaid_shape(node)
        lines.append(f"    n{node.index}{before}{_mermaid_text(title_of(node))}{after}")
    for edge in graph.edges():
        label = inscription_of(edge)
        arrow = _MERMAID_ARROWS[edge.kind]
        inscription = f"|{_mermaid_text(label)}|" if label else ""
        lines.append(f"    n{edge.source} {arrow}{inscription} n{edge.target}")
    return "\n".join(lines) + "\n"


def _dot_text(text: str) -> str:
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _dot(graph: Graph) -> str:
    lines = ["digraph cascade {", "    rankdir=TB;", "    node [shape=box];"]
    for node in graph.nodes:
        shape = ", shape=diamond" if isinstance(node, Junction) else ""
        shape = ", peripheries=2" if isinstance(node, MapNode) else shape
        shape = ", style=rounded" if is_signal(node) else shape
        lines.append(f"    n{node.index} [label={_dot_text(title_of(node))}{shape}];")
    for edge in graph.edges():
        style = f"style={_DOT_STYLES[edge.kind]}"
        label = f", label={_dot_text(text)}" if (text := inscription_of(edge)) else ""
        lines.append(f"    n{edge.source} -> n{edge.target} [{style}{label}];")
    return "\n".join([*lines, "}"]) + "\n"


def _text(graph: Graph, levels: Sequence[Sequence[int]]) -> str:
    needs: dict[int, list[str]] = {}
    for edge in graph.edges():
        label = inscription_of(edge)
        name = title_of(graph.nodes[edge.source])
        needs.setdefault(edge.target, []).append(one_line(f"{name} ({label})" if label else name))
    lines = []
    for number, level in enumerate(levels):
        lines.append(f"stage {number}")
        lines += [_line(graph.nodes[index], needs) for index in level]
    routers = [node for node in graph.nodes if type(node) is Junction]
    races = [node for node in graph.nodes if isinstance(node, RaceNode)]
    handling = [node for node in graph.nodes if isinstance(node, HANDLERS) and not isinstance(node, RaceNode)]
    titled = (("routers", routers), ("outcomes and fallbacks", handling), ("races", races))
    for title, junctions in titled:
        if junctions:
            lines.append(title)
            lines += [_line(junction, needs) for junction in junctions]
    return "\n".join(lines) + "\n"


def _line(node: AnyNode, needs: dict[int, list[str]]) -> str:
    sources = ", ".join(needs.get(node.index, ()))
    return f"  {one_line(title_of(node))}" + (f" <- {sources}" if sources else "")


def _json(graph: Graph, levels: Sequence[Sequence[int]]) -> str:
    kinds = {MapNode: "map", Junction: "router", OutcomeNode: "settled", FallbackNode: "or_else", RaceNode: "race"}
    names = [node.name for node in graph.nodes]
    document = {
        "nodes": [
            {
                "id": node.name,
                "kind": "signal" if is_signal(node) else kinds.get(type(node), "call"),
                "task": None if isinstance(node, Junction) else node.task.full_name,
                "label": name_given(node),
                **({} if (undo := undo_name(node)) is None else {"undo": undo}),
                "priority": priority_of(node),
            }
            for node in graph.nodes
        ],
        "edges": [
            {
                "source": names[edge.source],
                "target": names[edge.target],
                "kind": edge.kind.value,
                "label": edge.label,
            }
            for edge in graph.edges()
        ],
        "stages": [[names[index] for index in level] for level in levels],
        "target": [names[index] for index in graph.members],
    }
    import json  # here, as few programs render

    return json.dumps(document, indent=2) + "\n"
