"""The nodes of a lane whose coroutines wait: each has an attempt that is watched, and can be given a claim."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import attrs

from cascade.model.errors import AttemptCancelled
from cascade.runtime.admission.claims import Claim, Holdings
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.scheduling.lanes.lane_attempt import LaneAttempt


@attrs.define(eq=False)
class WaitingNodes:
    """Nodes of one lane that wait.

    Attributes:
        run_context: The run.
    """

    run_context: RunContext
    # By attempt, its claim, if somebody has asked for such.
    _claims: dict[LaneAttempt, Claim | None] = attrs.field(factory=dict)

    async def value_of(self, attempt: LaneAttempt, rest: Awaitable[Any]) -> Any:
        """The value of a coroutine that waits; it can be counted meanwhile."""
        tasks, gate = self.run_context.tasks, self.run_context.gate
        tasks.watch.add(attempt)
        if not self._claims:
            gate.lanes.add(self)
        self._claims[attempt] = None
        try:
            value = await rest
        finally:
            tasks.watch.remove(attempt)
            claim = self._claims.pop(attempt)
            if not self._claims:
                gate.lanes.discard(self)
            if claim is not None:
                claim.release()
        if is_cancelled():
            raise AttemptCancelled  # swallowed, or not seen yet: the result does not count
        return value

    def adopt(self, holdings: Holdings, epoch: int) -> None:
        """Give each node that waits a claim."""
        for attempt, claim in self._claims.items():
            if claim is None:
                applicant = self.run_context.applicant(attempt.node_id, attempt.task)
                self._claims[attempt] = holdings.adopted(applicant, epoch)
