"""What a run keeps of its signals in its store, and what it finds there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from cascade.model.calls.signals import SignalTask, is_same_value
from cascade.model.errors import InputError, StateError
from cascade.model.events import EngineWarning
from cascade.model.shown.text import preview
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.signal_records import (
    DECLARED,
    SECRET,
    VALUE,
    WANTED,
    SignalRecords,
    Unreadable,
    UnstorableError,
)
from cascade.runtime.signals.watch import Host


@attrs.define(eq=False)
class KeptSignals:
    """The signals of one run in its store; all does nothing if it has none.

    Attributes:
        host: The run.
        store: Gives its store; ``None`` if it has none.
        wall: The clock by which is recorded since when signals are waited for, in seconds since the epoch.
        records: Where signals are recorded, once the run has come to use that.
        remembered: The signals that are recorded, by name.
        has_secrets: Whether a flow of the run has a secret, which may be in a value.
    """

    host: Host
    store: Callable[[], StateBackend | None]
    wall: Callable[[], float]
    records: SignalRecords | None = None
    remembered: dict[str, SignalTask] = attrs.field(factory=dict)
    has_secrets: bool = False
    _is_marked: bool = False

    def open(self) -> None:
        """Use the store from now on, if it keeps signals."""
        store = self.store()
        if self.records is None and store is not None:
            self.records = store.signals

    def see_that_signals_are_kept(self, name: str) -> None:
        """See that the store, if there is one, keeps signals.

        Raises:
            StateError: If it does not.
        """
        self.open()
        store = self.store()
        if store is not None and self.records is None:
            raise StateError(
                f"the flow waits for signal {name!r}, and {type(store).__name__} keeps no signals (its `signals` "
                "is None); use another state, or none"
            )

    async def hide(self) -> None:
        """A flow of the run has a secret: have no record show a value from now on.

        Raises:
            StateError: If the store fails.
        """
        self.has_secrets = True
        await self._mark()

    async def _mark(self) -> None:
        if self.has_secrets and not self._is_marked and self.records is not None:
            self._is_marked = True
            await self.records.accept(SECRET, True)

    async def declare(self, task: SignalTask) -> None:
        """Let processes that do not execute the run know what a signal is like.

        Raises:
            StateError: If the store fails.
        """
        await self._mark()  # before there can be a value
        known = self.remembered.get(task.name)
        if self.records is None or (known is not None and known.agrees_with(task)):
            return
        self.remembered[task.name] = task
        try:
            await self.records.accept(f"{DECLARED}{task.name}", task, replaces=True)
        except UnstorableError as error:
            message = (
                f"signal {task.name!r} can be sent to the run only while it is executed, as its type cannot be "
                f"recorded: {error}"
            )
            self.host.emit(EngineWarning, code="not-durable", message=message)

    async def put(self, name: str, value: Any) -> tuple[bool, Any]:
        """Write a value; whether it was the first, and the one that stands.

        Raises:
            InputError: If it cannot be stored.
            StateError: If the store fails, or has a value that cannot be read.
        """
        if self.records is None:
            return True, value
        await self._mark()
        mine = (value,)
        try:
            stands = await self.records.accept(f"{VALUE}{name}", mine)
        except UnstorableError as error:
            raise InputError([f"the value for signal {name!r} cannot be stored: {error}"]) from error
        return stands is mine, _readable(name, stands)[0]

    async def note_wanted(self, name: str, seconds: float | None) -> None:
        """Record for how long a signal has been waited for, so that its time goes on after a restart.

        Args:
            name: The signal.
            seconds: So long. ``None``: it is not waited for any more.

        Raises:
            StateError: If the store fails.
        """
        if self.records is not None:
            since = None if seconds is None else self.wall() - seconds
            await self.records.accept(f"{WANTED}{name}", since, replaces=True)

    async def read(self, declared: dict[str, SignalTask]) -> Found:
        """What is in the store, where other processes may have put values.

        Args:
            declared: The signals whose values must be readable.

        Raises:
            StateError: If the store cannot be read, or such a value cannot.
        """
        kept = {} if self.records is None else await self.records.all()
        parts = {kind: dict(_of_kind(kept, kind)) for kind in (DECLARED, VALUE, WANTED)}
        before = dict(self.remembered)
        self.remembered.update(
            (name, task) for name, task in parts[DECLARED].items() if not isinstance(task, Unreadable)
        )
        values: dict[str, Any] = {}
        for name, value in parts[VALUE].items():
            if name in declared:
                recorded = before.get(name) or self.remembered.get(name)
                values[name] = _fitting(declared[name], recorded, _readable(name, value)[0])
            elif not isinstance(value, Unreadable):
                values[name] = value[0]
        waited = {
            name: max(self.wall() - since, 0.0) for name, since in parts[WANTED].items() if since is not None
        }
        return Found(values, waited)


@attrs.frozen
class Found:
    """What was found in a store.

    Attributes:
        values: Values that were accepted, by name.
        waited: For how many seconds signals have been waited for, by name.
    """

    values: dict[str, Any]
    waited: dict[str, float]


def _of_kind(kept: Any, kind: str) -> Iterator[tuple[str, Any]]:
    return ((key.removeprefix(kind), value) for key, value in kept.items() if key.startswith(kind))


def _readable(name: str, value: Any) -> Any:
    if isinstance(value, Unreadable):
        raise StateError(f"the recorded value of signal {name!r} cannot be read: {value.reason}")
    return value


def _fitting(declared: SignalTask, recorded: SignalTask | None, value: Any) -> Any:
    """A recorded value as one of the signal as it is now: its type may have changed since.

    Raises:
        StateError: If it is none.
    """
    if recorded is None or recorded.declared.agrees_with(declared.declared):
        return value
    try:
        converted = declared.declared.convert(value)
    except ValueError as error:
        raise StateError(f"{_changed(declared.name)}: {error}") from error
    if not is_same_value(converted, value):
        raise StateError(f"{_changed(declared.name)}: {preview(value)} would be {preview(converted)}")
    return value


def _changed(name: str) -> str:
    return f"the type of signal {name!r} has changed, and does not fit what was sent before"
