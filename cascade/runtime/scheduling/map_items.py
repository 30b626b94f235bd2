"""Maps: a call per row, in a nursery of their own.

The items are a frame like any other, of nodes that have no edges; so they run where plain nodes run, and by the
same rules. An item of a map that follows others (``chains``) is ready when the items in its row have values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import anyio
import attrs
from anyio import get_cancelled_exc_class

from cascade.graph.nodes import NO_TERMS, Graph, MapNode, Node, Terms
from cascade.model.errors import MapFailed
from cascade.model.events import TaskExecutionFinished, TaskExecutionStarted
from cascade.model.outcomes import Cancelled, Done, Failed, NodeOutcome, Skipped, Status
from cascade.model.shown.text import counted
from cascade.model.skip_reasons import SkipReason
from cascade.planning.chained_maps import is_settled_by_item
from cascade.planning.layout import NOTHING_SPECIAL, Goes, Layout, Place, Special, place_of
from cascade.runtime.admission.pool import Amount
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.binding import Arguments, NodeSlots, amounts, arguments, columns
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.job import Job
from cascade.runtime.execution.restore import restore_items
from cascade.runtime.execution.settle import Ending
from cascade.runtime.execution.target import values_left
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.frame.endings import ItemOutcomes, joined
from cascade.runtime.frame.frame import Frame
from cascade.runtime.frame.gaps import FailedItems
from cascade.runtime.frame.turn import always
from cascade.runtime.scheduling.chains.chains import Chains
from cascade.runtime.scheduling.chains.supply import Feed, Intake, Supply, still_to_come
from cascade.runtime.scheduling.item_frames import Alike, CollectingFrame, ItemFrame
from cascade.runtime.scheduling.keeping import Keeping

# Runs all nodes of a frame, which are the items of a map.
RunItems = Callable[[RunContext, "Items", "ItemFrame"], Awaitable[None]]


async def live_map(
    run_context: RunContext, chains: Chains, node: MapNode, job: Job, run_items: RunItems
) -> Ending:
    """Run all items of a map; its value is the list of theirs, in input order.

    The map itself claims nothing and holds no thread. If cancelled, its items are.

    Args:
        run_context: The run.
        chains: The maps that this one follows, or that follow it, and the frame where the columns come from.
        node: The map.
        job: What the map would be as a single call; its items are like it but for arguments and id.
        run_items: Runs all nodes of a frame.
    """
    if run_context.lifecycle.is_halted or is_cancelled():
        return Ending(Cancelled())  # spawned in the very step in which the run ended
    frame, followed = chains.frame, chains.followed_by(node.index)
    coming = {column: feed.values() for column, feed in followed.items()}
    try:
        items = Items(
            frame, node, columns(frame, node, coming), job.node_id, job.resources, [*followed.values()],
            run_context.shared.goes,
        )  # fmt: skip
    except BaseException as error:  # columns are made by user code; the map is settled with what that raises
        return Ending(classify(error, job.node_id))
    started = anyio.current_time()
    run_context.events.emit_node(TaskExecutionStarted, job, items=items.size)
    try:
        return Ending(await _run(run_context, items, chains, run_items), attempts=1, started=started)
    except BaseException as error:  # a cancellation most likely; the map is settled with it
        return Ending(classify(error, job.node_id), attempts=1, started=started)


async def _run(run_context: RunContext, items: Items, chains: Chains, run_items: RunItems) -> NodeOutcome:
    frame = items.begin()
    frame.may_stay = items.goes is not None and Keeping(run_context, items.frame).may_stay(items.node.index)
    if run_context.store.recovery is not None:
        await restore_items(run_context, items.frame, items.node.index, frame)
    frame.supply = _supply(run_context, items, frame, chains)
    if isinstance(frame, CollectingFrame):
        frame.give_up = partial(run_context.lifecycle.nodes.give_up, items.map_id)
    try:
        await run_items(run_context, items, frame)
    except get_cancelled_exc_class():
        if not _is_told(run_context, frame) and not frame.is_given_up:
            raise
    finally:
        items.frame.demand.holds.gather(items.node.index, frame.demand.holds)
        run_context.progress.unkept.discard(items.map_id)
        if frame.intake is not None:
            frame.intake.leave()
    return _outcome(run_context, items, frame)


def _outcome(run_context: RunContext, items: Items, frame: ItemFrame) -> NodeOutcome:
    """How a map has ended whose items run no more."""
    if isinstance(frame, CollectingFrame) and frame.is_given_up:
        failed = _too_many(items, frame)
        run_context.failures.bring(failed.error, (), frame.gaps.all_maps())
        return failed
    if frame.intake is not None and not frame.intake.is_whole and not run_context.lifecycle.is_closing:
        return Skipped(SkipReason.UPSTREAM_FAILED)
    is_left = run_context.lifecycle.is_draining and frame.readiness.unsettled > 0
    has_failed = frame.gaps.errors and not isinstance(frame, CollectingFrame)
    if has_failed and (not is_left or _is_told(run_context, frame)):
        return _failed(run_context, items, frame)
    is_cancelled_in = frame.gaps.gone and Status.CANCELLED in frame.status
    if is_cancelled_in or is_left or run_context.lifecycle.is_halted:
        return Cancelled()
    if frame.gaps.errors:
        items.frame.gaps.collected.add(items.node.index)
    return Done(frame.values if frame.supply is None else frame.supply.value())


def _is_told(run_context: RunContext, frame: Frame) -> bool:
    """Whether an item has failed, and that is a failure of the run."""
    return any(run_context.failures.has(failed.error) for failed in frame.gaps.errors.values())


def _supply(run_context: RunContext, items: Items, frame: ItemFrame, chains: Chains) -> Supply | None:
    """The items for the maps that follow this one; ``None`` if there are none."""
    progress, map_id = run_context.progress, items.map_id
    supply = chains.begin(
        items.node.index,
        frame,
        is_shown=run_context.events.wants(TaskExecutionFinished),
        is_wanted=map_id in progress.streamed,
    )
    if supply is not None and not supply.is_kept:
        progress.unkept.add(map_id)
    return supply


def _failed(run_context: RunContext, items: Items, frame: Frame) -> Failed:
    """A map fails with the error of the item that failed first; the values of the others are kept.

    If each has ended by itself, that is there for those who take how the items end, in place of the list.
    """
    have_ended = not frame.readiness.unsettled and Status.CANCELLED not in frame.status
    if have_ended and is_settled_by_item(items.frame.graph, items.node.index):
        items.frame.values[items.node.index] = ItemOutcomes(frame.values, frame.gaps.errors)
    first, *others = joined((error, *frame.gaps.beside.get(item, ())) for item, error in frame.gaps.errors.items())
    failed = attrs.evolve(first, index=None)
    maps: list[FailedItems] = []
    if run_context.settings.on_error != "first":  # else nobody gets their values
        maps = [FailedItems(frame.gaps.errors, partial(values_left, frame)), *frame.gaps.all_maps()]
    run_context.failures.pass_on(failed, others, maps)  # the note names the item
    if run_context.failures.has(failed.error):
        run_context.progress.failed_maps += maps
    return failed


def _too_many(items: Items, frame: CollectingFrame) -> Failed:
    """So many items have failed that the others were cancelled."""
    errors = [failed.error for failed in frame.gaps.errors.values() if isinstance(failed.error, Exception)]
    values = {frame.name(index): value for index, value in enumerate(frame.values) if frame.has_value(index)}
    message = (
        f"{counted(len(errors), 'item')} of the {frame.size} of map {items.map_id!r} failed, and at least "
        f"{frame.size - frame.most_failures} have to succeed"
    )
    return Failed(MapFailed(message, errors, values))


@attrs.frozen(eq=False)
class Items:
    """The items of one map.

    A map may have very many, so its frame keeps for each of them what fits into bytes, and no objects.

    Raises:
        ValueError: If more items have to succeed than there are.

    Attributes:
        frame: Where the arguments that all share come from.
        node: The map.
        columns: What the items have of their own: by parameter, a value for each.
        map_id: Id of the map.
        resources: The resources that each item injects.
        followed: The columns that come item by item from maps that this one follows.
        goes: Which calls leave this process; ``None``: none.
    """

    frame: Frame
    node: MapNode
    columns: dict[str, Sequence[Any]]
    map_id: str
    resources: tuple[str, ...]
    followed: Sequence[Feed] = ()
    goes: Goes | None = None
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

    def label(self, item: int) -> str | None:
        """What people call an item; the name of the map, if items have none."""
        label = self.node.terms.hints.label
        if label is None:
            return None
        return label.text_of_item({name: column[item] for name, column in self.columns.items()})

    def claimed(self, _: Node) -> Mapping[str, Amount]:
        """What each item claims: the same as the others."""
        return self._claimed

    def begin(self) -> ItemFrame:
        """A frame in which all items are ready, but for those that wait for items of other maps."""
        size, node = self.size, self.node
        terms = node.terms
        own = Terms(terms.retry, terms.timeout, terms.cache, terms.amounts, undo=terms.undo)
        item = Node(0, node.call, node.task, (), (), (), (), (), NO_TERMS if own == NO_TERMS else own, 1)
        place = Place.OWN if self.resources else place_of(item, self.goes)
        injecting = dict.fromkeys(range(size), self.resources) if self.resources else {}
        nothing, above = frozenset[int](), self.frame.layout.special.priorities
        nobody: list[tuple[int, ...]] = [()] * size
        if self.followed:  # by so many items as well
            nobody = self.followed[0].supply.frame.graph.sources
        ordinals, consumers = bytes([1]) * size, cast("list[Sequence[int]]", nobody)
        graph = Graph([item] * size, nobody, ordinals, consumers, 0, (), {}, {})
        layout = Layout(
            still_to_come(self.followed) if self.followed else bytearray(size),
            bytearray([1]) * size,
            nothing,
            {},
            bytearray([place]) * size,
            injecting,
            {},
            nothing,
            size,
            ready=(),  # which items are, the scheduler is told
            own=(),
            special=NOTHING_SPECIAL if above is None else Special(priorities=[above[node.index]] * size),
        )
        frame = self._frame(graph, layout)
        if self.frame.turn.ranks is not None:
            frame.turn.ranks = Alike(self.frame.turn.ranks[node.index], size)
        digest = self.frame.digest(node.index)
        frame.turn.digests = None if digest is None else [digest]
        frame.turn.is_recorded = self.frame.turn.is_recorded
        if self.followed:
            frame.intake = Intake(frame, self.followed)
            frame.intake.begin()
        return frame

    def _frame(self, graph: Graph, layout: Layout) -> ItemFrame:
        """A frame of all items, that does what the map says with those that fail."""
        collects, inputs = self.node.terms.errors is not None, self.frame.inputs
        frame = (CollectingFrame if collects else ItemFrame).begin(graph, layout, inputs, self.map_id)
        frame.above, frame.labels = (self.frame.graph, self.node), self.label
        frame.turn.handles = self.frame.handling.of_items(self.node.index)
        if isinstance(frame, CollectingFrame):
            frame.turn.handles, frame.most_failures = always, self.most_failures
        return frame
