"""The words for nodes and edges in pictures of every format."""

from __future__ import annotations

from cascade.graph.nodes import AnyNode, Edge, EdgeKind, Junction, MapNode, Node, OutcomeNode, task_of
from cascade.model.calls.signals import SignalTask
from cascade.model.labels import labelled


def inscription_of(edge: Edge) -> str:
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


def is_signal(node: AnyNode) -> bool:
    """Whether *node* waits for a signal."""
    return isinstance(node, Node) and isinstance(node.task, SignalTask)


def title_of(node: AnyNode) -> str:
    """All that is said of *node*, on one line."""
    is_of_items = isinstance(node, MapNode) or (isinstance(node, OutcomeNode) and node.by_item)
    name = labelled(f"{node.name}[...]" if is_of_items else node.name, name_given(node))
    name = f"{name} (signal)" if is_signal(node) else name
    task = undo_name(node)
    name = name if task is None else f"{name} (undo: {task})"
    return f"{name}, priority {urgency}" if (urgency := priority_of(node)) else name


def undo_name(node: AnyNode) -> str | None:
    """Name of the task that undoes a node; ``None`` if nothing does."""
    return None if isinstance(node, Junction) or node.terms.undo is None else task_of(node.terms.undo).name


def priority_of(node: AnyNode) -> int:
    """The priority of a node; 0 if nothing is said of it."""
    return 0 if isinstance(node, Junction) else node.terms.priority


def name_given(node: AnyNode) -> str | None:
    """What the user has called a node; for a map without a name of its own, what names its items."""
    label = None if isinstance(node, Junction) else node.terms.label
    return None if label is None else label.text() or label.items
