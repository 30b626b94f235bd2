"""The outcomes of nodes as a stream, values themselves: what ``Run.stream`` gives.

It subscribes to the bus as others do, so that it holds attempts up as others do. The event that carries values is
for nobody else: it is no class that users know, and it is made only while such a stream is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import attrs

from cascade.model.events import Event, NodeEvent
from cascade.model.outcomes import Done, Failed, Outcome
from cascade.runtime.observation.bus import EventBus, EventStream, StreamStatistics


@attrs.frozen(kw_only=True)
class NodeSettled(NodeEvent):
    """A node has ended.

    Attributes:
        outcome: How; ``None`` if it was cancelled.
        is_recalled: Whether a record had that, so that the items of a map have not ended one by one.
    """

    is_for_all: ClassVar[bool] = False

    outcome: Outcome[Any] | None
    is_recalled: bool = False


@attrs.frozen(kw_only=True)
class _Member(Event):
    """What a stream is about has ended."""

    index: Any
    outcome: Outcome[Any]


@attrs.frozen
class Watched:
    """What a stream is about: the items of a map, or some nodes.

    Attributes:
        members: By node id, the indices of its outcome.
        map_id: The map; ``None`` if it is about nodes.
    """

    members: Mapping[str, Sequence[Any]] = attrs.field(factory=dict)
    map_id: str | None = None

    def indices(self, node_id: str) -> Sequence[Any]:
        """The indices of the outcome of the node *node_id*; none if the stream is not about it."""
        if self.map_id is None:
            return self.members.get(node_id, ())
        item = node_id.removeprefix(f"{self.map_id}[").removesuffix("]")
        return (int(item),) if f"{self.map_id}[{item}]" == node_id and item.isdecimal() else ()


class _Queue(EventStream):
    """Takes of the nodes of a run those that a stream is about."""

    def __init__(self, bus: EventBus, watched: Watched, buffer: int) -> None:
        super().__init__(bus, (NodeSettled,), buffer, "block")
        self._watched = watched
        self._left = set(watched.members)
        self._has_ended = False

    def deliver(self, event: Event) -> None:
        """Take an event, if it is about one of the nodes. Called by the bus."""
        if not isinstance(event, NodeSettled) or self._has_ended:
            return
        if self._watched.map_id is not None or event.task_id in self._left:
            for index in self._watched.indices(event.task_id):
                self.put_outcome(event, index, event.outcome)
        if event.task_id == self._watched.map_id:
            self._take_recalled(event)
            self.end()
        elif event.task_id in self._left:
            self._left.discard(event.task_id)
            if not self._left:
                self.end()

    def put_outcome(self, event: Event, index: Any, outcome: Outcome[Any] | None) -> None:
        """Have the reader told how the member *index* has ended."""
        if outcome is not None:
            self._put(
                _Member(
                    seq=event.seq, timestamp=event.timestamp, run_id=event.run_id, index=index, outcome=outcome
                )
            )

    def _take_recalled(self, event: NodeSettled) -> None:
        """Take the items of a map of which a record had the whole list."""
        outcome = event.outcome
        if event.is_recalled and isinstance(outcome, Done) and isinstance(outcome.value, list):
            for index, value in enumerate(outcome.value):
                # Of a map that collects failures, the outcome is what stands in the list.
                is_failure = isinstance(value, Failed) and value.index == index
                self.put_outcome(event, index, value if is_failure else Done(value))

    def end(self) -> None:
        """End the stream: nothing more is going to come."""
        self._has_ended = True
        super().end()

    def __repr__(self) -> str:
        about = f"items of {self._watched.map_id!r}" if self._watched.map_id else ", ".join(self._watched.members)
        return f"<OutcomeStream of {about:.100}: {self._unread} of {self.buffer} unread>"


class OutcomeStream:
    """What ``run.stream`` gives: ``async with run.stream(x) as values: async for index, outcome in values``.

    Open from the moment at which it is made until the block is left. It ends by itself after the last outcome, or
    with the run. If a reader is cancelled, nothing is lost: the next reader gets it. If the block is left, by a
    cancellation too, the stream is closed, and holds nothing up any more.
    """

    def __init__(self, bus: EventBus, watched: Watched, buffer: int, *, has_ended: bool = False) -> None:
        self._queue = _Queue(bus, watched, buffer)
        bus.add(self._queue)
        if has_ended:
            self._queue.end()

    def statistics(self) -> StreamStatistics:
        """A snapshot of the buffer."""
        return self._queue.statistics()

    def close(self) -> None:
        """Close the stream. Unread outcomes are lost. A second call does nothing."""
        self._queue.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Any, Outcome[Any]]:
        event = await self._queue.__anext__()
        assert isinstance(event, _Member)
        return event.index, event.outcome

    async def __aenter__(self) -> Self:
        await self._queue.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._queue)
