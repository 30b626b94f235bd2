"""A recorder of events."""

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
    """The events since the recording began, in order. Made by :func:`record_events`."""

    _stream: EventStream
    _events: list[Event] = attrs.field(factory=list)

    @property
    def events(self) -> tuple[Event, ...]:
        """All events so far."""
        self.take()
        return tuple(self._events)

    def since(self, count: int) -> list[Event]:
        """The events after the first *count*.

        Args:
            count: Number of events to leave out, from 0.
        """
        self.take()
        return self._events[count:]

    def take(self) -> None:
        """Move what has been published by now into the record. The other methods do this themselves."""
        while True:
            try:
                self._events.append(self._stream.receive_nowait())
            except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                return

    def names(self) -> list[str]:
        """The class names of all events."""
        return [type(event).__name__ for event in self.events]

    def of(self, kind: type[E]) -> list[E]:
        """The events of a class, subclasses included.

        Args:
            kind: The class.
        """
        return [event for event in self.events if isinstance(event, kind)]

    def about(self, task_id: str) -> list[NodeEvent]:
        """The events about one node.

        Args:
            task_id: The node's id.
        """
        return [event for event in self.of(NodeEvent) if event.task_id == task_id]


@contextmanager
def record_events(source: Source) -> Iterator[Recorded]:
    """Record the events of an engine, a run or a bus: ``with record_events(engine) as recorded``.

    The record can be read inside the block and after it. The recording never makes the run wait.

    Args:
        source: An engine, a run or a bus.
    """
    stream = source.subscribe(buffer=sys.maxsize)
    recorded = Recorded(stream)
    try:
        yield recorded
    finally:
        recorded.take()
        stream.close()
