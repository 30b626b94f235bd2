"""Pictures of a graph, as text: values in, a string out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

from cascade.graph.nodes import (
    HANDLERS,
    AnyNode,
    Edge,
    EdgeKind,
    FallbackNode,
    Graph,
    Junction,
    MapNode,
    Node,
    OutcomeNode,
    RaceNode,
    task_of,
)
from cascade.model.calls.signals import SignalTask
from cascade.model.labels import labelled
from cascade.model.text import one_line

Format = Literal["mermaid", "dot", "text", "json"]

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
        format: ``"mermaid"``, ``"dot"``, ``"text"`` (stages and what each node needs) or ``"json"``.

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
    raise ValueError(f"format is one of {', '.join(map(repr, get_args(Format)))}, not {format!r}")


def _label(edge: Edge) -> str:
    """What is written on an arrow: the kind unless it is plain data, and the route, resource or selector."""
    match edge.kind:
        case EdgeKind.DATA:
            return ""
        case EdgeKind.CONDITION:
            return "if"
        case EdgeKind.AFTER:
            return "then"
        case EdgeKind.SELECTOR:
            return "selects"
        case EdgeKind.CLAIM:
            return f"amount of {edge.label}"
        case EdgeKind.ROUTE:
            return f"route {edge.label}"
        case EdgeKind.OUTCOME:
            return "outcome"
        case EdgeKind.FALLBACK:
            return "or else"
        case EdgeKind.RACE:
            return "races"


def _is_signal(node: AnyNode) -> bool:
    return isinstance(node, Node) and isinstance(node.task, SignalTask)


def _title(node: AnyNode) -> str:
    name = labelled(f"{node.name}[...]" if isinstance(node, MapNode) else node.name, _called(node))
    name = f"{name} (signal)" if _is_signal(node) else name
    undo = _undo(node)
    name = name if undo is None else f"{name} (undo: {undo})"
    return f"{name}, priority {priority}" if (priority := _priority(node)) else name


def _undo(node: AnyNode) -> str | None:
    """Name of the task that undoes a node."""
    return None if isinstance(node, Junction) or node.terms.undo is None else task_of(node.terms.undo).name


def _priority(node: AnyNode) -> int:
    return 0 if isinstance(node, Junction) else node.terms.priority


def _called(node: AnyNode) -> str | None:
    """What people call a node; for a map without a name of its own, what names its items."""
    label = None if isinstance(node, Junction) else node.terms.label
    return None if label is None else label.text() or label.items


def _mermaid_text(text: str) -> str:
    """*text* inside quotes: mermaid takes entities for what would end them or mean something."""
    plain = one_line(text)
    escaped = "".join(char if char.isalnum() or char in " _.,-()" else f"#{ord(char)};" for char in plain)
    return f'"{escaped}"'


def _mermaid(graph: Graph) -> str:
    lines = ["flowchart TD"]
    for node in graph.nodes:
        name, text = f"n{node.index}", _mermaid_text(_title(node))
        if isinstance(node, Junction):
            lines.append(f"    {name}{{{text}}}")
        elif isinstance(node, MapNode):
            lines.append(f"    {name}[[{text}]]")
        elif _is_signal(node):
            lines.append(f"    {name}([{text}])")
        else:
            lines.append(f"    {name}[{text}]")
    for edge in graph.edges():
        label = _label(edge)
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
        shape = ", style=rounded" if _is_signal(node) else shape
        lines.append(f"    n{node.index} [label={_dot_text(_title(node))}{shape}];")
    for edge in graph.edges():
        style = f"style={_DOT_STYLES[edge.kind]}"
        label = f", label={_dot_text(text)}" if (text := _label(edge)) else ""
        lines.append(f"    n{edge.source} -> n{edge.target} [{style}{label}];")
    return "\n".join([*lines, "}"]) + "\n"


def _text(graph: Graph, levels: Sequence[Sequence[int]]) -> str:
    needs: dict[int, list[str]] = {}
    for edge in graph.edges():
        label = _label(edge)
        name = _title(graph.nodes[edge.source])
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
    return f"  {one_line(_title(node))}" + (f" <- {sources}" if sources else "")


def _json(graph: Graph, levels: Sequence[Sequence[int]]) -> str:
    kinds = {MapNode: "map", Junction: "router", OutcomeNode: "settled", FallbackNode: "or_else", RaceNode: "race"}
    names = [node.name for node in graph.nodes]
    document = {
        "nodes": [
            {
                "id": node.name,
                "kind": "signal" if _is_signal(node) else kinds.get(type(node), "call"),
                "task": None if isinstance(node, Junction) else node.task.full_name,
                "label": _called(node),
                **({} if (undo := _undo(node)) is None else {"undo": undo}),
                "priority": _priority(node),
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
