"""Maps that can follow others item by item: each item needs of the other map the items in its row only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import Graph, MapNode, Row
from cascade.graph.slots import sources_of


def chained_maps(graph: Graph, calls: Sequence[int]) -> Steps[dict[int, list[int]]]:
    """Map to the maps among *calls* that can follow it: it is a column of theirs, and nothing else to them."""
    found: dict[int, list[int]] = {}
    for number, index in enumerate(calls):
        row = graph.rows[index]
        if isinstance(row, MapNode):
            followed = {source for _, source in row.columns if isinstance(source, int)}
            followed = {source for source in followed if _has_items(graph.rows[source])}
            if followed:
                yield from _keep_mere_columns(row, followed)
            for source in followed:
                found.setdefault(source, []).append(index)
        if not number % PAUSE_EVERY:
            yield
    return found


def _has_items(row: Row) -> bool:
    """Whether it is a map whose items are its values; where failures are values, they are put in at its end."""
    return isinstance(row, MapNode) and row.terms.errors is None


def _keep_mere_columns(node: MapNode, followed: set[int]) -> Steps[None]:
    """Leave in *followed* what is needed for nothing but its items."""
    for number, source in enumerate(_needed_whole(node)):
        followed.discard(source)
        if not number % PAUSE_EVERY:
            yield


def _needed_whole(node: MapNode) -> Iterator[int]:
    """The nodes that *node* waits for in some other way than as a column, repeats included."""
    terms = node.terms
    columns = (operand for _, operand in node.columns if not isinstance(operand, int))
    named = (operand for _, operand in chain(node.named, terms.amounts))
    for operand in chain(node.operands, named, columns, terms.conditions):
        yield from sources_of(operand)
    yield from terms.after
