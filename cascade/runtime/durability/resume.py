"""Going on with a run that was begun before: what is recorded of it, and what that still means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs
from anyio import CancelScope

from cascade.graph.identity import Contents, contents_of, item_digest
from cascade.graph.nodes import Graph, MapNode
from cascade.model.errors import CascadeError, FlowChangedError, StateError, describe
from cascade.model.outcomes import SkipReason
from cascade.model.policies import Retry
from cascade.model.secrets import MARK
from cascade.model.text import preview
from cascade.runtime.durability.backend import Batch, Entry, Opening, Past, Record, StateBackend, origin_var
from cascade.runtime.foundation.fairness import paced, paced_dict, paced_list, portions


class Choices(Protocol):
    """What the settings of a run say of what was recorded before."""

    @property
    def on_finished(self) -> str:
        """What to do if the run had succeeded."""

    @property
    def on_change(self) -> str:
        """What to do if the flow is another one."""


class Flow(Protocol):
    """A flow that is ready to be run."""

    @property
    def graph(self) -> Graph:
        """Its graph."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Values of its inputs."""

    def params(self) -> dict[str, Any]:
        """Its parameters, as they may be shown."""


# Skips that follow from something else, which is decided anew.
DERIVED: Final = (SkipReason.PRUNED.value, SkipReason.UPSTREAM_FAILED.value)

# Records and values that are asked for at once.
PORTION: Final = 500

# From a run id to the backend of that run; None where outcomes are not recorded.
OpenRun = Callable[[str], StateBackend | None]

# Of runs that nobody can resume.
NO_CONTENTS: Final = Contents((), b"", {}, frozenset())


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
    _listed: Collection[str] | None = None
    _attempts: dict[str, tuple[bytes | None, int]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
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

    async def records(self, names: Iterable[str | None]) -> dict[str, Record]:
        """What is recorded of *names*; asked for in portions, as there may be very many."""
        if self._listed is None and self.past.nodes is not None:
            self._listed = await paced_dict((name, None) for name in self.past.nodes)
        listed, found = self._listed, dict[str, Record]()
        wanted = await paced_list(name if listed is None or name in listed else None for name in names)
        for portion in portions(wanted, PORTION):
            found.update(await self.backend.recall(portion))
        return found

    async def records_of(self, graph: Graph) -> tuple[dict[str, Record], dict[str, bytes]]:
        """What is recorded of the nodes of *graph*; and their contents, by name."""
        digests = await paced_dict(
            (graph.name(index), digest) for index, digest in enumerate(self.contents.digests)
        )
        return await self.records(digests), digests


async def recover(
    settings: Choices, run_id: str, prepared: Flow, open_run: OpenRun, *, is_new: bool
) -> Recovery | None:
    """Take the run *run_id* in its store, if it has one.

    Args:
        settings: How it is run.
        run_id: The run.
        prepared: Its flow.
        open_run: Opens a run in the store.
        is_new: Whether the id was made for this run.

    Raises:
        RunInProgressError: If somebody else executes it.
        FlowChangedError: If it was recorded with another flow, unless the settings allow that.
        StateError: If the store cannot be used, or the run has finished and that is not wanted.
    """
    backend = open_run(run_id)
    if backend is None:
        return None
    contents = NO_CONTENTS
    if backend.can_resume:
        contents = await paced(contents_of(prepared.graph, prepared.inputs))
    try:
        recovery = await _begin(backend, prepared, contents, is_new=is_new)
        return await _reconciled(recovery, settings, prepared, open_run) if recovery.past.is_known else recovery
    except BaseException as error:
        with CancelScope(shield=True):
            await backend.aclose()
        if isinstance(error, CascadeError) or not isinstance(error, Exception):
            raise
        raise StateError(f"cannot read the records of run {run_id!r}: {describe(error)}") from error


async def _begin(backend: StateBackend, prepared: Flow, contents: Contents, *, is_new: bool) -> Recovery:
    graph = prepared.graph
    opening = Opening(
        is_new,
        await paced_list(graph.name(member) for member in graph.members),
        contents.flow,
        {name: value if value is MARK else preview(value) for name, value in prepared.params().items()},
        origin_var.get(),
    )
    return Recovery(backend.run_id, backend, await backend.begin(opening), contents)


async def _reconciled(recovery: Recovery, settings: Choices, prepared: Flow, open_run: OpenRun) -> Recovery:
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
        return await _forked(recovery, open_run, prepared, changed)
    if past.continuation is not None:
        return await _afresh(recovery)
    for portion in portions(await paced_list(_under(changed, past.nodes or ())), PORTION):
        await backend.forget(portion)
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
        is_same = past.flow_digest in (None, contents.flow) or not contents.volatile.isdisjoint(graph.members)
        return [] if is_same else [graph.name(member) for member in graph.members]
    names = past.nodes or ()
    records, digests = await recovery.records_of(graph)
    # Of these it is not known whether they have changed: they run again.
    volatile = {graph.name(index) for index in contents.volatile}
    known = {name: digest for name, digest in digests.items() if name not in volatile} if volatile else digests
    maps = await paced_list(row.name if isinstance(row, MapNode) else None for row in graph.rows)
    interrupted = {name for name in maps if name in known and name not in records}
    items = await paced_dict(_items(names, interrupted, known)) if interrupted else {}
    changed = await paced_list(_differing(records, known))
    changed += await paced_list(_differing(await recovery.records(items), items))
    gone = (None if any(root in digests for root in _roots(name)) else name for name in names)
    return [*changed, *await paced_list(gone)]


def _differing(records: Mapping[str, Record], digests: Mapping[str, bytes]) -> Iterator[str | None]:
    """What was recorded with another content than it has now, but for skips that are decided anew."""
    for name, record in records.items():
        digest = digests.get(name)
        is_same = digest is None or record.digest in (None, digest)
        yield None if is_same or record.reason in DERIVED else name


def _items(
    names: Iterable[str], maps: Collection[str], digests: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes] | None]:
    """The items of *maps* among *names*, with the contents that they have now."""
    for name in names:
        map_id, _, item = name.removesuffix("]").rpartition("[")
        is_item = map_id in maps and name == f"{map_id}[{item}]" and item.isdecimal()
        yield (name, item_digest(digests[map_id], int(item))) if is_item else None


def _roots(name: str) -> Iterator[str]:
    """The nodes that *name* may belong to: itself, or what it is an item or a part of."""
    yield name
    yield from (name[:place] for place, letter in enumerate(name) if letter in "/[")


def _under(changed: Iterable[str], names: Iterable[str]) -> Iterator[str | None]:
    """*changed*, and what belongs to these."""
    roots = set(changed)
    yield from roots
    yield from (None if name in roots or roots.isdisjoint(_roots(name)) else name for name in names)


async def _forked(recovery: Recovery, open_run: OpenRun, prepared: Flow, changed: Sequence[str]) -> Recovery:
    """A run of its own for the changed flow, with the records that still hold; the other stays as it is."""
    old, contents = recovery.backend, recovery.contents
    run_id = f"{recovery.run_id}~{contents.flow.hex()[:8]}"
    backend = open_run(run_id)
    assert backend is not None  # the store of the run that is forked is of the same kind
    try:
        fork = await _begin(backend, prepared, contents, is_new=False)
        if not fork.past.is_known:
            nodes = await _copy(recovery, backend, await _kept(recovery, prepared.graph, changed))
            fork = Recovery(run_id, backend, Past(is_known=True, nodes=nodes, epoch=fork.past.epoch), contents)
        await old.aclose()
    except BaseException:
        with CancelScope(shield=True):
            await backend.aclose()
        raise
    return fork


async def _kept(recovery: Recovery, graph: Graph, changed: Sequence[str]) -> dict[str, Record]:
    """The records of *recovery* that hold for *graph*, in which *changed* are other nodes than before."""
    if recovery.past.continuation is not None:
        return {}
    found, digests = await recovery.records_of(graph)
    records = await paced_dict(
        (name, record) if record.digest == digests[name] else None for name, record in found.items()
    )
    whole = await paced_list(name if _is_whole(record) else None for name, record in records.items())
    parts = await _parts(recovery, digests, frozenset((*changed, *whole)))
    return await paced_dict((*records.items(), *parts.items()))


async def _copy(recovery: Recovery, backend: StateBackend, records: Mapping[str, Record]) -> list[str]:
    """Record *records* in *backend* too, as far as their values can be read; returns the nodes."""
    copied: list[str] = []
    for portion in portions(list(records.items()), PORTION):
        durable = [name for name, record in portion if _is_whole(record)]
        values = await recovery.backend.get_readable_results(durable)
        entries = [
            Entry(
                name, values.get(name), record.reason, "succeeded" if record.reason is None else "skipped",
                record.digest,
            )
            for name, record in portion
            if name in values or record.reason is not None
        ]  # fmt: skip
        await backend.write(Batch(entries))
        copied += [entry.node_id for entry in entries]
    return copied


def _is_whole(record: Record) -> bool:
    """Whether nothing of the node needs to run again."""
    return record.reason is None and record.is_durable


async def _parts(recovery: Recovery, names: Collection[str], without: frozenset[str]) -> dict[str, Record]:
    """The records of what belongs to the nodes *names*, but not of what belongs to *without*.

    Of a sub-flow nothing is known until its node has returned it; then they are compared.
    """
    past = recovery.past.nodes or ()
    parts = (name if name not in names and without.isdisjoint(_roots(name)) else None for name in past)
    records = await recovery.records(parts)
    return await paced_dict(None if record.digest is None else (name, record) for name, record in records.items())
