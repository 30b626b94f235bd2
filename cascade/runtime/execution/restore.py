"""Giving a frame the recorded outcomes of its nodes, with those of their values that are needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator, Mapping, Sequence
from typing import Any

import attrs

from cascade.graph.nested import PAUSE_EVERY
from cascade.graph.nodes import Junction, MapNode, Node
from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.model.skip_reasons import SkipReason
from cascade.planning.chained_maps import map_in
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.records import Record
from cascade.runtime.durability.recovery import PORTION, Recovery
from cascade.runtime.durability.resuming.changes import DERIVED
from cascade.runtime.durability.resuming.decided_anew import decide_as_before, decided_anew, outdated, won_before
from cascade.runtime.foundation.fairness import SLICE, give_way, paced, paced_dict, paced_list, portions
from cascade.runtime.frame.frame import Frame
from cascade.runtime.frame.turn import Extent, Recalled
from cascade.runtime.observation.details import NodesRecalled

Read = Callable[[Sequence[str]], Coroutine[Any, Any, dict[str, Any]]]


async def restore(run_context: RunContext, frame: Frame) -> None:
    """Fill *frame* with the recorded outcomes of its nodes, and with those of their values that are needed.

    Raises:
        StateError: If the store cannot be read.
    """
    await _fill(run_context, frame)
    await _tell(run_context, frame)


async def _fill(run_context: RunContext, frame: Frame) -> None:
    recovery = run_context.store.recovery
    if recovery is None or not recovery.past.is_known or not _is_in_recorded_turn(run_context, recovery, frame):
        return
    try:
        await _restore(recovery, frame, is_lenient=run_context.settings.on_change == "recompute")
    except StateError:
        raise
    except Exception as error:
        raise StateError(f"cannot read the records of run {run_context.run_id!r}: {describe(error)}") from error


async def restore_items(run_context: RunContext, above: Frame, index: int, items: Frame) -> None:
    """Fill *items*, the frame of the map *index* of *above*, but for items that are given others than before.

    Raises:
        StateError: If the store cannot be read.
    """
    anew = above.turn.anew
    if anew.get(index) is not Extent.ALL:
        await _fill(run_context, items)
    if anew.get(index) is Extent.BY_ITEM:
        await paced(_forget_changed(above, index, items))
    await _tell(run_context, items)
    if anew:
        kept = above.turn.kept[index] = bytearray(len(items.status))
        for item in items.turn.recorded:
            kept[item] = 1


async def _tell(run_context: RunContext, frame: Frame) -> None:
    """Tell which nodes of *frame* need not run again, and which do although they have a record."""
    recovery, recorded = run_context.store.recovery, frame.turn.recorded
    if recovery is None or not recovery.past.is_known or not run_context.events.wants(NodesRecalled):
        return
    if not _is_in_recorded_turn(run_context, recovery, frame):
        return
    named = ((frame.name(index), recalled.reason is not None) for index, recalled in recorded.items())
    ended, items = await paced_dict(named), await recovery.recorded_items()
    others = (frame.name(index) for index in range(len(frame.graph.rows)) if index not in recorded)
    again = await recovery.has_records(name for name in others if name not in items)
    if ended or again:
        below = await recovery.handled_below()
        handled = [failed for name in below.keys() & ended.keys() for failed in below[name]]
        await tell_recalled(run_context, ended, handled, again)


async def tell_recalled(
    run_context: RunContext, ended: Mapping[str, bool], handled: Collection[str], again: Collection[str] = ()
) -> None:
    """Tell that nodes have ended before: *ended* says of each whether it was skipped."""
    recovery = run_context.store.recovery
    assert recovery is not None
    items = await recovery.recorded_items()
    succeeded = {
        name: len(items[name]) if name in items else 1 for name, was_skipped in ended.items() if not was_skipped
    }
    skipped = [name for name, was_skipped in ended.items() if was_skipped]
    run_context.events.emit(
        NodesRecalled, succeeded=succeeded, skipped=skipped, handled=handled, again=again,
        is_listed=recovery.past.nodes is not None,
    )  # fmt: skip


def _forget_changed(above: Frame, index: int, items: Frame) -> Generator[None, None, None]:
    """Leave those records of *items* whose row comes from items that have a record too."""
    node, kept = above.graph.rows[index], above.turn.kept
    assert isinstance(node, MapNode)
    maps = {map_in(above.graph, column) for _, column in node.columns}
    columns = [kept[source] for source in maps if source in kept]  # of the others, all is recorded
    for item in [*items.turn.recorded]:
        if not all(column[item] for column in columns):
            del items.turn.recorded[item]
        yield


def _is_in_recorded_turn(run_context: RunContext, recovery: Recovery, frame: Frame) -> bool:
    """Whether the records are of the turn to which *frame* belongs: all turns of a loop use the same ids."""
    if not frame.prefix:
        return True  # it is restored in that turn only
    continuation = recovery.past.continuation
    turn, *inner = run_context.progress.turns(frame.prefix.removesuffix("/"))
    return turn == (1 if continuation is None else continuation.turn) and all(number == 1 for number in inner)


async def _restore(recovery: Recovery, frame: Frame, *, is_lenient: bool) -> None:
    names = await paced_list(frame.name(index) for index in range(len(frame.graph.rows)))
    records = await recovery.records(names)
    special = frame.layout.special
    may_decide_anew = bool(special.handlers or special.chains)  # maps that have items with records, maybe
    if not records and not may_decide_anew:
        return
    found = await paced_dict(_valid(frame, names, records))
    won: dict[int, int] = {}
    if may_decide_anew:
        known = [records.get(name) for name in names]
        won = won_before(frame.graph, frame.layout, found)
        frame.turn.anew = await paced(decided_anew(frame.graph, frame.layout, known, found, won))
        for index in frame.turn.anew:
            found.pop(index, None)
        if frame.turn.anew:
            items = await recovery.recorded_items()
            gone = await paced_list(outdated(frame.graph, names, frame.turn.anew, found, records, items))
            for portion in portions(gone, PORTION):
                await recovery.backend.forget(portion)
    if is_lenient:
        recall = Recall(frame, names, found, recovery.backend.get_readable_results, PORTION)
    else:  # a value that cannot be read is an error, so no value is read that may turn out not to be needed
        recall = Recall(frame, names, found, recovery.backend.get_results)
    await recall.run()
    frame.turn.recorded = await paced_dict(recall.recalled())
    recovery.restored += len(frame.turn.recorded)
    frame.gaps.collected.update(await paced_list(_with_failures(frame, await recovery.handled_below())))
    decide_as_before(frame, won)


def _with_failures(frame: Frame, below: Mapping[str, Collection[str]]) -> Iterator[int | None]:
    """The recorded maps that gave a list although items of them failed, by index."""
    for index, recalled in frame.turn.recorded.items() if below else ():
        name, is_map = frame.name(index), isinstance(frame.graph.rows[index], MapNode) and not frame.is_map
        failed = below.get(name, ()) if is_map and recalled.reason is None else ()
        yield index if any(item.rpartition("[")[0] == name for item in failed) else None


def _valid(frame: Frame, names: Sequence[str], records: dict[str, Record]) -> Iterator[tuple[int, Record] | None]:
    """The records that still hold, by index of their node: the digest is the same, and the skip is not derived."""
    for index, name in enumerate(names):
        record, digest = records.get(name), frame.digest(index)
        if record is None or record.reason in DERIVED or not (digest is None or record.digest in (None, digest)):
            yield None
        else:
            yield index, record


@attrs.define(eq=False)
class Recall:
    """Reads the values that nodes which run are going to need, and no others.

    A recorded node whose value is needed, and cannot be read, runs again, and then needs the values upstream of
    it. One pass from the last node to the first finds all of these, as every source comes before its consumers.

    Attributes:
        frame: The frame.
        names: The ids of its nodes.
        found: The records, by index of their node; the records of nodes that have to run again are removed.
        read: Gives the values of nodes that have one.
        most_ahead: How many values may be read at a time that may turn out not to be needed; at least 1.
        values: The values that have been read, by index of their node.
    """

    frame: Frame
    names: Sequence[str]
    found: dict[int, Record]
    read: Read
    most_ahead: int = 1
    values: dict[int, Any] = attrs.field(factory=dict)
    # Nodes whose values have been asked for.
    _asked: set[int] = attrs.field(factory=set)
    # 1 for each node whose value is needed.
    _wanted: bytearray = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wanted = bytearray(len(self.names))

    async def run(self) -> None:
        """Read what is needed.

        Raises:
            StateError: If *read* does.
        """
        await paced(self._need_members())
        needed = await paced(self._needed())
        await self._ask(needed)
        if len(self.values) == len(needed):
            return
        # Some values could not be read. Values upstream are read before it is known whether they are needed, twice
        # as many each time: in a chain of which no value can be read, each is needed because the next is missing.
        since, ahead = time.perf_counter(), 1
        for missing in self._misses():
            if missing is not None:
                await self._ask(list(self._ahead(missing, ahead)))
                ahead = min(2 * ahead, self.most_ahead)
            elif time.perf_counter() - since > SLICE:
                await give_way()
                since = time.perf_counter()

    def recalled(self) -> Iterator[tuple[int, Recalled]]:
        """The outcomes of the nodes that do not run again, by index of the node."""
        for index, record in self.found.items():
            reason = None if record.reason is None else SkipReason(record.reason)
            yield index, Recalled(self.values.get(index), reason)

    async def _ask(self, indices: Collection[int]) -> None:
        for portion in portions(list(indices), PORTION):
            given = await self.read([self.names[index] for index in portion])
            self._asked.update(portion)
            self.values.update(
                (index, given[self.names[index]]) for index in portion if self.names[index] in given
            )

    # -- what is needed ------------------------------------------------------------------------------------

    def _need_members(self) -> Generator[None, None, None]:
        members = range(len(self.names)) if self.frame.is_map else ()
        yield from self._want(self.frame.graph.members or members)

    def _want(self, indices: Sequence[int]) -> Generator[None, None, None]:
        for portion in portions(indices, PAUSE_EVERY):
            for index in portion:
                self._wanted[index] = 1
            yield

    def _sources(self, index: int) -> Sequence[int]:
        """The nodes whose values the node *index* needs."""
        record = self.found.get(index)
        graph = self.frame.graph
        if record is None or isinstance(graph.rows[index], Junction):
            return graph.sources[index]
        if record.reason is None:
            return ()
        node = graph.node(index)  # a skipped node may pass on the value of a source
        return node.data if isinstance(node, Node) else ()

    def _needs_value(self, index: int) -> bool:
        """Whether the value of a recorded node is to be read; without a stored value, the node runs again."""
        record = self.found.get(index)
        if record is None or record.reason is not None or not self._wanted[index]:
            return False
        if not record.is_durable:
            del self.found[index]
        return record.is_durable

    def _needed(self) -> Generator[None, None, list[int]]:
        """The nodes whose values are needed, provided that all of these can be read."""
        needed = []
        for index in range(len(self.names) - 1, -1, -1):
            if self._needs_value(index):
                needed.append(index)
            yield from self._want(self._sources(index))
            yield
        return needed

    def _misses(self) -> Iterator[int | None]:
        """Remove the nodes whose values cannot be read; yields those whose values have to be asked for first.

        Yields ``None`` where the event loop may run other tasks.
        """
        for index in range(len(self.names) - 1, -1, -1):
            if self._needs_value(index):
                if index not in self._asked:
                    yield index
                if index not in self.values:
                    del self.found[index]
            else:
                self.values.pop(index, None)
            yield from self._want(self._sources(index))
            yield None

    def _ahead(self, last: int, count: int) -> Iterator[int]:
        """The node *last*, and those among the *count* nodes before it whose values may be needed next."""
        for index in range(last, max(last - count, -1), -1):
            record = self.found.get(index)
            if index not in self._asked and record is not None and record.reason is None and record.is_durable:
                yield index
