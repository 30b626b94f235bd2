"""The arguments of a call, for the note on its failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final

from cascade.graph.nodes import Given, Graph, Injected, MapNode, Nested, Node, Operand
from cascade.model.calls.callee import Callee
from cascade.model.secrets import MARK, Secrets
from cascade.model.short_reprs import short_repr
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.frame.frame import Frame

# Arguments that are shown, at most.
SHOWN_ARGUMENTS: Final = 5


def called_with(frame: Frame, index: int, bound: Arguments | None, secrets: Secrets) -> str:
    """The arguments that the node *index* was called with, as ``page='...', limit=3``.

    At most five are shown, each cut to 100 characters. A secret is shown as ``***``, a resource by its name. Empty
    if there are none, or the call was not made.
    """
    if bound is None:
        return ""
    graph, node = frame.origin(index)
    hidden = dict(_hidden(graph, node)) if isinstance(node, Node) else {}
    args, kwargs = bound
    if isinstance(node, MapNode):  # what an item has of its own comes first
        kwargs = {name: kwargs[name] for name, _ in node.columns} | kwargs
    given = chain(_positional(frame.graph.task(index), args), kwargs.items())
    shown = []
    for place, (name, value) in enumerate(islice(given, SHOWN_ARGUMENTS)):
        key = place if place < len(args) else name
        text = hidden.get(key) or short_repr(value, secrets)
        shown.append(f"{name}={text}" if name else text)
    more = len(args) + len(kwargs) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _positional(task: Callee, args: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Each argument with the name of its parameter; without, if that takes several."""
    names = task.arity.positional
    return ((names[place] if place < len(names) else "", value) for place, value in enumerate(args))


def _hidden(graph: Graph, node: Node) -> Iterator[tuple[int | str, str]]:
    """What is shown of arguments in place of their values: their key, and the text."""
    columns = node.columns if isinstance(node, MapNode) else ()
    for key, operand in (*node.patches, *node.named, *columns):
        if isinstance(operand, Injected):
            yield key, f"<resource {operand.name!r}>"
        elif _has_secret(operand, graph.inputs):
            yield key, MARK


def _has_secret(operand: Operand, inputs: Mapping[str, Any]) -> bool:
    pending = [operand]
    while pending:
        operand = pending.pop()
        if isinstance(operand, Nested) and not operand.has_only_nodes:
            pending.extend(operand.operands)
        elif isinstance(operand, Given) and inputs[operand.key].secret:
            return True
    return False
