"""The nodes of a graph that is being built, by number."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from typing import Any, Final

import attrs

from cascade.graph.nodes import Row, plain_node
from cascade.graph.slots import distinct
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder

# Consumers of one node of which there may be a tuple.
_FEW: Final = 8

# Names that end as the second call of another name does, or an item of a map.
_LIKE_ANOTHER_ID: Final = re.compile(r"(#([2-9]|[1-9]\d+)|\[\d+\])$")


class _Counts(dict[str, int]):
    """The nodes met of each name; no two nodes have one id."""

    def __missing__(self, name: str) -> int:
        # Where the name itself might be the id of another node, the first one is numbered too.
        return 1 if _LIKE_ANOTHER_ID.search(name) else 0


@attrs.define(eq=False)
class Numbering:
    """The nodes that have a number, with what a graph keeps of each.

    Attributes:
        rows: By number, the node, or the call if it says all.
        sources: By number, the nodes that it needs.
        ordinals: By number, which node of its name it is, from 1.
        consumers: By number, the nodes that need it.
        index: By call (its root) or router, its number; negative while it has none.
        counts: How many nodes there are of each name.
    """

    rows: list[Row] = attrs.field(factory=list)
    sources: list[tuple[int, ...]] = attrs.field(factory=list)
    ordinals: array[int] = attrs.field(factory=lambda: array("I"))
    consumers: list[Sequence[int]] = attrs.field(factory=list)
    index: dict[Placeholder, int] = attrs.field(factory=dict)
    counts: _Counts = attrs.field(factory=_Counts)

    def place(self, call: LazyResult[Any], operands: tuple[int, ...]) -> None:
        """Keep *call*, of which nothing is said, as the node that comes next."""
        number, name = len(self.rows), call.task.name
        ordinal = self.counts[name] = self.counts[name] + 1
        row: Row = call
        sources = operands
        if len(operands) > 1 and len(set(operands)) < len(operands):
            sources = distinct(operands)
            row = plain_node(number, call, operands, sources, ordinal)
        # As append does; each plain call comes by here.
        self.rows.append(row)
        self.sources.append(sources)
        self.ordinals.append(ordinal)
        self.consumers.append(())
        self.index[call] = number
        if sources:
            self.add_consumer(sources, number)

    def append(self, row: Row, sources: tuple[int, ...], ordinal: int) -> None:
        """Keep *row* as the node that comes next."""
        self.rows.append(row)
        self.sources.append(sources)
        self.ordinals.append(ordinal)
        self.consumers.append(())

    def add_consumer(self, sources: Sequence[int], number: int) -> None:
        """Note that *sources* have another consumer.

        Tuples of numbers, unlike lists, are left out of garbage collections from the first on, and each node has
        one. Adding to a long one would take time in proportion to its length.
        """
        consumers = self.consumers
        alone = (number,)
        for source in sources:
            known = consumers[source]
            if not known:
                consumers[source] = alone
                continue
            if type(known) is list:
                known.append(number)
                continue
            consumers[source] = (*known, number) if len(known) < _FEW else [*known, number]

    def next_ordinal(self, name: str) -> int:
        """Count another node of that name."""
        ordinal = self.counts[name] = self.counts[name] + 1
        return ordinal
