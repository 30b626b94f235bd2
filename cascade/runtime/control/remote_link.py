"""The link to other processes: keeps a connector connected, and obeys the rules that come over it."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Protocol

import anyio
import attrs
from anyio import CancelScope

from cascade.model.errors import CascadeError
from cascade.model.events import ConnectorConnected, ConnectorDisconnected, EngineWarning
from cascade.model.rules import ControlRule, Kind
from cascade.model.shown.raised import describe
from cascade.runtime.control.commands import CommandListener
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
from cascade.runtime.control.controlled_run import ControlledRun
from cascade.runtime.control.protocol import COMMANDS, CONSTRAINTS, SIGNALS, read_constraint, read_signal
from cascade.runtime.control.telemetry import Guest, Telemetry

# Rules that may be set by messages: admission asks each of them.
MOST_RULES: Final = 1000
# Seconds until another try to connect, at first and at most.
FIRST_DELAY, LAST_DELAY = 0.1, 5.0


class Plane(Protocol):
    """Where rules are set."""

    async def apply(self, rule: ControlRule) -> None:
        """Put *rule* in force."""
        ...

    async def lift(self, scope: str, kind: Kind, *, author: str = ...) -> None:
        """End the rule of *scope* and *kind*."""
        ...

    def rules(self) -> tuple[ControlRule, ...]:
        """The rules in force."""
        ...


@attrs.define(eq=False)
class RemoteRules:
    """The rules that have come over a connector, in force on *plane*.

    Attributes:
        plane: Where they are in force, beside rules of this process.
        author: Who lifts rules, in events.
    """

    plane: Plane
    author: str
    # What has been heard and not been lifted.
    _heard: dict[tuple[str, Kind], ControlRule] = attrs.field(factory=dict)

    async def obey(self, message: Message) -> None:
        """Set or lift the rule of *message*.

        Raises:
            ValueError: If it is no valid message about a rule, or there are too many rules.
        """
        kind, scope, rule = read_constraint(message)
        if rule is None:
            self._heard.pop((scope, kind), None)
            await self.plane.lift(scope, kind, author=self.author)
        else:
            self._see_room_for(rule)
            self._heard[scope, kind] = rule
            await self.plane.apply(rule)

    def _see_room_for(self, rule: ControlRule) -> None:
        in_force = self.plane.rules()
        if len(in_force) >= MOST_RULES and (rule.scope, rule.kind) not in {(r.scope, r.kind) for r in in_force}:
            raise ValueError(f"there are {MOST_RULES} rules already")

    def take_heard(self) -> dict[tuple[str, Kind], ControlRule]:
        """The rules heard so far; from now on, they count as not heard."""
        heard, self._heard = self._heard, {}
        return heard

    async def lift_unheard(self, before: dict[tuple[str, Kind], ControlRule]) -> None:
        """Lift those of *before* that have not been heard since: they were lifted during an interruption."""
        in_force = self.plane.rules()
        for (scope, kind), rule in before.items():
            if (scope, kind) not in self._heard and rule in in_force:
                await self.plane.lift(scope, kind, author=self.author)


@attrs.define(eq=False)
class Connection:
    """Keeps a connector connected, in a task that is a service of one of the runs, and hears what comes over it.

    Attributes:
        guest: That run.
        scope: Ends the task when cancelled. Shielded, as the last events of a cancelled run are sent too.
        settled: Set when the rules in force are known, or cannot be known at present.
        ended: Set when the task has ended.
    """

    _connector: Connector
    _telemetry: Telemetry
    _rules: RemoteRules
    guest: Guest
    scope: CancelScope = attrs.field(factory=lambda: CancelScope(shield=True), init=False)
    settled: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    ended: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    async def keep(self) -> None:
        """Connect, obey what is heard, and disconnect when *scope* is cancelled."""
        try:
            with self.scope:
                while await self._is_cut_off():
                    pass
        finally:
            self._telemetry.is_connected = False
            with CancelScope(shield=True), anyio.move_on_after(LAST_DELAY):
                await self._telemetry.withdraw()
            with CancelScope(shield=True), anyio.move_on_after(LAST_DELAY), suppress(OSError):
                await self._connector.disconnect()

    async def _is_cut_off(self) -> bool:
        """Be connected until the connector ends that; whether it did so by an error, and is to be tried again."""
        await self._connect()
        try:
            await self._listen()
        except OSError as error:
            self._lose(describe(error))
            self.settled.set()
            with suppress(OSError):
                await self._connector.disconnect()
            await anyio.sleep(FIRST_DELAY)
            return True
        return False

    async def _connect(self) -> None:
        delay, is_known = FIRST_DELAY, False
        while True:
            try:
                await self._connector.connect(self._telemetry.presence_topic)
                return
            except OSError as error:
                if not is_known:
                    self._lose(describe(error))
                is_known = True
                self.settled.set()  # runs go on without
            await anyio.sleep(delay)
            delay = min(delay * 2, LAST_DELAY)

    def _lose(self, reason: str) -> None:
        self._telemetry.is_connected = False
        self._telemetry.emit(ConnectorDisconnected, connector=self._rules.author, reason=reason)

    async def _listen(self) -> None:
        subscription = self._connector.subscribe(f"{CONSTRAINTS}/#", latest_only=True)
        subscription.tells_audience = True
        failure: OSError | None = None
        listener = CommandListener(self._connector, self._telemetry.runs)
        async with (
            subscription as stream,
            self._connector.subscribe(f"{COMMANDS}/#") as commands,
            anyio.create_task_group() as group,
        ):
            group.start_soon(listener.listen, commands)
            try:
                await self._hear_all(stream)
            except OSError as error:  # raised as it is, and not in a group
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _hear_all(self, stream: Subscription) -> None:
        await self._hear(Found())
        await self._catch_up(stream)
        await self._telemetry.attend()
        self.settled.set()
        async for signal in stream:
            await self._hear(signal)

    async def _catch_up(self, stream: Subscription) -> None:
        """Hear what is retained, and lift what is not retained any more."""
        before = self._rules.take_heard()
        with suppress(anyio.WouldBlock):
            while True:
                await self._hear(stream.receive_nowait())
        await self._rules.lift_unheard(before)

    async def _hear(self, signal: Signal) -> None:
        match signal:
            case Message():
                await self._obey(signal)
            case Lost(reason=reason):
                self._lose(reason)
            case Found():
                self._telemetry.is_connected = True
                self._telemetry.emit(ConnectorConnected, connector=self._rules.author)
                await self._telemetry.announce()
            case AudienceChanged():
                await self._telemetry.attend()
            case Missed(count=count):
                self._reject(f"{count} messages were too long, or too many")

    async def _obey(self, message: Message) -> None:
        try:
            if message.topic.startswith(f"{SIGNALS}/"):
                self._pass_on(message)
                return
            await self._rules.obey(message)
        except ValueError as error:
            self._reject(f"{describe(error):.300}")
        else:
            await self._telemetry.acknowledge(message)

    def _pass_on(self, message: Message) -> None:
        """Send a value to the run that it is for, if that is one of ours.

        In a task of that run: a store takes its time, and rules must not wait for it.

        Raises:
            ValueError: If it is no valid message about a signal.
        """
        run_id, name, value = read_signal(message)
        for guest in self._telemetry.guests:
            if guest.run.run_id == run_id:
                guest.run.start_service(self._send, guest.run, name, value, message)

    async def _send(self, run: ControlledRun, name: str, value: str, message: Message) -> None:
        refused = None
        try:
            await run.signals.send(name, value)
        except Exception as error:  # whatever its type, or the store, raises: the sender is told
            refused = str(error) if isinstance(error, CascadeError) else describe(error)
        await self._telemetry.acknowledge(message, refused)

    def _reject(self, why: str) -> None:
        message = f"a control message was ignored: {why}"
        self._telemetry.emit(EngineWarning, code="message-rejected", message=message)


@attrs.define(eq=False)
class Link:
    """Keeps *plane* in step with *connector*, as long as there are runs.

    Losing the connection changes nothing for the runs: the last known rules stay in force.
    """

    connector: Connector
    plane: Plane
    _telemetry: Telemetry = attrs.field(init=False)
    _rules: RemoteRules = attrs.field(init=False)
    _connection: Connection | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._telemetry = Telemetry(self.connector)
        self._rules = RemoteRules(self.plane, type(self.connector).__name__)

    def join(self, run: ControlledRun) -> None:
        """A run begins: the connector works for it too.

        Args:
            run: The run.
        """
        guest = self._telemetry.add(run)
        if self._connection is None:
            self._keep_up(guest)
        else:
            run.start_service(self._telemetry.introduce, guest)
        run.start_service(self._send, guest)

    async def until_settled(self) -> None:
        """Wait until the rules in force are known, or cannot be known at present."""
        if self._connection is not None:
            await self._connection.settled.wait()

    async def foresee_end(self, run: ControlledRun, patience: float) -> None:
        """A run is about to publish its last event: find out, for *patience* seconds, whether somebody listens.

        The connector tells that with a delay, which may be too late.
        """
        guest = self._telemetry.guest(run)
        guest.is_ending = True
        if not guest.is_heard:
            with anyio.move_on_after(patience):
                await self._telemetry.attend([guest])

    async def leave(self, run: ControlledRun, patience: float) -> None:
        """A run has published its last event: wait up to *patience* seconds until that has been sent."""
        guest = self._telemetry.guest(run)
        guest.end()
        with anyio.move_on_after(patience):
            await guest.has_sent.wait()
        self._telemetry.remove(guest)
        connection = self._connection
        if connection is not None and guest is connection.guest:
            connection.scope.cancel()
            await connection.ended.wait()
        else:
            with anyio.move_on_after(patience):
                await self._telemetry.announce()

    def forget(self, run: ControlledRun) -> None:
        """A run is over, however it ended. Does nothing after :meth:`leave`."""
        left = [guest for guest in self._telemetry.guests if guest.run is run]
        for guest in left:  # pragma: no cover  # an interrupt between two steps of the run
            guest.end()
            self._telemetry.remove(guest)
            if self._connection is not None and guest is self._connection.guest:
                self._connection.scope.cancel()

    async def _send(self, guest: Guest) -> None:
        try:
            with CancelScope(shield=True):
                await self.until_settled()
                await self._telemetry.send(guest)
        finally:
            guest.has_sent.set()

    def _keep_up(self, guest: Guest) -> None:
        self._connection = Connection(self.connector, self._telemetry, self._rules, guest)
        guest.run.start_service(self._keep, self._connection)

    async def _keep(self, connection: Connection) -> None:
        try:
            await connection.keep()
        finally:
            self._connection = None
            if self._telemetry.guests:
                self._keep_up(self._telemetry.guests[0])
            connection.settled.set()
            connection.ended.set()
