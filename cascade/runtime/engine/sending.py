"""Sends signals to runs by way of their store, whether a process executes them or not."""

from __future__ import annotations

from typing import Any

from anyio import CancelScope

from cascade.model.calls.signals import SignalTask
from cascade.model.errors import InputError, StateError
from cascade.model.shown.urls import shown_url
from cascade.runtime.durability.history import RunRecord
from cascade.runtime.durability.signal_records import DECLARED, VALUE, SignalRecords, Unreadable, UnstorableError
from cascade.runtime.engine.history import recorded_run
from cascade.runtime.engine.urls import open_backend
from cascade.runtime.signals.board import checked_value, see_that_it_stands


async def send(run_id: str, name: str, value: object, *, state: str) -> RunRecord:
    """Send a value for a signal to a run in a state store: see :func:`cascade.signal`.

    The value is in the store when this returns. A process that executes the run takes it within a second or so;
    otherwise the run finds it when it is resumed. If cancelled, it may have been accepted or not.

    Args:
        run_id: The run. It must have begun, so that its signals are known.
        name: Name of the signal.
        value: The value. Text is converted to the type of the signal, any other value is checked.
        state: URL of the store: ``sqlite:///runs.db`` or ``redis://host:6379/0``.

    Returns:
        The run as it was recorded before.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is malformed, or names a store that keeps nothing; or if the run has succeeded, has
            no such signal, or refuses the value, because it is not of the type or another one has been accepted.
            Then nothing has changed.
        StateError: If the store cannot be used, or has no such run.
        TypeError: If *state* is no URL.
    """
    run = await recorded_run(state, run_id)
    if run.status == "succeeded":
        raise InputError([f"run {run_id!r} has succeeded and takes no signal {name!r}"])
    backend = open_backend(state, run_id)
    assert backend is not None
    try:
        if backend.signals is None:  # pragma: no cover  # all stores with URLs keep signals
            raise StateError(f"{shown_url(state)} keeps no signals")
        await put_signal(backend.signals, run_id, name, value)
    finally:
        with CancelScope(shield=True):
            await backend.aclose()
    return run


async def put_signal(records: SignalRecords, run_id: str, name: str, value: object) -> None:
    """Check a value, and write it to the *records* of a run.

    Raises:
        InputError: If it is refused. Then nothing has changed.
        StateError: If the store fails.
    """
    found = await records.all()
    declared = _declared(run_id, name, found)
    checked = checked_value(run_id, name, value, declared)
    try:
        stands = await records.accept(f"{VALUE}{name}", (checked,))
    except UnstorableError as error:
        raise InputError([f"the value for signal {name!r} cannot be stored: {error}"]) from error
    if isinstance(stands, Unreadable):
        raise InputError([f"signal {name!r} of run {run_id!r} has a value that cannot be read: {stands.reason}"])
    see_that_it_stands(run_id, name, checked, stands[0])


def _declared(run_id: str, name: str, found: Any) -> dict[str, SignalTask]:
    """The signals that the run has recorded."""
    declared = {key.removeprefix(DECLARED): kept for key, kept in found.items() if key.startswith(DECLARED)}
    kept = declared.get(name)
    if isinstance(kept, Unreadable):
        why = (
            f"the type of signal {name!r} of run {run_id!r} cannot be loaded here ({kept.reason}); send it from "
            "where its module can be imported, or with `cascade control send` while the run is executed"
        )
        raise InputError([why])
    return declared
