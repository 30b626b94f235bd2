"""What running a graph starts from, computed once per graph: who waits for how many, and who is needed anyway.

A node behind routes (*gated*) starts only when a router has chosen it, or something chosen that needs it; all
other nodes are needed anyway. A *plain* node is one of which nothing is said: it can run anywhere on the event
loop, or in any worker thread. Lanes run plain nodes only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final

import attrs

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import HANDLERS, NO_TERMS, Graph, Junction, MapNode, Node, RaceNode
from cascade.graph.slots import Injected, Nested, Operand, sources_of
from cascade.model.calls.callee import Callee
from cascade.model.calls.signals import SignalTask
from cascade.model.lazies import LazyResult
from cascade.planning.chained_maps import chained_maps
from cascade.planning.solve import gated_nodes


class Place(IntEnum):
    """Where a node can be run.

    ``OWN``: in a task of its own, as something is said about how it is run. ``LOOP``, ``THREAD``, ``REMOTE``:
    anywhere on the event loop, in any worker thread, or on any worker of the remote executor, as it needs nothing
    but a place.
    """

    OWN = 0
    LOOP = 1
    THREAD = 2
    REMOTE = 3


# Whether calls of a task go to the remote executor.
Goes = Callable[[Callee], bool]


@attrs.frozen(eq=False)
class Special:
    """What most flows have nothing of.

    Attributes:
        signals: The nodes that stand for signals.
        chains: Map to the maps that can follow it item by item.
        handlers: The nodes that take how others end: outcomes, fallbacks and races.
        priorities: For each node, how urgent the user says it is, the highest first; ``None`` if nothing is said.
        gives_up: Whether there is a map whose items are cancelled when too many have failed.
    """

    signals: frozenset[int] = frozenset()
    chains: Mapping[int, Sequence[int]] = attrs.field(factory=dict)
    handlers: frozenset[int] = frozenset()
    priorities: Sequence[int] | None = None
    gives_up: bool = False


NOTHING_SPECIAL: Final = Special()


@attrs.frozen(eq=False)
class Layout:
    """The starting position of a frame.

    Attributes:
        pending: For each node, the number of sources it waits for; one more if a router must want it first.
        uses: For each node, the number of consumers that may want its value; being a target counts as one.
        gated: The nodes that are needed only if routers choose them; empty for most graphs.
        selectors: For each router, the distinct nodes in its selector; so for outcomes and fallbacks.
        places: For each node, its :class:`Place`.
        injecting: The nodes that inject resources, with the names of these.
        links: Node to the node that alone goes on from it: each is all there is in its stage, and both have the
            same place other than their own.
        tails: The nodes whose value is the flow's own and nobody else's: the target, or what a router that is the
            target may choose.
        calls: Number of nodes that are calls.
        ready: The nodes that wait for nothing.
        own: The calls that need a task of their own, and signals.
        special: What most flows have nothing of.
    """

    pending: list[int] | bytearray
    uses: list[int] | bytearray
    gated: frozenset[int]
    selectors: Mapping[int, frozenset[int]]
    places: bytearray
    injecting: Mapping[int, tuple[str, ...]]
    links: Mapping[int, int]
    tails: frozenset[int]
    calls: int
    ready: Sequence[int]
    own: Sequence[int]
    special: Special = NOTHING_SPECIAL


@attrs.define(eq=False)
class _Rows:
    """What one pass over the rows of a graph finds; as in :class:`Layout`."""

    places: bytearray
    pending: list[int] = attrs.field(factory=list)
    uses: list[int] = attrs.field(factory=list)
    selectors: dict[int, frozenset[int]] = attrs.field(factory=dict)
    injecting: dict[int, tuple[str, ...]] = attrs.field(factory=dict)
    ready: list[int] = attrs.field(factory=list)
    own: list[int] = attrs.field(factory=list)
    # What is said of priorities.
    urgent: dict[int, int] = attrs.field(factory=dict)


def lay_out(graph: Graph, levels: Sequence[Sequence[int]] = (), goes: Goes | None = None) -> Steps[Layout]:
    """The layout of *graph*, run in the stages *levels*; pauses every few hundred nodes.

    Args:
        graph: The graph.
        levels: The stages.
        goes: Which calls leave this process; ``None``: none.
    """
    rows = _Rows(bytearray(len(graph.rows)))
    yield from _look_through(graph, rows, goes)
    for member in graph.members:
        rows.uses[member] += 1
    gated: frozenset[int] = frozenset()
    ready = rows.ready
    if rows.selectors:
        gated = yield from _hold_gated(graph, rows.selectors, rows.pending)
        ready = [index for index in ready if not rows.pending[index]]
    # What has a later stage may still be ready earlier, where nodes wait for routers or signals.
    special = yield from _special(graph, rows)
    links = {} if rows.selectors or special.signals else (yield from _links(levels, rows.places))
    tails = yield from _tails(graph)
    calls = len(graph.rows) - len(rows.selectors)
    return Layout(
        rows.pending, rows.uses, gated, rows.selectors, rows.places, rows.injecting, links, tails, calls, ready,
        rows.own, special,
    )  # fmt: skip


def _look_through(graph: Graph, rows: _Rows, goes: Goes | None) -> Steps[None]:
    """Fill *rows*."""
    of_tasks: dict[Callee, Place] = {}
    places, own = rows.places, rows.own
    for start in range(0, len(graph.rows), PAUSE_EVERY):
        part = slice(start, start + PAUSE_EVERY)
        rows.pending += map(len, graph.sources[part])
        rows.uses += map(len, graph.consumers[part])
        rows.ready += [index for index, sources in enumerate(graph.sources[part], start) if not sources]
        for index, row in enumerate(graph.rows[part], start):
            place = of_tasks.get(row.task) if type(row) is LazyResult else None
            if isinstance(row, Junction):
                rows.selectors[index] = frozenset(sources_of(row.selector))
                rows.pending[index] = 1
                continue
            if place is None:
                place = yield from _place_anew(graph, index, rows, of_tasks, goes)
            places[index] = place
            if place == Place.OWN:
                own.append(index)
        yield


def _special(graph: Graph, rows: _Rows) -> Steps[Special]:
    """What most flows have nothing of; calls that a race may leave without consumers get tasks of their own."""
    chains = yield from chained_maps(graph, rows.own)
    signals = yield from _signals(graph, rows.own)
    handlers = frozenset(index for index in rows.selectors if isinstance(graph.rows[index], HANDLERS))
    if has_races(graph, handlers):
        yield from _set_apart(graph, rows.places, rows.own)
    gives_up = yield from _gives_up(graph, rows.own)
    if not (signals or chains or handlers or rows.urgent or gives_up):
        return NOTHING_SPECIAL
    priorities = [rows.urgent.get(index, 0) for index in range(len(graph.rows))] if rows.urgent else None
    return Special(signals, chains, handlers, priorities, gives_up)


def _gives_up(graph: Graph, own: Sequence[int]) -> Steps[bool]:
    """Whether among the calls *own* there is a map some of whose items have to succeed."""
    for number, index in enumerate(own):
        row = graph.rows[index]
        if isinstance(row, MapNode) and row.terms.errors is not None and row.terms.errors.min_success is not None:
            return True
        if not number % PAUSE_EVERY:
            yield
    return False


def _signals(graph: Graph, own: Sequence[int]) -> Steps[frozenset[int]]:
    """The signals among the calls *own*."""
    found = []
    for number, index in enumerate(own):
        if isinstance(graph.task(index), SignalTask):
            found.append(index)
        if not number % PAUSE_EVERY:
            yield
    return frozenset(found)


def has_races(graph: Graph, handlers: Iterable[int]) -> bool:
    """Whether there is a race among *handlers*, so that nodes may have to be cancelled."""
    return any(isinstance(graph.rows[index], RaceNode) for index in handlers)


def _place_anew(
    graph: Graph, index: int, rows: _Rows, of_tasks: dict[Callee, Place], goes: Goes | None
) -> Steps[Place]:
    """Where the call *index* can be run, which other plain calls of its task share; notes what is said of it."""
    row = graph.rows[index]
    assert not isinstance(row, Junction)
    if type(row) is LazyResult:
        place = of_tasks[row.task] = place_of(row, goes)
        return place
    assert isinstance(row, Node)
    if row.terms.hints.priority:
        rows.urgent[index] = row.terms.hints.priority
    names = (yield from injected_names(row)) if graph.injections else ()
    if names:
        rows.injecting[index] = names
        return Place.OWN
    return place_of(row, goes)


def _set_apart(graph: Graph, places: bytearray, own: list[int]) -> Steps[None]:
    """Give a task of its own to each call that a race may leave without consumers; lanes would call it anyway."""
    may_lose = bytearray(len(graph.rows))
    members = set(graph.members)
    for index in reversed(range(len(graph.rows))):
        if index not in members:
            rows = graph.rows
            may_lose[index] = all(may_lose[c] or isinstance(rows[c], RaceNode) for c in graph.consumers[index])
            if may_lose[index] and not isinstance(rows[index], Junction) and places[index] != Place.OWN:
                places[index] = Place.OWN
                own.append(index)
        if not index % PAUSE_EVERY:
            yield


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


def place_of(call: LazyResult[Any] | Node, goes: Goes | None = None) -> Place:
    """Where an attempt of *call*, a plain one or a node, can be made; *goes* says what leaves this process.

    Everything needs a task of its own but a call that is no map, has no policy, condition or ``after``, and
    runs neither in a process nor in a thread that might be left behind.
    """
    if isinstance(call, MapNode):
        return Place.OWN
    if isinstance(call, Node) and call.terms is not NO_TERMS and call.terms != NO_TERMS:
        return Place.OWN
    return place_of_task(call.task, goes)


def place_of_task(task: Callee, goes: Goes | None = None) -> Place:
    """Where a call of *task* can be made of which nothing is said."""
    if goes is not None and goes(task):
        return Place.REMOTE
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
