"""How long tasks and the nodes of flows take, as far as this process has seen."""

from __future__ import annotations

import threading
from typing import Final

import attrs

from cascade.planning.node_durations import NodeDurations

# Names that are remembered; beyond that the oldest is forgotten.
_MOST_NAMES: Final = 4096
# Weight of one more attempt, once there have been several: what was long ago counts for less.
_NEWS: Final = 0.1


@attrs.define(eq=False)
class FlowDurations:
    """How long the nodes of flows have taken, by outline; what was not used for longest is forgotten first.

    Attributes:
        most_flows: Outlines that are remembered.
        most_nodes: Nodes of all of them together. One flow is always remembered, however large.
    """

    most_flows: int = 256
    most_nodes: int = 1_000_000
    _known: dict[bytes, NodeDurations] = attrs.field(factory=dict)
    _nodes: int = 0
    # Event loops in several threads may share it.
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def of(self, outline: bytes, size: int) -> NodeDurations:
        """Those of the flows with *outline*, which have *size* nodes; what is learnt of them goes there."""
        with self._lock:
            found = self._known.pop(outline, None)
            if found is None or len(found.seconds) != size:
                self._nodes += size - (0 if found is None else len(found.seconds))
                found = NodeDurations.none(outline, size)
            self._known[outline] = found
            while len(self._known) > 1 and (len(self._known) > self.most_flows or self._nodes > self.most_nodes):
                self._nodes -= len(self._known.pop(next(iter(self._known))).seconds)
            return found

    def forget(self) -> None:
        """Forget all."""
        with self._lock:
            self._known.clear()
            self._nodes = 0


# Of this process: a script runs its flow on a new engine each time.
OF_PROCESS: Final = FlowDurations()


@attrs.define(eq=False)
class Durations:
    """Mean seconds by task name, later attempts counting for more than earlier ones.

    Attributes:
        flows: How long the nodes of flows have taken. By default they are those of the process.
        means: What has been learnt.
    """

    flows: FlowDurations = OF_PROCESS
    means: dict[str, float] = attrs.field(factory=dict)
    _seen: dict[str, int] = attrs.field(factory=dict)

    def learn(self, task_name: str, seconds: float) -> None:
        """An attempt of a task has taken so long."""
        seen = self._seen[task_name] = self._seen.get(task_name, 0) + 1
        mean = self.means.get(task_name, 0.0)
        self.means[task_name] = mean + (seconds - mean) * max(1 / seen, _NEWS)
        if len(self.means) > _MOST_NAMES:
            oldest = next(iter(self.means))
            del self.means[oldest], self._seen[oldest]
