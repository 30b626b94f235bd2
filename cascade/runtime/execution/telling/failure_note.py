"""The arguments of a call, for the note on its failure and for its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from cascade.graph.nodes import Graph, MapNode, Node
from cascade.graph.slots import Given, Injected, Nested, Operand
from cascade.model.calls.callee import Callee
from cascade.model.shown.secrets import MARK, Secrets
from cascade.model.shown.short_reprs import SHOWN, short_repr
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.frame.frame import Frame

# Arguments that are shown in a note, at most; and that are recorded, and how many characters of each.
SHOWN_ARGUMENTS: Final = 5
RECORDED_ARGUMENTS: Final = 20
RECORDED_CHARACTERS: Final = 300

# The arguments that are shown, by name, and how many there are besides.
ShownArguments = tuple[Sequence[tuple[str, str]], int]


def shown_arguments(
    frame: Frame, index: int, bound: Arguments | None, secrets: Secrets, *, is_recorded: bool = False
) -> ShownArguments:
    """The arguments that the node *index* was called with: name and text of each, and how many are left out.

    At most five are shown, each cut to 100 characters; for a record, 20 and 300. A secret is shown as ``***``, a
    resource by its name. There are none if the call was not made.
    """
    if bound is None:
        return (), 0
    most, length = (RECORDED_ARGUMENTS, RECORDED_CHARACTERS) if is_recorded else (SHOWN_ARGUMENTS, SHOWN)
    graph, node = frame.origin(index)
    hidden = dict(_hidden(graph, node)) if isinstance(node, Node) else {}
    args, kwargs = bound
    if isinstance(node, MapNode):  # what an item has of its own comes first
        kwargs = {name: kwargs[name] for name, _ in node.columns} | kwargs
    given = chain(_positional(frame.graph.task(index), args), kwargs.items())
    shown = []
    for place, (name, value) in enumerate(islice(given, most)):
        key = place if place < len(args) else name
        shown.append((name, hidden.get(key) or short_repr(value, secrets, length)))
    return shown, len(args) + len(kwargs) - len(shown)


def called_with(arguments: ShownArguments) -> str:
    """*arguments* in words, as ``page='...', limit=3``: at most five, each cut to 100 characters."""
    shown, more = arguments
    few = [f"{name}={_cut(text)}" if name else _cut(text) for name, text in shown[:SHOWN_ARGUMENTS]]
    more += len(shown) - len(few)
    return ", ".join(few) + (f" and {more} more" if more else "")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


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
