"""What ``run.stream`` is given: which nodes of the flow that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cascade.graph.merge import identity_of
from cascade.graph.nodes import Graph, Junction, MapNode, Node
from cascade.model.lazies import LazyResult
from cascade.runtime.observation.bus import checked_buffer
from cascade.runtime.observation.outcome_stream import OutcomeStream, Watched
from cascade.runtime.run.lifetime import RunLifetime


def open_stream(lifetime: RunLifetime, x: object, buffer: int) -> OutcomeStream:
    """The outcomes of *x*, which is what :meth:`Run.stream` says."""
    graph, run_context = lifetime.outcome.prepared.graph, lifetime.run_context
    members = [(key, _index_of(graph, member)) for key, member in _members(x)]
    left = [(key, index) for key, index in members if not _has_ended(lifetime, index)]
    if isinstance(x, (LazyResult, str)) and isinstance(graph.rows[members[0][1]], MapNode):
        watched = Watched(map_id=graph.name(members[0][1]))
    else:
        watched = Watched(_by_name(lifetime, left))
        run_context.progress.streamed.update(watched.members)
    return OutcomeStream(run_context.bus, watched, checked_buffer(buffer), has_ended=not left)


def _members(x: object) -> Iterator[tuple[Any, object]]:
    """What *x* is about, with the index of each."""
    if isinstance(x, (LazyResult, str)):
        yield 0, x
    elif isinstance(x, Mapping):
        yield from x.items()
    elif isinstance(x, (list, tuple)):
        yield from enumerate(x)
    else:
        raise TypeError(
            f"stream takes a call of the flow, its node id, or a list, tuple or dict of these, not {x!r:.100}"
        )


def _index_of(graph: Graph, member: object) -> int:
    """The node that *member* stands for.

    Raises:
        TypeError: If it is no call and no node id.
        ValueError: If the flow does not have it.
    """
    if isinstance(member, str):
        found = (index for index in range(len(graph.rows)) if graph.name(index) == member)
    elif isinstance(member, LazyResult):
        call = identity_of(member)
        found = (index for index, row in enumerate(graph.rows) if _call_of(row) is call)
    else:
        raise TypeError(f"stream takes calls of the flow, or their node ids, not {member!r:.100}")
    index = next(found, None)
    if index is None or isinstance(graph.rows[index], Junction):
        raise ValueError(f"{member!r:.100} is no call of the flow that the run has begun with")
    return index


def _call_of(row: object) -> object:
    """The call of a row, as it is known in graphs."""
    call = row.call if isinstance(row, Node) else row
    return identity_of(call) if isinstance(call, LazyResult) else None


def _has_ended(lifetime: RunLifetime, index: int) -> bool:
    """Whether a node has ended. In a later turn of a loop all have, but the one whose value the loop gives."""
    progress, layout = lifetime.run_context.progress, lifetime.outcome.prepared.layout
    if lifetime.status is not None:
        return True
    if progress.is_past_first_turn():
        return index not in layout.tails if progress.went_on is None else index != progress.went_on
    frame = progress.present()
    return frame is not None and frame.has_settled(index) and index != progress.went_on


def _by_name(lifetime: RunLifetime, members: list[tuple[Any, int]]) -> dict[str, list[Any]]:
    """By node id, the indices of *members*, whose whole values are wanted.

    Raises:
        ValueError: If one is a map that keeps no list.
    """
    graph, unkept = lifetime.outcome.prepared.graph, lifetime.run_context.progress.unkept
    found: dict[str, list[Any]] = {}
    for key, index in members:
        name = graph.name(index)
        if name in unkept:
            raise ValueError(f"map {name!r} has begun and keeps no list: stream its items, or open this earlier")
        found.setdefault(name, []).append(key)
    return found
