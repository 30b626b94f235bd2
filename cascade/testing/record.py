"""Recording what a run reports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import anyio
import attrs

from cascade.model.events import Event, NodeEvent
from cascade.runtime.observation.bus import EventStream, Policy

E = TypeVar("E", bound=Event)


class Source(Protocol):
    """What can be subscribed to: an engine, a run, a bus."""

    def subscribe(self, *kinds: type[Event], buffer: int = 256, policy: Policy = "block") -> EventStream:
        """Listen from this moment on."""
        ...


@attrs.define(eq=False)
class Recorded:
    """The events published since the recording began, in order."""

    _stream: EventStream
    _events: list[Event] = attrs.field(factory=list)

    @property
    def events(self) -> tuple[Event, ...]:
        """All of them."""
        self.take()
        return tuple(self._events)

    def since(self, count: int) -> list[Event]:
        """Those after the first *count*."""
        self.take()
        return self._events[count:]

    def take(self) -> None:
        """Take over what has been published by now."""
        while True:
            try:
                self._events.append(self._stream.receive_nowait())
            except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                return

    def names(self) -> list[str]:
        """The class names."""
        return [type(event).__name__ for event in self.events]

    def of(self, kind: type[E]) -> list[E]:
        """Those of class *kind*."""
        return [event for event in self.events if isinstance(event, kind)]

    def about(self, task_id: str) -> list[NodeEvent]:
        """Those about one node."""
        return [event for event in self.of(NodeEvent) if event.task_id == task_id]


@contextmanager
def record_events(source: Source) -> Iterator[Recorded]:
    """Record the events of an engine, a run or a bus, without holding anything up.

    The record can be read inside the block and after it.
    """
    stream = source.subscribe(buffer=sys.maxsize)
    recorded = Recorded(stream)
    try:
        yield recorded
    finally:
        recorded.take()
        stream.close()
