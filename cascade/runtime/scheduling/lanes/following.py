"""Which node goes on from another in the same lane, without a look at the queue.

In the schedule of stages these are the links of the layout: a stage of one node after a stage of one node. In the
eager schedule it is any consumer that waits for nothing else. So a chain needs one lane, and no hop for each
link.
"""

from __future__ import annotations

from typing import Any

import attrs

from cascade.graph.nested import PAUSE_EVERY
from cascade.model.outcomes import Status
from cascade.runtime.foundation.replay import for_several
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.conditions import Conditions


@attrs.frozen(eq=False)
class Following:
    """Finds the node that goes on from another one.

    Attributes:
        frame: Whose nodes they are.
        conditions: Whether somebody is told of the nodes.
        is_eager: Whether a node starts as soon as it is ready; else in its stage.
    """

    frame: Frame
    conditions: Conditions
    is_eager: bool

    def node_after(self, index: int, value: Any) -> int | None:
        """The node that alone goes on from *index*, whose value this is. Asked in any thread.

        The value is no flow, or nobody waits for it. Nobody else starts the node from then on.
        """
        frame, conditions = self.frame, self.conditions
        found = self._next(index) if self.is_eager else frame.layout.links.get(index)
        if found is None or frame.gaps.exist or conditions.is_heard or conditions.run_context.lifecycle.is_closing:
            return None
        if len(frame.graph.sources[index]) > PAUSE_EVERY:
            return None  # what it used is let go of first
        if frame.demand.uses[index] > 1 and for_several(value) is not value:
            return None  # it becomes something that several can read, first
        frame.values[index] = value
        frame.status[found] = Status.QUEUED
        return found

    def _next(self, index: int) -> int | None:
        """A consumer that waits for nothing but *index* and has the same place."""
        frame = self.frame
        if frame.routing is not None:
            return None
        places = frame.layout.places
        for consumer in frame.graph.consumers[index]:
            if frame.readiness.pending[consumer] == 1 and places[consumer] == places[index]:
                return consumer
        return None
