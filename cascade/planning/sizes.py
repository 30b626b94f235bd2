"""How many nodes of each task a run is going to have, as far as that is known before it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any, cast

import attrs

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import Graph, Junction, MapNode
from cascade.graph.slots import Constant, Given, Operand
from cascade.planning.chained_maps import map_in
from cascade.planning.layout import Layout


@attrs.frozen
class Sizes:
    """Numbers of nodes, routers not included.

    Attributes:
        calls: By task name, in the order of the flow, how many calls there are, maps not included.
        maps: By task name, the maps by node id, each with the number of its items; ``None`` if that is not known.
    """

    calls: Mapping[str, int]
    maps: Mapping[str, Mapping[str, int | None]]


def sizes_of(graph: Graph, layout: Layout, inputs: Mapping[str, Any]) -> Sizes:
    """The sizes of *graph*, which is run with these resolved inputs."""
    calls = Counter(graph.counts)
    for index in layout.selectors:
        calls[cast("Junction", graph.rows[index]).label] -= 1  # as `Junction.name` calls them
    maps: dict[str, dict[str, int | None]] = {}
    known: dict[int, int | None] = {}
    for index in layout.own:
        row = graph.rows[index]
        if isinstance(row, MapNode):
            known[index] = _length(graph, row, known, inputs)
            maps.setdefault(row.task.name, {})[row.name] = known[index]
            calls[row.task.name] -= 1
    return Sizes({name: count for name, count in calls.items() if count or name in maps}, maps)


def _length(graph: Graph, node: MapNode, known: Mapping[int, int | None], inputs: Mapping[str, Any]) -> int | None:
    """How many items a map has: all its columns are of one length, so the first that is known will do."""
    for _, operand in node.columns:
        source = map_in(graph, operand)
        found = _length_of(operand, inputs) if source is None else known.get(source)
        if found is not None:
            return found
    return None


def _length_of(operand: Operand, inputs: Mapping[str, Any]) -> int | None:
    match operand:
        case Constant(value=value):
            pass
        case Given(key=key):
            value = inputs.get(key)
        case _:
            return None
    try:
        return len(value)
    except Exception:  # it is no column, which the run is about to say, or its __len__, user code, raises
        return None


def by_task(names: Iterable[str], maps: Container[str]) -> Steps[dict[str, int]]:
    """How many of the nodes *names* each task has, without *maps*: of these the items count."""
    counts: Counter[str] = Counter()
    for number, name in enumerate(names):
        if name not in maps:
            counts[task_in(name)] += 1
        if not number % PAUSE_EVERY:
            yield
    return dict(counts)


def task_in(node_id: str) -> str:
    """The name of the task of ``flow/fetch#2[7]``."""
    name = node_id.rpartition("/")[2]
    if name.endswith("]"):
        name = name[:-1].rpartition("[")[0]
    task, _, ordinal = name.rpartition("#")
    return task if task and ordinal.isdecimal() else name
