"""Which recorded nodes run again as they took a failure as a value: what failed runs again, and may succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import HANDLERS, Graph, Junction
from cascade.model.outcomes import SkipReason
from cascade.runtime.durability.records import Record


def decided_anew(
    graph: Graph,
    selectors: Mapping[int, frozenset[int]],
    records: Sequence[Record | None],
    found: Mapping[int, Record],
) -> Steps[set[int]]:
    """The nodes behind an outcome or fallback that is decided anew, as what it is about has no record that holds.

    A digest does not tell how something ended, so these nodes may get other arguments than before.

    Args:
        graph: The flow.
        selectors: For each router, outcome and fallback, the nodes in its selector.
        records: By node, its record; ``None`` without one. What failed has none.
        found: The records that hold, by node.
    """
    anew: set[int] = set()
    # Nodes that end as they did, or are pruned as they were.
    firm = bytearray(len(records))
    for index, (row, sources) in enumerate(zip(graph.rows, graph.sources, strict=True)):
        about = selectors[index] if isinstance(row, HANDLERS) else ()
        if not anew.isdisjoint(sources) or not all(firm[source] for source in about):
            anew.add(index)
        elif isinstance(row, Junction):
            firm[index] = all(firm[source] for source in sources)
        else:
            record = records[index]
            firm[index] = index in found or (record is not None and record.reason == SkipReason.PRUNED)
        if not index % PAUSE_EVERY:
            yield
    return anew
