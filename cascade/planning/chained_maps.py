"""Maps that can follow others item by item: each item needs of the other map the items in its row only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import cast

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import Graph, MapNode, Operand, OutcomeNode, sources_of


def map_in(graph: Graph, column: Operand) -> int | None:
    """The map whose items *column* has: itself, or how they end; ``None`` if it is something else."""
    row = graph.rows[column] if isinstance(column, int) else None
    if isinstance(row, OutcomeNode) and row.by_item:
        return cast("int", row.selector)
    return cast("int", column) if isinstance(row, MapNode) else None


def is_settled_by_item(graph: Graph, index: int) -> bool:
    """Whether somebody takes how the items of the map *index* end."""
    rows = (graph.rows[consumer] for consumer in graph.consumers[index])
    return any(isinstance(row, OutcomeNode) and row.by_item for row in rows)


def chained_maps(graph: Graph, calls: Sequence[int]) -> Steps[dict[int, list[int]]]:
    """A map, or how its items end, to the maps among *calls* that can follow it.

    It is a column of theirs, and nothing else to them.
    """
    found: dict[int, list[int]] = {}
    for number, index in enumerate(calls):
        row = graph.rows[index]
        if isinstance(row, MapNode):
            columns = [column for _, column in row.columns if isinstance(column, int)]
            followed = {column for column in columns if map_in(graph, column) is not None}
            if followed:
                yield from _keep_mere_columns(row, followed)
            for source in followed:
                found.setdefault(source, []).append(index)
        if not number % PAUSE_EVERY:
            yield
    return found


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
