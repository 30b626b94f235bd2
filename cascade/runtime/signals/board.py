"""The signals of one run: which there are, which have a value, and which nodes wait for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import anyio
import attrs
from anyio import current_time
from anyio.lowlevel import checkpoint

from cascade.model.calls.signals import SignalTask, is_same_value
from cascade.model.errors import GraphError, InputError, TaskTimeoutError
from cascade.model.events import SignalAwaited, SignalReceived
from cascade.model.outcomes import Done, Failed
from cascade.model.placeholders import Placeholder
from cascade.model.shown.text import preview
from cascade.runtime.signals.kept import KeptSignals
from cascade.runtime.signals.watch import Host, Idleness, Watch


@attrs.frozen(eq=False)
class Waiter:
    """A node that waits for a signal.

    Attributes:
        node_id: The node.
        task: The signal.
        settle: Called once, with how the node ends.
        wake: Has the scheduler of the node look whether the run still goes on.
        label: What people call the node.
    """

    node_id: str
    task: SignalTask
    settle: Callable[[Done[Any] | Failed], None]
    wake: Callable[[], None]
    label: str | None = None


@attrs.define(eq=False)
class Signals:
    """The signals of one run.

    Attributes:
        host: The run.
        kept: What is kept of them in its store.
        idleness: Finds out whether the run can go on only by signals, if it is to end then.
        declared: The signals of the flows that have come up so far, by name.
        values: Those that have a value, by name.
        waiting: The nodes that wait, by name.
        wanted: Since when names are waited for, on the event loop's clock.
        sending: How many values are on their way.
        is_closed: Whether the run takes no values any more.
    """

    host: Host
    kept: KeptSignals
    idleness: Idleness
    declared: dict[str, SignalTask] = attrs.field(factory=dict)
    values: dict[str, Any] = attrs.field(factory=dict)
    waiting: dict[str, list[Waiter]] = attrs.field(factory=dict)
    wanted: dict[str, float] = attrs.field(factory=dict)
    sending: int = 0
    is_closed: bool = False
    _sent: anyio.Event | None = None
    _watch: Watch | None = None

    # -- what there is -------------------------------------------------------------------------------------

    async def enrol(self, tasks: Sequence[SignalTask]) -> None:
        """Note the signals of a flow that is about to run, in the store too, and read what that has of them.

        Raises:
            GraphError: If there is another signal of one of the names.
            StateError: If the run has a store that keeps no signals, or the store fails.
        """
        note_signals(self.declared, tasks)
        self.kept.see_that_signals_are_kept(tasks[0].name)
        await self.look()
        for task in tasks:
            await self.kept.declare(task)

    async def look(self) -> None:
        """Take what is in the store, where other processes may have put values.

        Raises:
            StateError: If the store cannot be read.
        """
        found = await self.kept.read(self.declared)
        for name, value in found.values.items():
            self._take(name, value)
        for name, seconds in found.waited.items():
            if name not in self.values:
                self.wanted.setdefault(name, current_time() - seconds)

    # -- waiting -------------------------------------------------------------------------------------------

    def want(self, waiter: Waiter) -> None:
        """Have *waiter* get the value of its signal: now, or when there is one."""
        name, timeout = waiter.task.name, waiter.task.timeout
        if name in self.values:
            waiter.settle(Done(self.values[name]))
            return
        self.wanted.setdefault(name, current_time())
        self.waiting.setdefault(name, []).append(waiter)
        about: dict[str, Any] = {"task_id": waiter.node_id, "task_name": name, "label": waiter.label}
        self.host.emit(SignalAwaited, **about, signal=name, timeout=timeout)
        if self.kept.records is not None or timeout is not None or self.idleness.is_asked:
            if self._watch is None:
                self._watch = Watch(self, self.host)
            self._watch.start()

    def withdraw(self, waiter: Waiter) -> None:
        """Have *waiter* wait no longer, without a value."""
        name = waiter.task.name
        others = [other for other in self.waiting.get(name, ()) if other is not waiter]
        if others:
            self.waiting[name] = others
        else:
            self.waiting.pop(name, None)
            self.wanted.pop(name, None)
        self.look_up()

    def waiters(self) -> Iterator[Waiter]:
        """All nodes that wait."""
        for waiters in self.waiting.values():
            yield from waiters

    def deadline(self, name: str) -> float | None:
        """When the wait for a signal ends, on the event loop's clock; ``None`` if it has no limit."""
        timeout = self.declared[name].timeout
        return None if timeout is None or name not in self.wanted else self.wanted[name] + timeout

    @property
    def look_every(self) -> float | None:
        """Seconds between two looks into the store; ``None`` if there is nothing to look for."""
        return None if self.kept.records is None else self.kept.records.look_every

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
            if self._sent is not None:
                self._sent.set()

    async def _accept(self, name: str, value: object) -> None:
        run_id = self.host.run_id
        if self.is_closed:
            raise InputError([f"run {run_id!r} has ended and takes no signal {name!r}"])
        self.kept.open()
        if name not in self.declared:  # the run may have known it when it was executed before
            await self.look()
        checked = checked_value(run_id, name, value, {**self.kept.remembered, **self.declared})
        if name not in self.values:
            _, stands = await self.kept.put(name, checked)
            self._take(name, stands)
        see_that_it_stands(run_id, name, checked, self.values[name])

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

    # -- time ----------------------------------------------------------------------------------------------

    async def note_wanted(self, name: str) -> None:
        """Record since when a signal with a timeout is waited for, so that the time goes on after a restart.

        Raises:
            StateError: If the store fails.
        """
        if name in self.wanted:
            await self.kept.note_wanted(name, current_time() - self.wanted[name])

    async def time_out(self, name: str) -> None:
        """A signal did not come in time: it gets its default, which stands like any other value, or fails.

        Raises:
            StateError: If the store fails.
        """
        task = self.declared[name]
        if task.has_default:
            is_first, value = await self.kept.put(name, task.declared.resolved_default())
            self._take(name, value, is_default=is_first)
            return
        await self.look()  # others may have been in time
        if name not in self.values:
            await self.kept.note_wanted(name, None)  # if the run is resumed, the time starts anew
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
        if self.sending:
            with anyio.move_on_after(patience):
                while self.sending:
                    self._sent = anyio.Event()
                    await self._sent.wait()


def note_signals(declared: dict[str, SignalTask], tasks: Iterable[SignalTask]) -> None:
    """Add *tasks* to *declared*.

    Raises:
        GraphError: If there is another signal of one of the names.
    """
    for task in tasks:
        known = declared.setdefault(task.name, task)
        if not known.agrees_with(task):
            raise GraphError(
                f"two signals are called {task.name!r} and differ in type, default or timeout: "
                f"{_shown(known)} and {_shown(task)}; give one of them another name"
            )


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
