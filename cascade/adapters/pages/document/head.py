"""What a document says of its run as a whole."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import attrs

from cascade.adapters.observers.tally import Tally
from cascade.adapters.pages.document.shape import numbers_of
from cascade.model.events import (
    EngineWarning,
    Event,
    RunFinished,
    RunResumed,
    RunStarted,
    SignalReceived,
    StaticAnalysisWarning,
)
from cascade.model.shown.text import preview

# Targets, parameters, signals and warnings that are shown, at most.
MOST_TARGETS: Final = 20
MOST_PARAMS: Final = 50
MOST_SIGNALS: Final = 50
MOST_WARNINGS: Final = 100


@attrs.define(eq=False)
class Head:
    """Follows a run by those of its events that are about no node.

    Attributes:
        signals: The latest signals that were accepted, each as the document has it.
        warnings: The latest warnings, in the same way.
    """

    signals: deque[dict[str, Any]] = attrs.field(factory=lambda: deque(maxlen=MOST_SIGNALS))
    warnings: deque[dict[str, Any]] = attrs.field(factory=lambda: deque(maxlen=MOST_WARNINGS))
    _facts: dict[str, Any] = attrs.field(factory=dict)

    def begin(self, run_id: str, at: float) -> None:
        """Take in when the run began, unless that is known."""
        if not self._facts:
            self._facts |= {"id": run_id, "started": at}

    def hear(self, event: Event, at: float) -> None:
        """Take in *event*, which comes after those before it."""
        match event:
            case RunStarted(target_tasks=targets, params=params):
                shown = [(name, preview(value)) for name, value in [*params.items()][:MOST_PARAMS]]
                self._facts |= {"targets": targets[:MOST_TARGETS], "params": dict(shown)}
                self._facts["targets_left_out"] = max(len(targets) - MOST_TARGETS, 0)
            case RunResumed(epoch=epoch):
                self._facts["epoch"] = epoch
            case RunFinished(error=error):
                self._facts |= {"finished": at, "error": error}
            case SignalReceived(signal=name, preview=value, is_default=is_default):
                self.signals.append({"name": name, "preview": value, "is_default": is_default, "at": at})
            case (
                EngineWarning(code=code, message=message)
                | StaticAnalysisWarning(warning_code=code, message=message)
            ):
                self.warnings.append({"at": at, "code": code, "message": message})

    def shown(self, tally: Tally) -> dict[str, Any]:
        """The section about the run, with the numbers in *tally*."""
        total = tally.total if tally.is_sized and not tally.is_open else None
        return {
            "name": "", "finished": None, "error": None, "targets": [], "targets_left_out": 0, "params": {},
            "epoch": 1, **self._facts, "status": tally.status, "stage": tally.stage,
            "turns": None if tally.turns is None else tally.turns[1], "source": "events", "total": total,
            "counts": numbers_of(*tally.tasks.values()),
        }  # fmt: skip
