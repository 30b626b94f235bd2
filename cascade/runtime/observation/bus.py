"""The event bus: memory object streams, with a policy for each subscriber.

Publishing is synchronous and never fails, so an event can be published where no await may stand. Back-pressure
comes from admission: no attempt starts while a ``"block"`` subscriber has ``buffer`` unread events.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

import anyio
import attrs
from anyio.lowlevel import checkpoint

from cascade.model.events import AttemptStarted, Event, EventsDropped, RunFinished, TaskExecutionStarted
from cascade.model.typed.numbers import plain_number

if TYPE_CHECKING:  # imported with the first stream
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream


class Publisher(Protocol):
    """Whoever holds attempts back for the sake of subscribers."""

    def wake(self) -> None:
        """A subscriber is not full any more."""
        ...

    def close_gate(self) -> None:
        """There is a subscriber more: whoever has not started yet must look again."""
        ...


Policy = Literal["block", "drop"]


@attrs.frozen
class StreamStatistics:
    """A snapshot of a subscriber's buffer.

    Attributes:
        unread: Events that were published and not yet received.
        buffer: Number of unread events at which the policy takes effect.
        dropped: Events that were dropped in total (policy ``"drop"``).
        policy: ``"block"`` or ``"drop"``.
    """

    unread: int
    buffer: int
    dropped: int
    policy: Policy


def checked_buffer(buffer: object) -> int:
    """*buffer* as a number of unread events.

    Raises:
        ValueError: If it is no whole number from 1.
    """
    buffer = plain_number(buffer)
    if isinstance(buffer, bool) or not isinstance(buffer, int) or buffer < 1:
        raise ValueError(f"buffer is a whole number of events from 1, not {buffer!r}")
    return buffer


class EventStream:
    """What a subscriber reads: ``async with bus.subscribe(...) as events: async for event in events``.

    Subscribed from the moment at which it is made until the block is left. It ends by itself after the last event.
    If a reader is cancelled, no event is lost: the next reader gets it. If the block is left, by a cancellation
    too, the stream is unsubscribed.

    Attributes:
        bus: The bus.
        kinds: The classes of events that it gets.
        buffer: Number of unread events at which the policy takes effect.
        policy: ``"block"``: no attempt starts while the buffer is full; ``"drop"``: what does not fit is dropped.
    """

    def __init__(self, bus: EventBus, kinds: tuple[type[Event], ...], buffer: int, policy: Policy) -> None:
        self.bus = bus
        self.kinds = kinds
        self.buffer = buffer
        self.policy = policy
        self._send: MemoryObjectSendStream[Event]
        self._receive: MemoryObjectReceiveStream[Event]
        self._send, self._receive = anyio.create_memory_object_stream[Event](math.inf)
        self._unread = 0
        self._expected = 0
        self._dropped = 0
        self._unreported = 0
        self._last_dropped: Event | None = None

    @property
    def is_full(self) -> bool:
        """Whether this subscriber keeps attempts from starting.

        What it is to be told of those that may start already counts: else there would be room for all who wait, of
        whom the first fills the buffer, and the others go back.
        """
        return self.policy == "block" and self._unread + self._expected >= self.buffer

    def expect(self, attempts: int) -> None:
        """Keep room for what is told of attempts that may start, until they have their turn. Called by admission.

        Args:
            attempts: So many more, such as 1; fewer if negative, and 0 changes nothing.
        """
        self._count(expected=attempts)

    def _count(self, *, unread: int = 0, expected: int = 0) -> None:
        was_full = self.is_full
        self._unread += unread
        self._expected += expected
        if was_full and not self.is_full:
            self.bus.made_room()

    def statistics(self) -> StreamStatistics:
        """A snapshot of the buffer."""
        return StreamStatistics(self._unread, self.buffer, self._dropped, self.policy)

    def wants(self, kind: type[Event]) -> bool:
        """Whether it gets events of a class.

        Args:
            kind: The class.
        """
        return issubclass(kind, self.kinds) and (kind.is_for_all or kind in self.kinds)

    def deliver(self, event: Event) -> None:
        """Put an event into the buffer, or count it as dropped. Called by the bus.

        Args:
            event: The event.
        """
        if not isinstance(event, self.kinds) or not (event.is_for_all or type(event) in self.kinds):
            return
        is_last = isinstance(event, RunFinished)
        if self.policy == "drop" and self._unread >= self.buffer and not is_last:
            self._dropped += 1
            self._unreported += 1
            self._last_dropped = event
            return
        self._report_dropped()
        self._put(event)

    def _report_dropped(self) -> None:
        last = self._last_dropped
        if last is not None:
            self._last_dropped = None
            count, self._unreported = self._unreported, 0
            self._put(EventsDropped(seq=last.seq, timestamp=last.timestamp, run_id=last.run_id, count=count))

    def _put(self, event: Event) -> None:
        self._send.send_nowait(event)
        self._unread += 1
        if self.policy == "block" and self._unread == self.buffer:
            self.bus.close_gates()

    async def receive(self) -> Event:
        """Wait for the next event and return it. If cancelled, no event is lost.

        Raises:
            anyio.EndOfStream: After the last event.
            anyio.ClosedResourceError: If the stream was closed.
        """
        return self._took(await self._receive.receive())

    def _took(self, event: Event) -> Event:
        self._count(unread=-1)
        return event

    def receive_nowait(self) -> Event:
        """The next event, if there is one already.

        Raises:
            anyio.WouldBlock: If there is none yet.
            anyio.EndOfStream: After the last event.
            anyio.ClosedResourceError: If the stream was closed.
        """
        return self._took(self._receive.receive_nowait())

    def end(self) -> None:
        """End the stream: the reader gets what is buffered, and then the end. Called by the bus."""
        self._report_dropped()
        self._send.close()

    def close(self) -> None:
        """Unsubscribe. Unread events are lost. A second call does nothing."""
        self.bus.remove(self)
        self._send.close()
        self._receive.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        try:
            await checkpoint()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        names = ", ".join(kind.__name__ for kind in self.kinds)
        return f"<EventStream of {names}: {self._unread} of {self.buffer} unread, {self.policy}>"


class EventBus:
    """Where events are published. What is published on a run's bus is also published on its engine's bus.

    Args:
        parent: The bus that also gets every event. ``None`` (default): none.
    """

    def __init__(self, parent: EventBus | None = None) -> None:
        self.parent = parent
        self._streams: list[EventStream] = []
        self._wanted: dict[type[Event], bool] = {}
        self._is_closed = False
        self._publishers: list[Publisher] = []

    def subscribe(self, *kinds: type[Event], buffer: int = 256, policy: Policy = "block") -> EventStream:
        """Listen to events from this moment on.

        Args:
            kinds: Classes of events; subclasses are included. Without any: all events, except those of classes
                that have to be named, such as :class:`AttemptStarted`.
            buffer: Number of unread events, at least 1, at which *policy* takes effect; 256 by default.
            policy: ``"block"`` (default): no attempt starts until some events are read; nothing is lost.
                ``"drop"``: what does not fit is dropped, counted, and reported as :class:`EventsDropped`.

        Raises:
            TypeError: If a kind is no class of events.
            ValueError: If *buffer* or *policy* is none of these.
        """
        for kind in kinds:
            if not isinstance(kind, type) or not issubclass(kind, Event):
                raise TypeError(f"subscribe takes classes of events, such as cascade.TaskSkipped, not {kind!r}")
        if policy not in ("block", "drop"):
            raise ValueError(f'policy is "block" or "drop", not {policy!r}')
        stream = EventStream(self, kinds or (Event,), checked_buffer(buffer), policy)
        self.add(stream)
        return stream

    def add(self, stream: EventStream) -> None:
        """Have *stream* get events from now on; after the last event it has ended.

        Args:
            stream: The stream, which nobody has subscribed yet.
        """
        if self._is_closed:
            stream.end()
        else:
            self._streams.append(stream)
            self._forget_wants()
            self.close_gates()

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to events of a class, so that they have to be made.

        Args:
            kind: The class.
        """
        wanted = self._wanted  # before the streams are looked at: whoever changes these begins another one
        known = wanted.get(kind)
        if known is None:
            known = wanted[kind] = any(stream.wants(kind) for stream in self._streams)
        return known or (self.parent is not None and self.parent.wants(kind))

    def is_silent(self) -> bool:
        """Whether no subscriber has to be asked before a node starts, or told after it.

        Those who get nothing but the ends of runs do not have to, unless they are full; that closes the gates, and
        so it is asked anew.
        """
        is_silent = all(stream.kinds == (RunFinished,) and not stream.is_full for stream in self._streams)
        return is_silent and (self.parent is None or self.parent.is_silent())

    def publish(self, event: Event) -> None:
        """Give an event to all subscribers of its class. Never waits, never raises.

        Args:
            event: The event.
        """
        for stream in self._streams:
            stream.deliver(event)
        if self.parent is not None:
            self.parent.publish(event)

    def full(self) -> EventStream | None:
        """A ``"block"`` subscriber whose buffer is full, so no attempt may start. ``None`` if there is none."""
        for stream in self._streams:
            if stream.is_full:
                return stream
        return self.parent.full() if self.parent is not None else None

    def told_of_starts(self) -> tuple[EventStream, ...]:
        """The ``"block"`` subscribers that are told when attempts start."""
        kinds: tuple[type[Event], ...] = (TaskExecutionStarted, AttemptStarted)
        told = [stream for stream in self._streams if stream.policy == "block" and any(map(stream.wants, kinds))]
        return (*told, *(() if self.parent is None else self.parent.told_of_starts()))

    def attach(self, publisher: Publisher) -> None:
        """Register the admission of an engine, to be told when subscribers come, go, fill up or make room.

        Args:
            publisher: The admission.
        """
        self._publishers.append(publisher)

    def detach(self, publisher: Publisher) -> None:
        """Undo :meth:`attach`. After the last one, all streams end.

        Args:
            publisher: The admission.
        """
        self._publishers.remove(publisher)
        if not self._publishers:
            self._end_streams()

    def close_gates(self) -> None:
        """Have every attempt that is about to start look at the subscribers again: one has come, gone or filled
        up.
        """
        for publisher in tuple(self._publishers):
            publisher.close_gate()
        if self.parent is not None:
            self.parent.close_gates()

    def made_room(self) -> None:
        """Wake attempts that wait for a full subscriber: it has room again, or is gone."""
        for publisher in tuple(self._publishers):
            publisher.wake()
        if self.parent is not None:
            self.parent.made_room()

    def remove(self, stream: EventStream) -> None:
        """Unsubscribe a stream. Does nothing if it is not subscribed.

        Args:
            stream: The stream.
        """
        if stream in self._streams:
            self._streams.remove(stream)
            self._forget_wants()
            self.close_gates()  # where nobody is told any more, nodes can go a quicker way
            if stream.is_full:
                self.made_room()

    def close(self) -> None:
        """End all streams once they have been read. Later subscribers get streams that have ended."""
        self._is_closed = True
        self._end_streams()
        self.made_room()

    def _end_streams(self) -> None:
        for stream in self._streams:
            stream.end()
        self._streams.clear()
        self._forget_wants()

    def _forget_wants(self) -> None:
        self._wanted = {}
