"""The attempt of a plain node, as its function sees it, in whatever lane."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from cascade.model.calls.callee import Callee
from cascade.model.errors import AttemptCancelled
from cascade.runtime.admission.claims import Claim
from cascade.runtime.context.run_context import RunContext

NO_RESOURCES: Final[Mapping[str, Any]] = {}


@attrs.define(eq=False)
class LaneAttempt:
    """The one attempt of a plain node.

    Attributes:
        surroundings: The run.
        node_id: The node.
        task: What is called.
        ends_by: When the scopes around it end, on the event loop's clock.
        clock: That clock, as it can be read where the attempt runs.
        claim: What the lane holds, if anything.
        is_over: Whether it has ended; what still runs in its name then is not it.
        undone: How often the node was undone before: never, as a plain node has no undo.
    """

    surroundings: RunContext
    node_id: str
    task: Callee
    ends_by: float
    clock: Callable[[], float]
    claim: Claim | None = None
    is_over: bool = False
    undone: ClassVar[int] = 0

    @property
    def is_running(self) -> bool:
        """Whether its function has been called and has not ended."""
        return not self.is_over

    @property
    def number(self) -> int:
        """Counts attempts; there is one."""
        return 1

    @property
    def run_id(self) -> str:
        """The run."""
        return self.surroundings.run_id

    @property
    def turns(self) -> Sequence[int]:
        """Numbers of the turns that the loops around its node are in, the run's own first."""
        return self.surroundings.progress.turns(self.node_id)

    def why_late(self) -> str | None:
        """Nothing: a plain node has no timeout."""
        return None

    def remaining(self) -> float:
        """Seconds to the effective deadline."""
        return self.ends_by - self.clock() if math.isfinite(self.ends_by) else self.ends_by

    def check(self) -> None:
        """Raise if it is cancelled."""
        if self.surroundings.lifecycle.is_over_for(self.node_id):
            raise AttemptCancelled
