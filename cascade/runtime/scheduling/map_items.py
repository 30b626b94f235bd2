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

from cascade.graph.nodes import NO_TERMS, Graph, MapNode, Node, Terms
from cascade.model.errors import MapFailed
from cascade.model.events import TaskExecutionStarted
from cascade.model.outcomes import Cancelled, Done, Failed, NodeOutcome, Status
from cascade.model.text import counted
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
from cascade.runtime.frame.turn import Cut, always
from cascade.runtime.scheduling.item_frames import CollectingFrame, ItemFrame

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


async def _run(run_context: RunContext, items: Items, run_items: RunItems) -> NodeOutcome:
    frame = items.begin()
    if run_context.store.recovery is not None and items.node.index not in items.frame.turn.anew:
        await restore(run_context, frame)
    try:
        await run_items(run_context, items, frame)
    except get_cancelled_exc_class():
        if not any(run_context.failures.has(failed.error) for failed in frame.gaps.errors.values()):
            raise
    finally:
        items.frame.demand.holds.gather(items.node.index, frame.demand.holds)
    if isinstance(frame, CollectingFrame):
        if frame.turn.is_cut and frame.is_hopeless:
            return _too_many(run_context, items, frame)
        frame.put_failures()
    elif frame.gaps.errors:
        return _failed(run_context, frame)
    is_left = run_context.lifecycle.is_draining and frame.readiness.unsettled > 0
    is_cancelled_in = any(status == Status.CANCELLED for status in frame.status) if frame.gaps.gone else False
    return Cancelled() if is_cancelled_in or run_context.lifecycle.is_halted or is_left else Done(frame.values)


def _failed(run_context: RunContext, frame: Frame) -> Failed:
    """A map fails with the error of the item that failed first; the values of the others are kept."""
    failed = next(iter(frame.gaps.errors.values()))
    run_context.failures.pass_on(failed)  # the note names the item
    if run_context.failures.has(failed.error):
        run_context.progress.failed_maps.append(frame)
    return failed


def _too_many(run_context: RunContext, items: Items, frame: CollectingFrame) -> Failed:
    """So many items have failed that the others were cancelled."""
    errors = [failed.error for failed in frame.gaps.errors.values() if isinstance(failed.error, Exception)]
    values = {frame.name(index): value for index, value in enumerate(frame.values) if frame.has_value(index)}
    run_context.progress.failed_maps.append(frame)
    message = (
        f"{counted(len(errors), 'item')} of the {frame.size} of map {items.map_id!r} failed, and at least "
        f"{frame.size - frame.most_failures} have to succeed"
    )
    return Failed(MapFailed(message, errors, values))


@attrs.frozen(eq=False)
class Items:
    """The items of one map.

    Raises:
        ValueError: If more items have to succeed than there are.

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
    # How many items may fail, if failures are collected.
    most_failures: int = attrs.field(init=False)

    @most_failures.default
    def _allow(self) -> int:
        collect, size = self.node.terms.errors, self.size
        least = 0 if collect is None else collect.least(size)
        if least > size:
            raise ValueError(
                f"at least {least} items of map {self.map_id!r} have to succeed, and there are {size}"
            )
        return size - least

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
        nothing = frozenset[int]()
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
        )
        frame = self._frame(graph, layout)
        if self.frame.turn.ranks is not None:
            frame.turn.ranks = [self.frame.turn.ranks[node.index]] * size
        frame.readiness.take_news()
        digest = self.frame.digest(node.index)
        frame.turn.digests = None if digest is None else [digest]
        frame.turn.is_recorded = self.frame.turn.is_recorded
        return frame

    def _frame(self, graph: Graph, layout: Layout) -> ItemFrame:
        """A frame of all items, that does what the map says with those that fail."""
        collect, inputs, cut = self.node.terms.errors, self.frame.inputs, self.frame.turn.cut
        if collect is None:
            frame = ItemFrame.begin(graph, layout, inputs, self.map_id)
            frame.turn.handles, frame.turn.cut = self.frame.handling.of(self.node.index), cut
            return frame
        collecting = CollectingFrame.begin(graph, layout, inputs, self.map_id)
        collecting.turn.handles, collecting.turn.cut = always, cut
        collecting.most_failures = self.most_failures
        if collect.min_success is not None:
            collecting.turn.cut = Cut(cut)
        return collecting
