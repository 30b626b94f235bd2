"""The signals of one run: which there are, which have a value, and which nodes wait for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import anyio
import attrs
from anyio import current_time
from anyio.lowlevel import checkpoint

from cascade.model.errors import GraphError, InputError, StateError, TaskTimeoutError
from cascade.model.events import EngineWarning, NodeEvent, SignalAwaited, SignalReceived
from cascade.model.outcomes import Done, Failed
from cascade.model.placeholders import Placeholder
from cascade.model.signals import SignalTask, is_same_value
from cascade.model.text import preview
from cascade.runtime.durability.signal_records import (
    DECLARED,
    VALUE,
    WANTED,
    SignalRecords,
    Unreadable,
    UnstorableError,
)
from cascade.runtime.signals.watch import Flow, Host, Watch


@attrs.frozen(eq=False)
class Waiter:
    """A node that waits for a signal.

    Attributes:
        node_id: The node.
        task: The signal.
        settle: Called once, with how the node ends.
        wake: Has the scheduler of the node look whether the run still goes on.
    """

    node_id: str
    task: SignalTask
    settle: Callable[[Done[Any] | Failed], None]
    wake: Callable[[], None]


@attrs.define(eq=False)
class Signals:
    """The signals of one run.

    Attributes:
        host: The run.
        suspends: Whether the run ends when it could go on only by signals.
        suspend: Ends it so, with the names of these.
        wall: The clock by which the store says since when signals are waited for, in seconds since the epoch.
        declared: The signals of the flows that have come up so far, by name.
        remembered: The signals that are in the store, by name.
        values: Those that have a value, by name.
        waiting: The nodes that wait, by name.
        wanted: Since when names are waited for, on the event loop's clock.
        records: Where values are recorded, once the run has begun to use its store.
        flows: The frames that are under way, if the run may suspend.
        sending: How many values are on their way.
        is_closed: Whether the run takes no values any more.
    """

    host: Host
    suspends: bool
    suspend: Callable[[tuple[str, ...]], None]
    wall: Callable[[], float]
    declared: dict[str, SignalTask] = attrs.field(factory=dict)
    remembered: dict[str, SignalTask] = attrs.field(factory=dict)
    values: dict[str, Any] = attrs.field(factory=dict)
    waiting: dict[str, list[Waiter]] = attrs.field(factory=dict)
    wanted: dict[str, float] = attrs.field(factory=dict)
    records: SignalRecords | None = None
    flows: set[Flow] = attrs.field(factory=set)
    sending: int = 0
    is_closed: bool = False
    _sent: anyio.Event = attrs.field(factory=anyio.Event)
    _watch: Watch | None = None

    # -- what there is -------------------------------------------------------------------------------------

    def declare(self, tasks: Iterable[SignalTask]) -> list[SignalTask]:
        """Note the signals of a flow; returns those that were not known.

        Raises:
            GraphError: If there is another signal of the same name.
        """
        return note_signals(self.declared, tasks)

    async def enrol(self, tasks: Iterable[SignalTask]) -> None:
        """Note the signals of a flow that is about to run, in the store too, and read what that has of them.

        Raises:
            GraphError: As :meth:`declare`.
            StateError: If the run has a store that keeps no signals, or the store fails.
        """
        tasks = list(tasks)
        self.declare(tasks)
        store = self.host.signal_store()
        if store is None:
            return
        self._open_records()
        if self.records is None:
            raise StateError(
                f"the flow waits for signal {tasks[0].name!r}, and {type(store).__name__} keeps no signals (its "
                "`signals` is None); use another state, or none"
            )
        await self.look()
        for task in tasks:
            known = self.remembered.get(task.name)
            if known is None or not known.agrees_with(task):
                await self._record(task)

    def _open_records(self) -> None:
        store = self.host.signal_store()
        if self.records is None and store is not None:
            self.records = store.signals

    async def _record(self, task: SignalTask) -> None:
        """Let processes that do not execute the run know what the signal is like."""
        assert self.records is not None
        self.remembered[task.name] = task
        try:
            await self.records.accept(f"{DECLARED}{task.name}", task, replaces=True)
        except UnstorableError as error:
            message = (
                f"signal {task.name!r} can be sent to the run only while it is executed, as its type cannot be "
                f"recorded: {error}"
            )
            self.host.emit(EngineWarning, code="not-durable", message=message)

    # -- waiting -------------------------------------------------------------------------------------------

    def want(self, waiter: Waiter) -> None:
        """Have *waiter* get the value of its signal: now, or when there is one."""
        name = waiter.task.name
        if name in self.values:
            waiter.settle(Done(self.values[name]))
            return
        self.wanted.setdefault(name, current_time())
        self.waiting.setdefault(name, []).append(waiter)
        self._tell(SignalAwaited, waiter, signal=name, timeout=waiter.task.timeout)
        if self.records is not None or waiter.task.timeout is not None or self.suspends:
            if self._watch is None:
                self._watch = Watch(self, self.host)
            self._watch.start()

    def _tell(self, kind: type[NodeEvent], waiter: Waiter, **fields: Any) -> None:
        self.host.emit(kind, task_id=waiter.node_id, task_name=waiter.task.name, **fields)

    def waiters(self) -> Iterator[Waiter]:
        """All nodes that wait."""
        for waiters in self.waiting.values():
            yield from waiters

    def deadline(self, name: str) -> float | None:
        """When the wait for a signal ends, on the event loop's clock; ``None`` if it has no limit."""
        timeout = self.declared[name].timeout
        return None if timeout is None or name not in self.wanted else self.wanted[name] + timeout

    def wake(self) -> None:
        """The run closes: nobody waits any more."""
        for waiter in tuple(self.waiters()):
            waiter.wake()

    def look_up(self) -> None:
        """Something has changed: a frame has nothing to do but to wait, or a wait is over."""
        if self._watch is not None:
            self._watch.tell()

    # -- values --------------------------------------------------------------------------------------------

    async def send(self, name: str, value: object) -> None:
        """Accept a value. If the run has a store, the value is there when this returns.

        If cancelled, it may have been accepted or not.

        Raises:
            InputError: If the run has no such signal, has ended, or refuses the value. Then nothing has changed.
            StateError: If the store fails.
        """
        self.sending += 1  # so that the run is not taken for idle, and its store stays open
        try:
            await checkpoint()
            await self._accept(name, value)
        finally:
            self.sending -= 1
            self.look_up()
            self._sent.set()

    async def _accept(self, name: str, value: object) -> None:
        run_id = self.host.run_id
        if self.is_closed:
            raise InputError([f"run {run_id!r} has ended and takes no signal {name!r}"])
        self._open_records()
        if name not in self.declared:  # the run may have known it when it was executed before
            await self.look()
        checked = checked_value(run_id, name, value, {**self.remembered, **self.declared})
        if name not in self.values and self.records is not None:
            _, stands = await self._stored(name, checked)
            self._take(name, stands)
        elif name not in self.values:
            self._take(name, checked)
        see_that_it_stands(run_id, name, checked, self.values[name])

    async def _stored(self, name: str, value: Any) -> tuple[bool, Any]:
        """Write a value to the store; whether it was the first, and the one that stands."""
        assert self.records is not None
        mine = (value,)
        try:
            stands = await self.records.accept(f"{VALUE}{name}", mine)
        except UnstorableError as error:
            raise InputError([f"the value for signal {name!r} cannot be stored: {error}"]) from error
        if isinstance(stands, Unreadable):
            raise StateError(f"the recorded value of signal {name!r} cannot be read: {stands.reason}")
        return stands is mine, stands[0]

    def _take(self, name: str, value: Any, *, is_default: bool = False) -> None:
        """A value has been accepted: give it to all that wait for it."""
        if name in self.values:
            return
        self.values[name] = value
        self.wanted.pop(name, None)
        self.host.emit(SignalReceived, signal=name, preview=preview(value), is_default=is_default)
        self._settle(name, Done(value))

    def _settle(self, name: str, outcome: Done[Any] | Failed) -> None:
        for waiter in self.waiting.pop(name, ()):
            waiter.settle(outcome)
        self.look_up()

    async def look(self) -> None:
        """Take what is in the store, where other processes may have put values.

        Raises:
            StateError: If the store cannot be read.
        """
        if self.records is None:
            return
        found = await self.records.all()
        for key, kept in found.items():
            kind, _, name = key.partition(":")
            if isinstance(kept, Unreadable):
                if kind == "value" and name in self.declared:
                    raise StateError(f"the recorded value of signal {name!r} cannot be read: {kept.reason}")
            elif kind == "declared":
                self.remembered[name] = kept
            elif kind == "value" and name not in self.values:
                self._take(name, kept[0])
            elif kind == "wanted" and name not in self.values and name not in self.wanted and kept is not None:
                self.wanted[name] = current_time() - max(self.wall() - kept, 0.0)

    async def note_wanted(self, name: str) -> None:
        """Record since when a signal with a timeout is waited for, so that the time goes on after a restart."""
        if self.records is not None and name in self.wanted:
            since = self.wall() - (current_time() - self.wanted[name])
            await self.records.accept(f"{WANTED}{name}", since, replaces=True)

    async def time_out(self, name: str) -> None:
        """A signal did not come in time: it gets its default, which stands like any other value, or fails.

        Raises:
            StateError: If the store fails.
        """
        task = self.declared[name]
        if task.has_default:
            is_first, value = True, task.declared.resolved_default()
            if self.records is not None:
                is_first, value = await self._stored(name, value)
            self._take(name, value, is_default=is_first)
            return
        if self.records is not None:
            await self.look()  # others may have been in time
            if name in self.values:
                return
            await self.records.accept(f"{WANTED}{name}", None, replaces=True)  # if it is resumed, time starts anew
        if name in self.values:  # sent meanwhile
            return
        assert task.timeout is not None
        self.wanted.pop(name, None)
        waiters = self.waiting.get(name, ())
        node_id = waiters[0].node_id if waiters else name
        self._settle(name, Failed(TaskTimeoutError(node_id, task.timeout, name)))

    # -- the end -------------------------------------------------------------------------------------------

    async def close(self, patience: float) -> None:
        """Take no values any more, and end the task; wait *patience* seconds for what is being sent."""
        self.is_closed = True
        if self._watch is not None:
            self._watch.stop()
        with anyio.move_on_after(patience):
            while self.sending:
                self._sent = anyio.Event()
                await self._sent.wait()


def note_signals(declared: dict[str, SignalTask], tasks: Iterable[SignalTask]) -> list[SignalTask]:
    """Add *tasks* to *declared*; returns those whose names were not there.

    Raises:
        GraphError: If there is another signal of the same name.
    """
    new = []
    for task in tasks:
        known = declared.setdefault(task.name, task)
        if known is task:
            new.append(task)
        elif not known.agrees_with(task):
            raise GraphError(
                f"two signals are called {task.name!r} and differ in type, default or timeout: "
                f"{_shown(known)} and {_shown(task)}; give one of them another name"
            )
    return new


def checked_value(run_id: str, name: str, value: object, declared: dict[str, SignalTask]) -> Any:
    """*value*, converted as the signal *name* says.

    Raises:
        InputError: If there is no such signal, or it refuses the value.
    """
    task = declared.get(name)
    if task is None:
        known = ", ".join(map(repr, sorted(declared))) or "none"
        raise InputError([f"run {run_id!r} has no signal {name!r}; it has: {known}"])
    if isinstance(value, Placeholder):
        raise InputError([f"signal {name!r} takes a value, not {value!r}"])
    try:
        return task.declared.convert(value)
    except ValueError as error:
        raise InputError([str(error)]) from error


def see_that_it_stands(run_id: str, name: str, sent: object, stands: object) -> None:
    """See that the value of a signal is the one that was *sent*.

    Raises:
        InputError: If another value had been accepted before.
    """
    if not is_same_value(sent, stands):
        raise InputError(
            [f"signal {name!r} of run {run_id!r} is {preview(stands)} already, and cannot be {preview(sent)}"]
        )


def _shown(task: SignalTask) -> str:
    limit = "" if task.timeout is None else f", timeout={task.timeout:g}"
    return f"{task.declared!r}{limit}"
