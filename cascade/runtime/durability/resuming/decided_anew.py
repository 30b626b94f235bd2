"""Which recorded nodes run again as they took a failure as a value: what failed runs again, and may succeed.

And which races were decided: by the one contestant whose success is recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import cast

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import HANDLERS, Graph, Junction, MapNode, RaceNode
from cascade.graph.slots import distinct, sources_of
from cascade.model.skip_reasons import SkipReason
from cascade.planning.chained_maps import map_in
from cascade.planning.layout import Layout
from cascade.runtime.durability.records import Record
from cascade.runtime.frame.frame import Frame
from cascade.runtime.frame.turn import Extent


def decided_anew(
    graph: Graph,
    layout: Layout,
    records: Sequence[Record | None],
    found: Mapping[int, Record],
    won: Mapping[int, int],
) -> Steps[dict[int, Extent]]:
    """The nodes behind an outcome or fallback that is decided anew, as what it is about has no record that holds.

    A digest does not tell how something ended, so these nodes may get other arguments than before. Nor does
    it tell who has won a race. Items that took the failures of another map as values may have been recorded before
    that map was; if it was not, they are decided anew like those that took outcomes.

    Args:
        graph: The flow.
        layout: Its layout.
        records: By node, its record; ``None`` without one. What failed has none.
        found: The records that hold, by node.
        won: The winners of races that were decided, by race; these are not decided anew.
    """
    anew: dict[int, Extent] = {}
    columns = _columns(graph, layout)
    # Nodes that end as they did, or are pruned as they were.
    firm = bytearray(len(records))
    for index, (row, sources) in enumerate(zip(graph.rows, graph.sources, strict=True)):
        about = (
            layout.selectors[index] if isinstance(row, HANDLERS) else _collecting(graph, columns.get(index, ()))
        )
        if index in won and won[index] not in anew:
            firm[index] = True
        elif (
            isinstance(row, RaceNode)
            or not anew.keys().isdisjoint(sources)
            or not all(firm[source] for source in about)
        ):
            anew[index] = _extent(sources, columns.get(index, ()), anew)
        else:
            is_kept = index in found or _is_pruned(records[index])
            firm[index] = all(firm[source] for source in sources) if isinstance(row, Junction) else is_kept
        if not index % PAUSE_EVERY:
            yield
    return anew


def _is_pruned(record: Record | None) -> bool:
    return record is not None and record.reason == SkipReason.PRUNED


def _columns(graph: Graph, layout: Layout) -> dict[int, set[int]]:
    """By node, what comes item by item: to a map its columns, and to what has the outcomes of a map, that map."""
    found: dict[int, set[int]] = {}
    for column, followers in layout.special.chains.items():
        for follower in followers:
            found.setdefault(follower, set()).add(column)
        found.setdefault(column, set()).update({cast("int", map_in(graph, column))} - {column})
    return found


def _collecting(graph: Graph, columns: Iterable[int]) -> Sequence[int]:
    """The maps among *columns* that have failures among their values."""
    rows = [(column, graph.rows[column]) for column in columns]
    return [column for column, row in rows if isinstance(row, MapNode) and row.terms.errors is not None]


def _extent(sources: Iterable[int], columns: Collection[int], anew: Mapping[int, Extent]) -> Extent:
    """How much of a node runs again that needs *sources*, of which *columns* come item by item."""
    again = [source for source in sources if source in anew]
    is_by_item = all(source in columns and anew[source] == Extent.BY_ITEM for source in again)
    return Extent.BY_ITEM if columns and is_by_item else Extent.ALL


def outdated(
    graph: Graph,
    names: Sequence[str],
    anew: Mapping[int, Extent],
    found: Collection[int],
    records: Collection[str],
    items_of: Mapping[str, Sequence[int]],
) -> Iterator[str | None]:
    """The records of what is decided anew, by name. They are to be forgotten before anything runs.

    Else they would stand if the run ended once what failed has succeeded, and before these nodes have run again: a
    later execution would not know that they had got something else.

    Args:
        graph: The flow.
        names: The ids of its nodes.
        anew: The nodes that are decided anew.
        found: The nodes with a record that holds.
        records: The ids of nodes with any record.
        items_of: By the id of a map, its items with a record.
    """
    maps = {
        names[index]: set(items_of.get(names[index], ()))
        for index, row in enumerate(graph.rows)
        if isinstance(row, MapNode) and index not in found
    }
    for index in sorted(anew):
        yield names[index] if names[index] in records else None
        node, items = graph.rows[index], maps.get(names[index], set[int]())
        stand = set[int]()
        if isinstance(node, MapNode) and anew[index] is Extent.BY_ITEM:
            stand = items.intersection(*_standing(graph, node, names, maps))
        yield from (f"{names[index]}[{item}]" for item in items - stand)
        items &= stand


def _standing(
    graph: Graph, node: MapNode, names: Sequence[str], maps: Mapping[str, set[int]]
) -> Iterator[set[int]]:
    """Of each map that *node* follows and that has no record as a whole, the items that have one that stands."""
    for _, column in node.columns:
        source = map_in(graph, column)
        if source is not None and names[source] in maps:
            yield maps[names[source]]


def won_before(graph: Graph, layout: Layout, found: Mapping[int, Record]) -> dict[int, int]:
    """The winners of races, by race; without races that are run again.

    A race is run again if it is not known who had won: if several contestants have succeeded, as somebody else
    wanted them; if one is no call, and so has no record; or if only a router may want the race.

    Args:
        graph: The flow.
        layout: Its layout.
        found: The records that hold, by node.
    """
    return dict(_decided(graph, layout.special.handlers - layout.gated, found))


def _decided(graph: Graph, races: Iterable[int], found: Mapping[int, Record]) -> Iterable[tuple[int, int]]:
    for race in races:
        row = graph.rows[race]
        contestants = distinct(sources_of(row.selector)) if isinstance(row, RaceNode) else ()
        succeeded = [index for index in contestants if index in found and found[index].reason is None]
        if len(succeeded) == 1 and not any(isinstance(graph.rows[index], Junction) for index in contestants):
            yield race, succeeded[0]


def decide_as_before(frame: Frame, won: Mapping[int, int]) -> None:
    """Let those lose that had lost before, so that they do not begin again.

    Also where the winner does, as the store does not have its value: others have got that, and are not run again.
    """
    if frame.routing is None:
        return
    for race, winner in won.items():
        if race not in frame.turn.anew:
            frame.routing.racing.give(race, winner)
