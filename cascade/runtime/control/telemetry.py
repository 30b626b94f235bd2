"""What goes out to other processes: events of runs, presence of the engine, acknowledgements."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import anyio
import attrs

from cascade.model.events import AttemptStarted, Event, RunFinished, as_record
from cascade.runtime.control.connector import Connector, Message
from cascade.runtime.control.controlled_run import ControlledRun
from cascade.runtime.control.protocol import (
    ACKS,
    ENGINES,
    WIRE_VERSION,
    acknowledgement,
    encode,
    telemetry_topic,
)
from cascade.runtime.observation.bus import EventStream

# Events of a run that may wait to be sent; further ones are dropped and counted.
UNSENT: Final = 1000


@attrs.define(eq=False)
class Guest:
    """A run whose events are sent.

    Attributes:
        run: The run.
        topic: Where its events are published.
        stream: Its events that have not been sent; ``None`` while nobody listens.
        is_heard: Whether somebody may be listening.
        is_ending: Whether its last event is about to be published.
        has_ended: Whether its last event has been published.
        changed: Set when one of these has changed.
        has_sent: Set when the last event has been sent, or nobody listens to it.
    """

    run: ControlledRun
    topic: str
    stream: EventStream | None = None
    is_heard: bool = True
    is_ending: bool = False
    has_ended: bool = False
    changed: anyio.Event = attrs.field(factory=anyio.Event)
    has_sent: anyio.Event = attrs.field(factory=anyio.Event)

    def subscribe(self) -> EventStream:
        """Subscribe to the events of the run, unless that has been done; returns them."""
        if self.stream is None:
            self.stream = self.run.bus.subscribe(Event, AttemptStarted, buffer=UNSENT, policy="drop")
        return self.stream

    def unsubscribe(self) -> None:
        """Unsubscribe: the events of the run are no longer built, unless somebody else subscribes to them."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def end(self) -> None:
        """Its last event has been published."""
        self.has_ended = True
        self.changed.set()

    def note_audience(self, *, is_heard: bool) -> None:
        """Somebody may be listening, or nobody is."""
        # An answer to an older question may come after that to the last one.
        self.is_heard = is_heard or (self.is_ending and self.is_heard)
        if self.is_heard and not self.has_ended:
            self.subscribe()  # at once: its task may come too late for the last event
        self.changed.set()

    async def until_heard(self) -> bool:
        """Wait until somebody listens; ``False`` if the run ends before."""
        self.unsubscribe()
        while not self.is_heard and not self.has_ended:
            self.changed = anyio.Event()
            await self.changed.wait()
        return not self.has_ended or self.stream is not None


@attrs.define(eq=False)
class Telemetry:
    """Tells other processes of the engine and its runs.

    Attributes:
        connector: Carries the messages.
        name: The engine, in topics; new for each link.
        guests: The runs.
        is_connected: Whether messages can be sent at present.
    """

    connector: Connector
    name: str = attrs.field(factory=lambda: secrets.token_hex(8))
    guests: list[Guest] = attrs.field(factory=list)
    is_connected: bool = False

    @property
    def presence_topic(self) -> str:
        """Where it is retained which runs the engine has."""
        return f"{ENGINES}/{self.name}"

    @property
    def run_ids(self) -> list[str]:
        """The runs of the engine."""
        return [guest.run.run_id for guest in self.guests]

    def runs(self) -> list[ControlledRun]:
        """The runs of the engine."""
        return [guest.run for guest in self.guests]

    def add(self, run: ControlledRun) -> Guest:
        """*run* begins; its events are kept from now on."""
        guest = Guest(run, telemetry_topic(self.connector.project, run.run_id))
        guest.subscribe()
        self.guests.append(guest)
        return guest

    def guest(self, run: ControlledRun) -> Guest:
        """*run*, which has begun and not ended."""
        return next(guest for guest in self.guests if guest.run is run)

    def remove(self, guest: Guest) -> None:
        """The run has ended; what has not been sent is lost."""
        guest.unsubscribe()
        self.guests.remove(guest)

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Publish an event of each run in this process."""
        for guest in self.guests:
            guest.run.emit(kind, **fields)

    async def attend(self, guests: Iterable[Guest] | None = None) -> None:
        """Find out whether somebody listens to *guests*, by default all, if the connector knows that."""
        has_audience = getattr(self.connector, "has_audience", None)
        if has_audience is None:
            return
        for guest in tuple(self.guests if guests is None else guests):
            try:
                is_heard = await has_audience(guest.topic)
            except OSError:
                is_heard = True
            guest.note_audience(is_heard=is_heard)

    async def introduce(self, guest: Guest) -> None:
        """Tell of a run that has begun while there was a connection."""
        await self.attend([guest])
        await self.announce()

    async def announce(self) -> None:
        """Publish which runs the engine has, if there is a connection."""
        if self.is_connected:
            presence = {
                "schema": WIRE_VERSION,
                "project": self.connector.project,
                "pid": os.getpid(),
                "runs": self.run_ids,
            }
            with suppress(OSError):
                await self.connector.publish(self.presence_topic, encode(presence), retain=True)

    async def withdraw(self) -> None:
        """Publish that the engine is gone."""
        with suppress(OSError):
            await self.connector.publish(self.presence_topic, b"", retain=True)

    async def acknowledge(self, message: Message, refused: str | None = None) -> None:
        """Publish that the runs obey *message*, or why it is *refused*."""
        with suppress(OSError):
            acknowledged = {**acknowledgement(message), "runs": self.run_ids}
            if refused is not None:
                acknowledged["refused"] = refused
            await self.connector.publish(f"{ACKS}/{self.name}", encode(acknowledged))

    async def send(self, guest: Guest) -> None:
        """Send the events of a run while somebody listens; returns after the last one, or if nobody hears that."""
        while not await self._has_sent_all(guest):
            if not await guest.until_heard():
                return

    async def _has_sent_all(self, guest: Guest) -> bool:
        """Send events until the last one, or until nobody listens; whether it was the last one."""
        if not guest.is_heard:
            return False
        async for event in guest.subscribe():
            if self.is_connected:
                with suppress(OSError):
                    await self.connector.publish(guest.topic, encode(as_record(event)))
            if isinstance(event, RunFinished):
                return True
            if not guest.is_heard:
                return False
        return True
