"""The link between a control plane and a connector: rules come in, acknowledgements and events go out."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import anyio
import attrs
from anyio import CancelScope

from cascade.model.errors import describe
from cascade.model.events import (
    AttemptStarted,
    ConnectorConnected,
    ConnectorDisconnected,
    EngineWarning,
    Event,
    RunFinished,
    as_record,
)
from cascade.model.rules import ControlRule, Kind
from cascade.runtime.control.connector import (
    AudienceChanged,
    Connector,
    Found,
    Lost,
    Message,
    Missed,
    Signal,
    Subscription,
)
from cascade.runtime.control.protocol import (
    ACKS,
    CONSTRAINTS,
    ENGINES,
    WIRE_VERSION,
    acknowledgement,
    encode,
    read_constraint,
    telemetry_topic,
)
from cascade.runtime.observation.bus import EventBus, EventStream

# Events of a run that wait to be sent; what comes on top is dropped, and counted.
UNSENT: Final = 1000
# Rules that strangers may set: each is asked at every admission.
MOST_RULES: Final = 1000
# Seconds until another try, at first and at most.
FIRST_DELAY, LAST_DELAY = 0.1, 5.0


class Plane(Protocol):
    """Where rules stand."""

    async def apply(self, rule: ControlRule) -> None:
        """Have *rule* stand."""
        ...

    async def lift(self, scope: str, kind: Kind, *, author: str = ...) -> None:
        """Let it stand no longer."""
        ...

    def rules(self) -> tuple[ControlRule, ...]:
        """The rules that stand."""
        ...


class Host(Protocol):
    """A run, as the link sees it."""

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    @property
    def bus(self) -> EventBus:
        """Its events."""
        ...

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Publish an event."""
        ...

    def start_service(self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Start a task that outlives the nodes."""
        ...


@attrs.define(eq=False)
class Guest:
    """A run that uses the link.

    Attributes:
        host: The run.
        topic: Where its events are published.
        stream: Its events, as far as they have not been sent; ``None`` while nobody listens.
        is_heard: Whether anybody may be listening.
        is_ending: Whether its last event is about to be published.
        has_ended: Whether its last event has been published.
        news: Set when one of these has changed.
        has_sent: Set when the last event has been sent, if anybody listens.
    """

    host: Host
    topic: str
    stream: EventStream | None = None
    is_heard: bool = True
    is_ending: bool = False
    has_ended: bool = False
    news: anyio.Event = attrs.field(factory=anyio.Event)
    has_sent: anyio.Event = attrs.field(factory=anyio.Event)

    def listen(self) -> EventStream:
        """Its events, from now on if there was no stream of them."""
        if self.stream is None:
            self.stream = self.host.bus.subscribe(Event, AttemptStarted, buffer=UNSENT, policy="drop")
        return self.stream

    def end(self) -> None:
        """Its last event has been published."""
        self.has_ended = True
        self.news.set()

    def hush(self) -> None:
        """Have no more events made, as far as it is up to this one."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None


@attrs.define(eq=False)
class Link:
    """Keeps *plane* in step with *connector*, as a service of one of the runs.

    Losing the connection changes nothing for the runs: the last known rules stay in force.
    """

    connector: Connector
    plane: Plane
    name: str = attrs.field(factory=lambda: secrets.token_hex(8))
    _guests: list[Guest] = attrs.field(factory=list)
    _keeper: Guest | None = None
    _keeping: CancelScope | None = None
    _kept: anyio.Event | None = None
    # Set when the rules in force are known, or cannot be known at present.
    _settled: anyio.Event | None = None
    _is_connected: bool = False
    # What has been heard and not been lifted.
    _heard: dict[tuple[str, Kind], ControlRule] = attrs.field(factory=dict)

    # -- runs ----------------------------------------------------------------------------------------------

    def join(self, host: Host) -> None:
        """A run begins."""
        guest = Guest(host, telemetry_topic(self.connector.project, host.run_id))
        guest.listen()
        self._guests.append(guest)
        if self._keeper is None:
            self._keep(guest)
        else:
            host.start_service(self._introduce, guest)
        host.start_service(self._send, guest)

    async def until_settled(self) -> None:
        """Wait until the rules in force have been heard of, or cannot be."""
        if self._settled is not None:
            await self._settled.wait()

    async def foresee_end(self, host: Host, patience: float) -> None:
        """A run is about to publish its last event: whoever has subscribed by now gets it.

        That somebody listens is heard of a moment after it is so, which may be too late.
        """
        guest = next(guest for guest in self._guests if guest.host is host)
        guest.is_ending = True
        if not guest.is_heard:
            with anyio.move_on_after(patience):
                await self._attend([guest])

    async def leave(self, host: Host, patience: float) -> None:
        """A run has published its last event: see that it is sent, within *patience* seconds."""
        guest = next(guest for guest in self._guests if guest.host is host)
        guest.end()
        with anyio.move_on_after(patience):
            await guest.has_sent.wait()
        guest.hush()
        self._guests.remove(guest)
        if guest is self._keeper:
            kept = self._kept
            assert self._keeping is not None
            assert kept is not None
            self._keeping.cancel()
            await kept.wait()
        else:
            with anyio.move_on_after(patience):
                await self._announce()

    def forget(self, host: Host) -> None:
        """A run is over, however that came."""
        left = [guest for guest in self._guests if guest.host is host]
        for guest in left:  # pragma: no cover  # an interrupt between two steps of the run
            guest.end()
            guest.hush()
            self._guests.remove(guest)
            if guest is self._keeper and self._keeping is not None:
                self._keeping.cancel()

    # -- the connection ------------------------------------------------------------------------------------

    def _keep(self, guest: Guest) -> None:
        # Shielded: the last events of a cancelled run are sent too.
        self._keeper, self._kept, self._keeping = guest, anyio.Event(), CancelScope(shield=True)
        self._settled = anyio.Event()
        guest.host.start_service(self._serve, self._keeping, self._kept, self._settled)

    async def _serve(self, scope: CancelScope, kept: anyio.Event, settled: anyio.Event) -> None:
        """Connect, obey what is heard, and disconnect when the run of which this is a service ends."""
        try:
            with scope:
                while await self._is_cut_off(settled):
                    pass
        finally:
            self._is_connected = False
            with CancelScope(shield=True), anyio.move_on_after(LAST_DELAY), suppress(OSError):
                await self.connector.publish(f"{ENGINES}/{self.name}", b"", retain=True)
            with CancelScope(shield=True), anyio.move_on_after(LAST_DELAY), suppress(OSError):
                await self.connector.disconnect()
            self._keeper = None
            if self._guests:
                self._keep(self._guests[0])
            settled.set()
            kept.set()

    async def _is_cut_off(self, settled: anyio.Event) -> bool:
        """Be connected until the connector ends that; whether it did so by an error, and is to be tried again."""
        await self._connect(settled)
        try:
            await self._obey_all(settled)
        except OSError as error:
            self._is_connected = False
            self._tell(ConnectorDisconnected, connector=self._shown, reason=describe(error))
            settled.set()
            with suppress(OSError):
                await self.connector.disconnect()
            await anyio.sleep(FIRST_DELAY)
            return True
        return False

    async def _connect(self, settled: anyio.Event) -> None:
        delay, is_known = FIRST_DELAY, False
        while True:
            try:
                await self.connector.connect(f"{ENGINES}/{self.name}")
                return
            except OSError as error:
                if not is_known:
                    self._tell(ConnectorDisconnected, connector=self._shown, reason=describe(error))
                is_known = True
                settled.set()  # runs go on without
            await anyio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    async def _obey_all(self, settled: anyio.Event) -> None:
        subscription = self.connector.subscribe(f"{CONSTRAINTS}/#", latest_only=True)
        subscription.tells_audience = True
        async with subscription as stream:
            await self._hear(Found())
            await self._catch_up(stream)
            await self._attend(self._guests)
            settled.set()
            async for signal in stream:
                await self._hear(signal)

    async def _catch_up(self, stream: Subscription) -> None:
        """Hear what is retained; what is not any more has been lifted while nobody listened."""
        before, self._heard = self._heard, {}
        with suppress(anyio.WouldBlock):
            while True:
                await self._hear(stream.receive_nowait())
        standing = self.plane.rules()
        for (scope, kind), rule in before.items():
            if (scope, kind) not in self._heard and rule in standing:
                await self.plane.lift(scope, kind, author=self._shown)

    @property
    def _shown(self) -> str:
        return type(self.connector).__name__

    async def _hear(self, signal: Signal) -> None:
        match signal:
            case Message():
                await self._obey(signal)
            case Lost(reason=reason):
                self._is_connected = False
                self._tell(ConnectorDisconnected, connector=self._shown, reason=reason)
            case Found():
                self._is_connected = True
                self._tell(ConnectorConnected, connector=self._shown)
                await self._announce()
            case AudienceChanged():
                await self._attend(self._guests)
            case Missed(count=count):
                self._reject(f"{count} messages were too long, or too many")

    async def _obey(self, message: Message) -> None:
        try:
            kind, scope, rule = read_constraint(message)
            if rule is None:
                self._heard.pop((scope, kind), None)
                await self.plane.lift(scope, kind, author=self._shown)
            else:
                self._see_room_for(rule)
                self._heard[scope, kind] = rule
                await self.plane.apply(rule)
        except ValueError as error:
            self._reject(f"{describe(error):.300}")
            return
        with suppress(OSError):
            acknowledged = {**acknowledgement(message), "runs": [guest.host.run_id for guest in self._guests]}
            await self.connector.publish(f"{ACKS}/{self.name}", encode(acknowledged))

    def _see_room_for(self, rule: ControlRule) -> None:
        standing = self.plane.rules()
        if len(standing) >= MOST_RULES and (rule.scope, rule.kind) not in {(r.scope, r.kind) for r in standing}:
            raise ValueError(f"there are {MOST_RULES} rules already")

    def _reject(self, why: str) -> None:
        self._tell(EngineWarning, code="message-rejected", message=f"a control message was ignored: {why}")

    def _tell(self, kind: type[Event], **fields: Any) -> None:
        for guest in self._guests:
            guest.host.emit(kind, **fields)

    async def _announce(self) -> None:
        """Say which runs are here."""
        if self._is_connected:
            runs = [guest.host.run_id for guest in self._guests]
            presence = {
                "schema": WIRE_VERSION,
                "project": self.connector.project,
                "pid": os.getpid(),
                "runs": runs,
            }
            with suppress(OSError):
                await self.connector.publish(f"{ENGINES}/{self.name}", encode(presence), retain=True)

    async def _introduce(self, guest: Guest) -> None:
        await self._attend([guest])
        await self._announce()

    async def _attend(self, guests: Sequence[Guest]) -> None:
        """Find out whose events anybody listens to, if the connector knows."""
        has_audience = getattr(self.connector, "has_audience", None)
        if has_audience is None:
            return
        for guest in tuple(guests):
            try:
                is_heard = await has_audience(guest.topic)
                # An answer to an older question may come after the last one.
                guest.is_heard = is_heard or (guest.is_ending and guest.is_heard)
            except OSError:
                guest.is_heard = True
            if guest.is_heard and not guest.has_ended:
                guest.listen()  # at once: its task may come too late for the last event
            guest.news.set()

    async def _send(self, guest: Guest) -> None:
        """Send the events of a run as long as there are any; while nobody listens, have none made."""
        try:
            with CancelScope(shield=True):
                await self.until_settled()
                while not await self._has_sent_all(guest):
                    guest.hush()
                    while not guest.is_heard and not guest.has_ended:
                        guest.news = anyio.Event()
                        await guest.news.wait()
                    if guest.has_ended and guest.stream is None:
                        return  # and nobody listened
        finally:
            guest.has_sent.set()

    async def _has_sent_all(self, guest: Guest) -> bool:
        """Send events until the last one, or until nobody listens; whether it was the last one."""
        if not guest.is_heard:
            return False
        async for event in guest.listen():
            if self._is_connected:
                with suppress(OSError):
                    await self.connector.publish(guest.topic, encode(as_record(event)))
            if isinstance(event, RunFinished):
                return True
            if not guest.is_heard:
                return False
        return True
