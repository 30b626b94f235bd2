"""Which recorded nodes differ from those of the flow as it is now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from cascade.graph.identity import item_digest
from cascade.graph.nodes import Graph, MapNode
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.durability.records import Record, roots
from cascade.runtime.durability.recovery import Recovery
from cascade.runtime.foundation.fairness import paced_dict, paced_list

# Skips that follow from other outcomes: they are decided again, so it does not matter what is recorded.
DERIVED: Final = (SkipReason.PRUNED.value, SkipReason.UPSTREAM_FAILED.value)


async def changed_nodes(recovery: Recovery, graph: Graph) -> list[str]:
    """Ids of recorded nodes that *graph* no longer has, or has with another digest."""
    past, contents = recovery.past, recovery.contents
    if past.continuation is not None:
        # The records are those of a later turn. Whether the flow has changed is seen by its first turn.
        is_same = past.flow_digest in (None, contents.flow) or not contents.volatile.isdisjoint(graph.members)
        return [] if is_same else [graph.name(member) for member in graph.members]
    names = past.nodes or ()
    records, digests = await recovery.records_of(graph)
    # Whether a volatile node has changed cannot be known: it runs again.
    volatile = {graph.name(index) for index in contents.volatile}
    known = {name: digest for name, digest in digests.items() if name not in volatile} if volatile else digests
    maps = await paced_list(row.name if isinstance(row, MapNode) else None for row in graph.rows)
    interrupted = {name for name in maps if name in known and name not in records}
    items = await paced_dict(_items(names, interrupted, known)) if interrupted else {}
    changed = await paced_list(_differing(records, known))
    changed += await paced_list(_differing(await recovery.records(items), items))
    gone = (None if any(root in digests for root in roots(name)) else name for name in names)
    return [*changed, *await paced_list(gone)]


def _differing(records: Mapping[str, Record], digests: Mapping[str, bytes]) -> Iterator[str | None]:
    """The names of *records* whose digest is another one now; skips that are decided again do not count."""
    for name, record in records.items():
        digest = digests.get(name)
        is_same = digest is None or record.digest in (None, digest)
        yield None if is_same or record.reason in DERIVED else name


def _items(
    names: Iterable[str], maps: Collection[str], digests: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes] | None]:
    """The items of *maps* among *names*, with their present digests."""
    for name in names:
        map_id, _, item = name.removesuffix("]").rpartition("[")
        is_item = map_id in maps and name == f"{map_id}[{item}]" and item.isdecimal()
        yield (name, item_digest(digests[map_id], int(item))) if is_item else None


def with_dependants(names: Collection[str], graph: Graph) -> Iterator[str | None]:
    """The nodes of *graph* to which one of *names* belongs, and all that needs these, in whatever way."""
    roots_of_all = {root for name in names for root in roots(name)}
    found = bytearray(len(graph.rows))
    for index in range(len(graph.rows)):
        found[index] = graph.name(index) in roots_of_all or any(found[source] for source in graph.sources[index])
        yield graph.name(index) if found[index] else None


def with_parts(changed: Iterable[str], names: Iterable[str]) -> Iterator[str | None]:
    """*changed*, and those of *names* that belong to one of these: items of maps, nodes of sub-flows."""
    found = set(changed)
    yield from found
    yield from (None if name in found or found.isdisjoint(roots(name)) else name for name in names)
