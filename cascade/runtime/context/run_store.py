"""What a run records of itself, and what was recorded of it before."""

from __future__ import annotations

import math
from functools import partial

import attrs

from cascade.model.errors import StateError
from cascade.model.events import EngineWarning, StateRecorded
from cascade.model.shown.raised import describe
from cascade.runtime.context.failures import Failures
from cascade.runtime.context.run_events import RunEvents
from cascade.runtime.context.settings import Settings
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.details.captured import captured_var
from cascade.runtime.durability.details.capturing_journal import CapturingJournal
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import Entry, NotDurable, is_of_undo
from cascade.runtime.durability.recovery import Recovery
from cascade.runtime.durability.undo_log import UndoLog
from cascade.runtime.observation.details import NodeWrote


@attrs.define(eq=False)
class RunStore:
    """The way of a run to the state store.

    Attributes:
        settings: What is recorded when.
        events: Told of what was recorded, and of what could not be.
        failures: Where a store that fails ends the run.
        journal: Writes, if there is a store.
        recovery: What the store knew of the run.
        undo: What would have to be undone.
    """

    settings: Settings
    events: RunEvents
    failures: Failures
    journal: Journal | None = None
    recovery: Recovery | None = None
    undo: UndoLog = attrs.field(factory=UndoLog)

    def backend(self) -> StateBackend | None:
        """The store, once the run has its lease; ``None`` without one, or if the run had finished before."""
        recovery = self.recovery
        return None if recovery is None or recovery.past.result is not None else recovery.backend

    def open_journal(self, backend: StateBackend) -> Journal:
        """Record what settles from now on in *backend*; returns the journal, which is to be run."""
        durability, is_eager = self.settings.durability, self.settings.schedule == "eager"
        captured = captured_var.get()
        make = (
            Journal if captured is None else partial(CapturingJournal, captured, self.events.secrets, self._wrote)
        )
        self.journal = make(
            backend=backend,
            on_recorded=lambda count, total: self.events.emit(StateRecorded, count=count, total=total),
            on_failure=self._failed,
            on_not_durable=self.not_durable,
            period=0.1 if is_eager and durability == "stage" else math.inf,
            largest=math.inf if durability == "exit" else 1000,
            turns_between=self.settings.loop_record[0],
            seconds_between=self.settings.loop_record[1],
        )
        self.undo.journal = self.journal
        if self.recovery is not None:
            self.undo.take_up(self.recovery.undos)
        return self.journal

    def _wrote(self, entry: Entry, text: str) -> None:
        """Tell what a node wrote, to whoever shows that to people."""
        self.events.emit(
            NodeWrote, task_id=entry.node_id, task_name=entry.task_name, label=entry.label, text=text,
            status=entry.status, started=entry.started, worker=entry.worker,
        )  # fmt: skip

    def not_durable(self, missing: NotDurable) -> None:
        """Tell what the store has not taken the value of."""
        for what, error in missing:
            self.events.emit(EngineWarning, code="not-durable", message=f"{self._lost(what)}: {describe(error)}")
        if missing and self.settings.strict_state:
            what, error = missing[-1]  # the node itself comes after its undo
            name = self._lost(what) if is_of_undo(what) else f"{what!r} cannot be recorded"
            self._failed(StateError(f"{name}: {describe(error)}"))

    def _lost(self, what: str) -> str:
        """What it means that the store has not taken the record *what*."""
        if is_of_undo(what):
            return f"{self.undo.about(what)}, so a resumed run cannot do it"
        return f"the result of {what!r} is not durable, and is computed again on resume"

    def _failed(self, error: BaseException) -> None:
        self.failures.fail(error, "state store")
