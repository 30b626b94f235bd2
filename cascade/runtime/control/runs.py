"""The runs that a control plane serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from cascade.model.events import ControlChanged
from cascade.model.rules import ControlRule
from cascade.runtime.control.controlled_run import ControlledRun
from cascade.runtime.control.timer import Timer

if TYPE_CHECKING:  # imported only if there is a connector
    from cascade.runtime.control.remote_link import Link


@attrs.define(eq=False)
class ControlledRuns:
    """Tells runs of changes, and has them run the services of the plane: its timer and its link.

    Each run calls, in this order: :meth:`join`, :meth:`until_known`, :meth:`leave`, :meth:`foresee_end`,
    :meth:`unlink`, :meth:`forget`.
    """

    _timer: Timer
    _link: Link | None
    _runs: list[ControlledRun] = attrs.field(factory=list, init=False)

    def __bool__(self) -> bool:
        """Whether there is a run."""
        return bool(self._runs)

    def find(self, run_id: str) -> ControlledRun | None:
        """The run of that id; ``None`` if it has not begun, or has ended.

        Args:
            run_id: Its id.
        """
        return next((run for run in self._runs if run.run_id == run_id), None)

    def report(self, rule: ControlRule, action: str, author: str) -> None:
        """Publish an event in the runs that *rule* may be about.

        Args:
            rule: The rule.
            action: ``"set"``, ``"lifted"`` or ``"expired"``.
            author: Who did that.
        """
        kind, _, name = rule.scope.partition(":")
        for run in self._runs:
            if kind != "run" or name == run.run_id:
                run.emit(
                    ControlChanged,
                    kind=rule.kind, scope=rule.scope, action=action, author=author, rule=str(rule),
                )  # fmt: skip

    def join(self, run: ControlledRun) -> None:
        """A run begins: the connector works for it too.

        Args:
            run: The run.
        """
        self._runs.append(run)
        self._timer.join(run)
        if self._link is not None:
            self._link.join(run)

    async def until_known(self) -> None:
        """Wait until the rules of other processes are known, or cannot be known at present."""
        if self._link is not None:
            await self._link.until_settled()

    def leave(self, run: ControlledRun) -> None:
        """A run has no more nodes to start, and wants to hear of no more changes. A second call does nothing."""
        if run in self._runs:
            self._runs.remove(run)
            self._timer.leave(run)

    async def foresee_end(self, run: ControlledRun, patience: float) -> None:
        """A run is about to publish its last event; takes up to *patience* seconds."""
        if self._link is not None:
            await self._link.foresee_end(run, patience)

    async def unlink(self, run: ControlledRun, patience: float) -> None:
        """A run has published its last event: wait up to *patience* seconds until it has been sent."""
        if self._link is not None:
            await self._link.leave(run, patience)

    def forget(self, run: ControlledRun) -> None:
        """A run is over, however it ended."""
        self.leave(run)
        if self._link is not None:
            self._link.forget(run)
