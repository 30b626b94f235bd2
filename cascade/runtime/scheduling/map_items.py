"""Maps: a call per row, in a nursery of their own.

The items are a frame like any other, of nodes that have no edges; so they run where plain nodes run, and by the
same rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import attrs
from anyio import get_cancelled_exc_class

from cascade.graph.identity import item_digest
from cascade.graph.nodes import NO_TERMS, Graph, MapNode, Node, Row, Terms
from cascade.model.events import TaskExecutionStarted
from cascade.model.outcomes import Cancelled, Done, Failed, Outcome
from cascade.planning.layout import Layout, Place, place_of
from cascade.runtime.admission.pool import Amount
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.binding import Arguments, NodeSlots, amounts, arguments, columns
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.job import Job
from cascade.runtime.execution.restore import restore
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.frame.frame import Frame

# Runs all nodes of a frame, which are the items of a map.
RunItems = Callable[[RunContext, "Items", Frame], Awaitable[None]]


async def live_map(run_context: RunContext, frame: Frame, node: MapNode, job: Job, run_items: RunItems) -> Ending:
    """Run all items of a map; its value is the list of theirs, in input order.

    The map itself claims nothing and holds no thread. If cancelled, its items are.

    Args:
        run_context: The run.
        frame: Where the columns come from.
        node: The map.
        job: What the map would be as a single call; its items are like it but for arguments and id.
        run_items: Runs all nodes of a frame.
    """
    if run_context.lifecycle.is_halted or is_cancelled():
        return Ending(Cancelled())  # spawned in the very step in which the run ended
    try:
        items = Items(frame, node, columns(frame, node), job.node_id, job.resources)
    except BaseException as error:  # columns are made by user code; the map is settled with what that raises
        return Ending(classify(error, job.node_id))
    started = anyio.current_time()
    run_context.events.emit_node(TaskExecutionStarted, job, items=items.size)
    try:
        return Ending(await _run(run_context, items, run_items), attempts=1, started=started)
    except BaseException as error:  # a cancellation most likely; the map is settled with it
        return Ending(classify(error, job.node_id), attempts=1, started=started)


async def _run(run_context: RunContext, items: Items, run_items: RunItems) -> Outcome:
    frame = items.begin()
    if run_context.store.recovery is not None:
        await restore(run_context, frame)
    try:
        await run_items(run_context, items, frame)
    except get_cancelled_exc_class():
        if not frame.gaps.errors:
            raise
    finally:
        items.frame.demand.holds.gather(items.node.index, frame.demand.holds)
    if frame.gaps.errors:
        return _failed(run_context, frame)
    is_left = run_context.lifecycle.is_draining and frame.readiness.unsettled > 0
    return Cancelled() if frame.gaps.gone or run_context.lifecycle.is_halted or is_left else Done(frame.values)


def _failed(run_context: RunContext, frame: Frame) -> Failed:
    """A map fails with the error of the item that failed first; the values of the others are kept."""
    error = next(iter(frame.gaps.errors.values()))
    run_context.failures.pass_on(error)  # the note names the item
    run_context.progress.failed_maps.append(frame)
    return Failed(error)


class ItemFrame(Frame):
    """A frame of nodes that differ in nothing but their number."""

    is_map = True
    items: Items

    def label(self, index: int) -> str | None:
        """What people call an item; the name of the map, if items have none."""
        return self.items.label(index)

    def origin(self, index: int) -> tuple[Graph, Row]:
        """The map, in its own graph."""
        del index
        return self.items.frame.graph, self.items.node

    def name(self, index: int) -> str:
        """Id of an item: ``map[3]``."""
        return f"{self.prefix}[{index}]"

    def digest(self, index: int) -> bytes | None:
        """Content of an item: that of the map, and its place."""
        return None if self.turn.digests is None else item_digest(self.turn.digests[0], index)


@attrs.frozen(eq=False)
class Items:
    """The items of one map.

    Attributes:
        frame: Where the arguments that all share come from.
        node: The map.
        columns: What the items have of their own: by parameter, a value for each.
        map_id: Id of the map.
        resources: The resources that each item injects.
    """

    frame: Frame
    node: MapNode
    columns: dict[str, Sequence[Any]]
    map_id: str
    resources: tuple[str, ...]
    # Without resources, which every item may have of its own, these are the same for all.
    _shared: Arguments = attrs.field(init=False)

    _claimed: Mapping[str, Amount] = attrs.field(init=False)

    @_claimed.default
    def _claim(self) -> Mapping[str, Amount]:
        return dict(amounts(self.frame, self.node))

    @_shared.default
    def _share(self) -> Arguments:
        return arguments(self.frame, self.node)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values()), ()))

    def bind(self, item: int, resources: Mapping[str, Any]) -> Arguments:
        """The arguments of an item, with these resources open."""
        args, kwargs = self._shared
        if resources:
            args, kwargs = arguments(NodeSlots(self.frame, resources), self.node)
        own = {name: column[item] for name, column in self.columns.items()}
        return args, {**kwargs, **own} if kwargs else own

    def label(self, item: int) -> str | None:
        """What people call an item; the name of the map, if items have none."""
        label = self.node.terms.label
        if label is None:
            return None
        return label.text_of_item({name: column[item] for name, column in self.columns.items()})

    def claimed(self, _: Node) -> Mapping[str, Amount]:
        """What each item claims: the same as the others."""
        return self._claimed

    def begin(self) -> Frame:
        """A frame in which all items are ready."""
        size, node = self.size, self.node
        terms = node.terms
        own = Terms(terms.retry, terms.timeout, terms.cache, terms.amounts)
        item = Node(0, node.call, node.task, (), (), (), (), (), NO_TERMS if own == NO_TERMS else own, 1)
        place = Place.OWN if self.resources else place_of(item)
        injecting = dict.fromkeys(range(size), self.resources) if self.resources else {}
        nothing, above = frozenset[int](), self.frame.layout.priorities
        graph = Graph([item] * size, [()] * size, bytes([1]) * size, [()] * size, 0, (), {}, {})
        layout = Layout(
            [0] * size,
            [1] * size,
            nothing,
            {},
            bytearray([place]) * size,
            injecting,
            {},
            nothing,
            size,
            ready=range(size),
            own=(),
            priorities=None if above is None else [above[node.index]] * size,
        )
        frame = ItemFrame.begin(graph, layout, self.frame.inputs, self.map_id)
        frame.items = self
        if self.frame.turn.ranks is not None:
            frame.turn.ranks = [self.frame.turn.ranks[node.index]] * size
        frame.readiness.take_news()
        digest = self.frame.digest(node.index)
        frame.turn.digests = None if digest is None else [digest]
        frame.turn.is_recorded = self.frame.turn.is_recorded
        return frame
