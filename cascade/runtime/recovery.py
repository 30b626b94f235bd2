"""Going on with a run that was begun before: what is recorded of it, and what that still means."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
from anyio import CancelScope

from cascade.graph.identity import Contents, contents_of, item_digest
from cascade.graph.nodes import Graph, Junction, MapNode, Node
from cascade.model.errors import CascadeError, FlowChangedError, StateError, describe
from cascade.model.events import preview
from cascade.model.outcomes import SkipReason
from cascade.model.policies import Retry
from cascade.model.secrets import MARK
from cascade.runtime.frame import Frame, Recalled
from cascade.runtime.prepare import Prepared
from cascade.runtime.settings import Settings
from cascade.runtime.slices import paced
from cascade.runtime.state import Batch, Entry, Opening, Past, Record, StateBackend, origin_var
from cascade.runtime.stores import open_backend

if TYPE_CHECKING:
    from cascade.runtime.execution import Execution

# Skips that follow from something else, which is decided anew.
_DERIVED = (SkipReason.PRUNED.value, SkipReason.UPSTREAM_FAILED.value)

# Of runs that nobody can resume.
NO_CONTENTS: Final = Contents((), b"", {})


@attrs.define(eq=False)
class Recovery:
    """What a run has from its store.

    Attributes:
        run_id: The run: another than was asked for, if the flow had changed and a fork was wanted.
        backend: Its store.
        past: What the store knew when the run began.
        contents: What its records are compared by.
        restored: Nodes that have been taken from the store instead of being run.
    """

    run_id: str
    backend: StateBackend
    past: Past
    contents: Contents
    restored: int = 0
    _listed: frozenset[str] | None = None
    _attempts: dict[str, tuple[bytes | None, int]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.past.nodes is not None:
            self._listed = frozenset(self.past.nodes)
        self._attempts.update(self.past.retrying)

    def attempts(self, name: str, digest: bytes | None, retry: Retry) -> int:
        """Attempts at the node *name* that were made before, and count; asked once, as a loop uses names again."""
        if name not in self.past.retrying:
            return 0
        recorded, made = self._attempts.pop(name, (None, 0))
        return min(made, retry.max_attempts - 1) if recorded in (None, digest) or digest is None else 0

    def forget_attempts(self) -> None:
        """All begins anew."""
        self._attempts.clear()

    async def records(self, names: Sequence[str]) -> dict[str, Record]:
        """What is recorded of *names*."""
        wanted = names if self._listed is None else [name for name in names if name in self._listed]
        return await self.backend.recall(wanted) if wanted else {}


async def recover(settings: Settings, run_id: str, prepared: Prepared, *, is_new: bool) -> Recovery | None:
    """Take the run *run_id* in its store, if it has one.

    Args:
        settings: How it is run.
        run_id: The run.
        prepared: Its flow.
        is_new: Whether the id was made for this run.

    Raises:
        RunInProgressError: If somebody else executes it.
        FlowChangedError: If it was recorded with another flow, unless the settings allow that.
        StateError: If the store cannot be used, or the run has finished and that is not wanted.
    """
    backend = open_backend(settings.state, run_id)
    if backend is None:
        return None
    contents = NO_CONTENTS
    if backend.can_resume:
        contents = await paced(contents_of(prepared.graph, prepared.inputs))
    try:
        recovery = await _begin(backend, prepared, contents, is_new=is_new)
        return await _reconciled(recovery, settings, prepared) if recovery.past.is_known else recovery
    except BaseException as error:
        with CancelScope(shield=True):
            await backend.aclose()
        if isinstance(error, CascadeError) or not isinstance(error, Exception):
            raise
        raise StateError(f"cannot read the records of run {run_id!r}: {describe(error)}") from error


async def _begin(backend: StateBackend, prepared: Prepared, contents: Contents, *, is_new: bool) -> Recovery:
    graph = prepared.graph
    opening = Opening(
        is_new,
        tuple(graph.name(member) for member in graph.members),
        contents.flow,
        {name: value if value is MARK else preview(value) for name, value in prepared.params().items()},
        origin_var.get(),
    )
    return Recovery(backend.run_id, backend, await backend.begin(opening), contents)


async def _reconciled(recovery: Recovery, settings: Settings, prepared: Prepared) -> Recovery:
    """*recovery* with what the store knows of a run of this flow."""
    past, backend = recovery.past, recovery.backend
    is_finished = past.status == "succeeded"
    if is_finished and settings.on_finished == "error":
        raise StateError(f"run {recovery.run_id!r} has finished already; use another run_id, or on_finished=")
    if is_finished and settings.on_finished == "rerun":
        return await _afresh(recovery)
    if past.unreadable is not None:
        if settings.on_change != "recompute":
            raise past.unreadable
        return await _afresh(recovery)
    changed = await _changed(recovery, prepared.graph)
    if not changed and past.flow_digest in (None, recovery.contents.flow):
        if is_finished and past.result is None:
            await backend.adopt(recovery.contents.flow)
        return recovery
    if changed and settings.on_change == "error":
        raise FlowChangedError(recovery.run_id, changed)
    if changed and settings.on_change == "fork":
        return await _forked(recovery, settings, prepared, changed)
    if past.continuation is not None:
        return await _afresh(recovery)
    await backend.forget(_under(changed, past.nodes or ()))
    await backend.adopt(recovery.contents.flow)
    recovery.past = attrs.evolve(past, result=None, status="running")
    return recovery


async def _afresh(recovery: Recovery) -> Recovery:
    await recovery.backend.clear()
    await recovery.backend.adopt(recovery.contents.flow)
    recovery.past = Past(epoch=recovery.past.epoch)
    recovery.forget_attempts()
    return recovery


async def _changed(recovery: Recovery, graph: Graph) -> list[str]:
    """Ids of recorded nodes that the flow no longer has, or has with another content."""
    past, contents = recovery.past, recovery.contents
    if past.continuation is not None:
        # The records are those of a later turn; what the loop began with stands for all of it.
        is_same = past.flow_digest in (None, contents.flow)
        return [] if is_same else [graph.name(member) for member in graph.members]
    digests = {graph.name(index): digest for index, digest in enumerate(contents.digests)}
    records = await recovery.records(list(digests))
    interrupted = {row.name for row in graph.rows if isinstance(row, MapNode) and row.name not in records}
    digests_of_items = dict(_items(past.nodes or (), interrupted, digests)) if interrupted else {}
    records_of_items = await recovery.records(list(digests_of_items))
    gone = (name for name in past.nodes or () if not any(root in digests for root in _roots(name)))
    return [*_differing(records, digests), *_differing(records_of_items, digests_of_items), *gone]


def _differing(records: Mapping[str, Record], digests: Mapping[str, bytes | None]) -> list[str]:
    """What was recorded with another content than it has now, but for skips that are decided anew."""
    found = ((name, record) for name, record in records.items() if record.reason not in _DERIVED)
    return [
        name for name, record in found
        if digests[name] is not None and record.digest not in (None, digests[name])
    ]  # fmt: skip


def _items(
    names: Iterable[str], maps: Collection[str], digests: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """The items of *maps* among *names*, with the contents that they have now."""
    for name in names:
        map_id, _, item = name.removesuffix("]").rpartition("[")
        if map_id in maps and name == f"{map_id}[{item}]" and item.isdecimal():
            yield name, item_digest(digests[map_id], int(item))


def _roots(name: str) -> Iterator[str]:
    """The nodes that *name* may belong to: itself, or what it is an item or a part of."""
    yield name
    yield from (name[:place] for place, letter in enumerate(name) if letter in "/[")


def _under(changed: Iterable[str], names: Iterable[str]) -> list[str]:
    """*changed*, and what belongs to these."""
    roots = set(changed)
    return [*roots, *(name for name in names if name not in roots and not roots.isdisjoint(_roots(name)))]


async def _forked(recovery: Recovery, settings: Settings, prepared: Prepared, changed: Sequence[str]) -> Recovery:
    """A run of its own for the changed flow, with the records that still hold; the other stays as it is."""
    old, contents = recovery.backend, recovery.contents
    run_id = f"{recovery.run_id}~{contents.flow.hex()[:8]}"
    backend = open_backend(settings.state, run_id)
    assert backend is not None  # the store of the run that is forked is of the same kind
    try:
        fork = await _begin(backend, prepared, contents, is_new=False)
        if not fork.past.is_known:
            entries = await _kept(recovery, prepared.graph, changed)
            await backend.write(Batch(entries))
            nodes = [entry.node_id for entry in entries]
            fork = Recovery(run_id, backend, Past(is_known=True, nodes=nodes, epoch=fork.past.epoch), contents)
        await old.aclose()
    except BaseException:
        with CancelScope(shield=True):
            await backend.aclose()
        raise
    return fork


async def _kept(recovery: Recovery, graph: Graph, changed: Sequence[str]) -> list[Entry]:
    """The records of *recovery* that hold for *graph*, in which *changed* are other nodes than before."""
    if recovery.past.continuation is not None:
        return []
    digests = {graph.name(index): digest for index, digest in enumerate(recovery.contents.digests)}
    records = await recovery.records(list(digests))
    records = {name: record for name, record in records.items() if record.digest == digests[name]}
    whole = [name for name, record in records.items() if _is_whole(record)]
    records |= await _parts(recovery, digests, frozenset((*changed, *whole)))
    durable = [name for name, record in records.items() if _is_whole(record)]
    values = await _readable(recovery.backend, durable)
    return [
        Entry(
            name, values.get(name), record.reason, "succeeded" if record.reason is None else "skipped",
            record.digest,
        )
        for name, record in records.items()
        if name in values or record.reason is not None
    ]  # fmt: skip


def _is_whole(record: Record) -> bool:
    """Whether nothing of the node needs to run again."""
    return record.reason is None and record.is_durable


async def _parts(recovery: Recovery, names: Iterable[str], without: frozenset[str]) -> dict[str, Record]:
    """The records of what belongs to the nodes *names*, but not of what belongs to *without*.

    Of a sub-flow nothing is known until its node has returned it; then they are compared.
    """
    past, tops = recovery.past.nodes or (), set(names)
    parts = [name for name in past if name not in tops and without.isdisjoint(_roots(name))]
    records = await recovery.records(parts)
    return {name: record for name, record in records.items() if record.digest is not None}


# -- frames ----------------------------------------------------------------------------------------------------


async def restore(execution: Execution, frame: Frame) -> None:
    """Give *frame* what is recorded of its nodes, with the values that somebody is going to need.

    Raises:
        StateError: If the store cannot be read.
    """
    recovery = execution.recovery
    if recovery is None or not recovery.past.is_known or not _is_in_recorded_turn(execution, recovery, frame):
        return
    try:
        await _restore(recovery, frame, is_lenient=execution.settings.on_change == "recompute")
    except StateError:
        raise
    except Exception as error:
        raise StateError(f"cannot read the records of run {execution.run_id!r}: {describe(error)}") from error


def _is_in_recorded_turn(execution: Execution, recovery: Recovery, frame: Frame) -> bool:
    """Whether the records are of the turn that *frame* belongs to: the turns after it use their ids again."""
    if not frame.prefix:
        return True  # it is restored in that turn only
    continuation = recovery.past.continuation
    turn, *inner = execution.turns(frame.prefix.removesuffix("/"))
    return turn == (1 if continuation is None else continuation.turn) and all(number == 1 for number in inner)


async def _restore(recovery: Recovery, frame: Frame, *, is_lenient: bool) -> None:
    names = [frame.name(index) for index in range(len(frame.graph.rows))]
    records = await recovery.records(names)
    if not records:
        return
    found: dict[int, Record] = {}
    for index, name in enumerate(names):
        record = records.get(name)
        if record is None or record.reason in _DERIVED:
            continue
        digest = frame.digest(index)
        if digest is None or record.digest in (None, digest):
            found[index] = record
    backend, values = recovery.backend, dict[str, Any]()
    while needed := {index for index in _needed(frame, found) if names[index] not in values}:
        asked = [names[index] for index in needed]
        values.update(await (_readable(backend, asked) if is_lenient else backend.get_results(asked)))
        for index in needed:
            if names[index] not in values:
                del found[index]  # it runs, and needs what is upstream
    for index, record in found.items():
        reason = None if record.reason is None else SkipReason(record.reason)
        frame.recorded[index] = Recalled(values.get(names[index]), reason)
    recovery.restored += len(frame.recorded)


async def _readable(backend: StateBackend, names: Sequence[str]) -> dict[str, Any]:
    """The results of *names*, without those that cannot be read."""
    try:
        return await backend.get_results(names)
    except StateError:
        if len(names) < 2:
            return {}
    half = len(names) // 2
    return {**await _readable(backend, names[:half]), **await _readable(backend, names[half:])}


def _needed(frame: Frame, found: dict[int, Record]) -> set[int]:
    """The nodes of *found* whose values are needed; those that have none that could be are taken out of it."""
    graph = frame.graph
    needed: set[int] = set()
    members = set(graph.members) if graph.members else range(len(graph.rows)) if frame.is_map else ()
    for index in range(len(graph.rows) - 1, -1, -1):
        record = found.get(index)
        if record is None or record.reason is not None:
            continue
        if index in members or any(_wants(frame, found, consumer, index) for consumer in graph.consumers[index]):
            if record.is_durable:
                needed.add(index)
            else:
                del found[index]
    return needed


def _wants(frame: Frame, found: dict[int, Record], consumer: int, index: int) -> bool:
    """Whether *consumer* is going to look at the value of *index*."""
    if isinstance(frame.graph.rows[consumer], Junction) or consumer not in found:
        return True
    if found[consumer].reason is None:
        return False
    node = frame.graph.node(consumer)
    return isinstance(node, Node) and index in node.data
