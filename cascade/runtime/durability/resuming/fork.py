"""A changed flow as a run of its own, with the records of the other run that still hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from anyio import CancelScope

from cascade.graph.nodes import Graph
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Batch, Entry, Past, Record, roots
from cascade.runtime.durability.recovery import PORTION, OpenRun, RecordedFlow, Recovery, open_recovery
from cascade.runtime.durability.signal_records import VALUE, Unreadable
from cascade.runtime.foundation.fairness import paced_dict, paced_list, portions


async def forked(
    recovery: Recovery,
    open_run: OpenRun,
    flow: RecordedFlow,
    changed: Sequence[str],
    go_on: Callable[[Recovery], Awaitable[Recovery]],
) -> Recovery:
    """The run ``RUN~DIGEST`` for *flow*; the run of *recovery* stays as it is, and its backend is closed.

    If it was forked before, *go_on* says what becomes of its records.
    """
    old, contents = recovery.backend, recovery.contents
    run_id = f"{recovery.run_id}~{contents.flow.hex()[:8]}"
    backend = open_run(run_id)
    assert backend is not None  # the store of the run that is forked is of the same kind
    try:
        fork = await open_recovery(backend, flow, contents, is_new=False)
        if fork.past.is_known:
            fork = await go_on(fork)
        else:
            nodes = await _copy(recovery, backend, await _kept(recovery, flow.graph, changed))
            await _copy_signals(old, backend)
            fork = Recovery(run_id, backend, Past(is_known=True, nodes=nodes, epoch=fork.past.epoch), contents)
        await old.aclose()
    except BaseException:
        with CancelScope(shield=True):
            await backend.aclose()
        raise
    return fork


async def _kept(recovery: Recovery, graph: Graph, changed: Sequence[str]) -> dict[str, Record]:
    """The records of *recovery* that hold for *graph*, in which the nodes *changed* are not what they were."""
    if recovery.past.continuation is not None or recovery.undos.has_begun:
        return {}
    found, digests = await recovery.records_of(graph)
    records = await paced_dict(
        (name, record) if record.digest == digests[name] else None for name, record in found.items()
    )
    whole = await paced_list(name if _is_whole(record) else None for name, record in records.items())
    parts = await _parts(recovery, digests, frozenset((*changed, *whole)))
    return await paced_dict((*records.items(), *parts.items()))


async def _copy(recovery: Recovery, backend: StateBackend, records: Mapping[str, Record]) -> list[str]:
    """Copy *records* into *backend*, as far as their values can be read; returns the nodes that were copied."""
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


async def _copy_signals(old: StateBackend, new: StateBackend) -> None:
    """Copy the values that were sent, as far as they can be read."""
    if old.signals is None or new.signals is None:
        return
    for key, kept in (await old.signals.all()).items():
        if key.startswith(VALUE) and not isinstance(kept, Unreadable):
            await new.signals.accept(key, kept)


def _is_whole(record: Record) -> bool:
    """Whether the node succeeded and its value is in the store, so that nothing of it has to run again."""
    return record.reason is None and record.is_durable


async def _parts(recovery: Recovery, names: Collection[str], without: frozenset[str]) -> dict[str, Record]:
    """The records of what belongs to the nodes *names*, except of what belongs to *without*.

    The nodes of a sub-flow cannot be compared yet: their digests are known once the node of the sub-flow has run.
    """
    past = recovery.past.nodes or ()
    parts = (name if name not in names and without.isdisjoint(roots(name)) else None for name in past)
    records = await recovery.records(parts)
    return await paced_dict(None if record.digest is None else (name, record) for name, record in records.items())
