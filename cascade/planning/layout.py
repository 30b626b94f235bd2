"""What running a graph starts from, computed once per graph: who waits for how many, and who is needed anyway.

A node behind routes (*gated*) starts only when a router has chosen it, or something chosen that needs it; all
other nodes are needed anyway. A *plain* node is one of which nothing is said: it can run anywhere on the event
loop, or in any worker thread. Lanes run plain nodes only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Any

import attrs

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import (
    NO_TERMS,
    Graph,
    Injected,
    Junction,
    MapNode,
    Nested,
    Node,
    Operand,
    sources_of,
)
from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult
from cascade.planning.solve import gated_nodes


class Place(IntEnum):
    """Where a node can be run.

    ``OWN``: in a task of its own, as something is said about how it is run. ``LOOP``, ``THREAD``: anywhere on the
    event loop, or in any worker thread, as it needs nothing but a place.
    """

    OWN = 0
    LOOP = 1
    THREAD = 2


@attrs.frozen(eq=False)
class Layout:
    """The starting position of a frame.

    Attributes:
        pending: For each node, the number of sources it waits for; one more if a router must want it first.
        uses: For each node, the number of consumers that may want its value; being a target counts as one.
        gated: The nodes that are needed only if routers choose them; empty for most graphs.
        selectors: For each router, the distinct nodes in its selector.
        places: For each node, its :class:`Place`.
        injecting: The nodes that inject resources, with the names of these.
        links: Node to the node that alone goes on from it: each is all there is in its stage, and both have the
            same place other than their own.
        tails: The nodes whose value is the flow's own and nobody else's: the target, or what a router that is the
            target may choose.
        calls: Number of nodes that are calls.
        ready: The nodes that wait for nothing.
        own: The calls that need a task of their own.
        priorities: For each node, how urgent the user says it is, the highest first; ``None`` if nothing is said.
    """

    pending: list[int]
    uses: list[int]
    gated: frozenset[int]
    selectors: Mapping[int, frozenset[int]]
    places: bytearray
    injecting: Mapping[int, tuple[str, ...]]
    links: Mapping[int, int]
    tails: frozenset[int]
    calls: int
    ready: Sequence[int]
    own: Sequence[int]
    priorities: Sequence[int] | None = None


def lay_out(graph: Graph, levels: Sequence[Sequence[int]] = ()) -> Steps[Layout]:
    """The layout of *graph*, run in the stages *levels*; pauses every few hundred nodes."""
    pending: list[int] = []
    uses: list[int] = []
    selectors: dict[int, frozenset[int]] = {}
    injecting: dict[int, tuple[str, ...]] = {}
    places = bytearray(len(graph.rows))
    of_tasks: dict[Callee, Place] = {}
    ready: list[int] = []
    own: list[int] = []
    urgent: dict[int, int] = {}
    for start in range(0, len(graph.rows), PAUSE_EVERY):
        part = slice(start, start + PAUSE_EVERY)
        pending += map(len, graph.sources[part])
        uses += map(len, graph.consumers[part])
        ready += [index for index, sources in enumerate(graph.sources[part], start) if not sources]
        for index, row in enumerate(graph.rows[part], start):
            place = of_tasks.get(row.task) if type(row) is LazyResult else None
            if isinstance(row, Junction):
                selectors[index] = frozenset(sources_of(row.selector))
                pending[index] = 1
                continue
            if place is None:
                place = place_of(row)
                _note_priority(urgent, index, row)
                names = (yield from injected_names(row)) if isinstance(row, Node) and graph.injections else ()
                if names:
                    injecting[index], place = names, Place.OWN
                if type(row) is LazyResult:
                    of_tasks[row.task] = place
            places[index] = place
            if place == Place.OWN:
                own.append(index)
        yield
    for member in graph.members:
        uses[member] += 1
    gated: frozenset[int] = frozenset()
    if selectors:
        gated = yield from _hold_gated(graph, selectors, pending)
        ready = [index for index in ready if not pending[index]]
    links = {} if selectors else (yield from _links(levels, places))
    tails = yield from _tails(graph)
    calls = len(graph.rows) - len(selectors)
    priorities = [urgent.get(index, 0) for index in range(len(graph.rows))] if urgent else None
    return Layout(pending, uses, gated, selectors, places, injecting, links, tails, calls, ready, own, priorities)


def _note_priority(urgent: dict[int, int], index: int, row: LazyResult[Any] | Node) -> None:
    if isinstance(row, Node) and row.terms.priority:
        urgent[index] = row.terms.priority


def _hold_gated(graph: Graph, selectors: Mapping[int, Any], pending: list[int]) -> Steps[frozenset[int]]:
    """The nodes behind routes; the calls among them wait for one more, a router, in *pending*."""
    is_gated = yield from gated_nodes(graph)
    gated = frozenset(index for index, is_held in enumerate(is_gated) if is_held)
    for index in gated:
        pending[index] += index not in selectors
    return gated


def _links(levels: Sequence[Sequence[int]], places: bytearray) -> Steps[dict[int, int]]:
    links = {}
    for number, (level, following) in enumerate(pairwise(levels)):
        if len(level) == len(following) == 1 and places[level[0]] == places[following[0]] != Place.OWN:
            links[level[0]] = following[0]
        if not number % PAUSE_EVERY:
            yield
    return links


def _tails(graph: Graph) -> Steps[frozenset[int]]:
    """The target, and what routers among these give if nothing else gets it: that must have a value itself."""
    pending = [graph.target] if isinstance(graph.target, int) else []
    found = set(pending)
    given: dict[int, set[int]] = {}  # by router
    while pending:
        row = graph.rows[pending.pop()]
        if not isinstance(row, Junction):
            continue
        given[row.index] = _only_given(row)
        for source in given[row.index]:
            if any(source not in given.get(consumer, ()) for consumer in graph.consumers[source]):
                continue
            found.add(source)
            pending.append(source)
            if not len(found) % PAUSE_EVERY:
                yield
    return frozenset(found)


def _only_given(router: Junction) -> set[int]:
    """The nodes that *router* takes as its value, and does not need for anything else."""
    operands = [route.operand for route in router.routes.values()]
    operands += [] if router.default is None else [router.default.operand]
    given = {operand for operand in operands if isinstance(operand, int)}
    for operand in (router.selector, *(operand for operand in operands if not isinstance(operand, int))):
        given.difference_update(sources_of(operand))
    return given


def place_of(call: LazyResult[Any] | Node) -> Place:
    """Where an attempt of *call*, a plain one or a node, can be made.

    Everything needs a task of its own but a call that is no map, has no policy, condition or ``after``, and
    runs neither in a process nor in a thread that might be left behind.
    """
    if isinstance(call, MapNode):
        return Place.OWN
    if isinstance(call, Node) and call.terms is not NO_TERMS and call.terms != NO_TERMS:
        return Place.OWN
    return place_of_task(call.task)


def place_of_task(task: Callee) -> Place:
    """Where a call of *task* can be made of which nothing is said."""
    if task.abandon_on_cancel:
        return Place.OWN
    if task.mode == "thread":
        return Place.THREAD
    return Place.LOOP if task.mode in (None, "inline") else Place.OWN


def injected_names(node: Node) -> Steps[tuple[str, ...]]:
    """The resources among the arguments of *node*, in order."""
    columns = node.columns if isinstance(node, MapNode) else ()
    pending: deque[Operand] = deque(operand for _, operand in (*node.patches, *node.named, *columns))
    found: dict[str, None] = {}
    while pending:
        operand = pending.popleft()
        if isinstance(operand, Injected):
            found[operand.name] = None
        elif isinstance(operand, Nested):
            pending.extend(operand.operands)
        if not len(pending) % PAUSE_EVERY:
            yield
    return tuple(found)


def certain_nodes(graph: Graph) -> Steps[bytearray]:
    """For each node, whether it will come to run if nothing fails: no condition, route or skip can prevent it."""
    certain = bytearray(len(graph.rows))
    gated = yield from gated_nodes(graph)
    for index, (row, sources) in enumerate(zip(graph.rows, graph.sources, strict=True)):
        is_conditional = isinstance(row, Junction) or (isinstance(row, Node) and bool(row.terms.conditions))
        certain[index] = not (is_conditional or gated[index]) and all(map(certain.__getitem__, sources))
        if not index % PAUSE_EVERY:
            yield
    return certain
