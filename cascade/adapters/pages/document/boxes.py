"""How the boxes of a graph are painted: what has become of the nodes that each stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from cascade.adapters.observers.tally import TaskTally
from cascade.adapters.pages.document.known_flow import KnownFlow
from cascade.graph.pictures.layered import laid_out
from cascade.graph.pictures.sketch import MOST_BOXES, Sketch
from cascade.graph.pictures.states import State, state_of
from cascade.graph.pictures.svg import as_svg
from cascade.model.shown.text import one_line


@attrs.define(eq=False)
class Boxes:
    """What has become of the nodes of a flow, by box.

    Attributes:
        flow: The flow; ``None`` if it is not known.
    """

    flow: KnownFlow | None = None
    _by_node: dict[str, dict[str, int]] = attrs.field(factory=dict)
    _has_slashes: bool = False
    _sketch: Sketch | None = None

    def know(self, flow: KnownFlow) -> None:
        """Paint *flow* from now on."""
        self.flow, self._sketch, self._by_node = flow, None, {}
        self._has_slashes = any("/" in name for name in flow.task_names)
        if len(flow.sources) <= MOST_BOXES:
            self._by_node = {flow.name(index): {} for index in range(len(flow.sources))}

    def count(self, node_id: str, status: str, number: int) -> None:
        """Count *number* more nodes, or fewer, that are in *status*; those of a returned flow do not count."""
        if not self._by_node:
            return
        counts = self._by_node.get(node_id)
        if counts is None and node_id.endswith("]"):  # an item
            counts = self._by_node.get(node_id.rpartition("[")[0])
        if counts is not None:
            counts[status] = counts.get(status, 0) + number

    def mark(self, map_id: str, status: str) -> None:
        """A map has ended in *status*, which may be that of an item of it, and counts as that then."""
        counts = self._by_node.get(map_id)
        if counts is not None:
            counts[status] = max(counts.get(status, 0), 1)

    def may_have(self, node_id: str) -> bool:
        """Whether a node may be one of the graph: no item, and not of a flow that another node has returned."""
        return not node_id.endswith("]") and ("/" not in node_id or self._has_slashes)

    def sketch(self) -> Sketch | None:
        """What the picture shows; ``None`` if the flow is not known."""
        if self._sketch is None and self.flow is not None:
            self._sketch = self.flow.sketch()
        return self._sketch

    def states(self, tasks: Mapping[str, TaskTally]) -> dict[str, State]:
        """What the picture says of each box.

        Args:
            tasks: The numbers of each task, for boxes that stand for tasks.
        """
        sketch = self.sketch()
        if sketch is None:
            return {}
        if sketch.is_grouped:
            # The key of such a box is the name of its task; the box of all other tasks has none.
            groups = {vertex.key: tasks.get(vertex.key) for vertex in sketch.vertices if vertex.kind == "group"}
            return {key: state_of(_counts(task)) for key, task in groups.items() if task is not None}
        return {node_id: state_of(counts) for node_id, counts in self._by_node.items() if counts}

    def shown(self, tasks: Mapping[str, TaskTally]) -> dict[str, Any]:
        """The boxes, for a page that has the picture."""
        states = self.states(tasks)
        # As the picture has the keys.
        boxes = {one_line(key): {"status": state.status, "text": state.text} for key, state in states.items()}
        return {"boxes": boxes, "is_grouped": self._sketch is not None and self._sketch.is_grouped}

    def svg(self, tasks: Mapping[str, TaskTally], *, has_style: bool = False) -> str:
        """The picture; empty if the flow is not known."""
        sketch = self.sketch()
        if sketch is None:
            return ""
        return as_svg(laid_out(sketch), self.states(tasks), has_style=has_style)


def _counts(task: TaskTally) -> dict[str, int]:
    counts = task.counts
    return {
        "running": counts["running"],
        "waiting": counts["waiting"],
        "failed": counts["failed"],
        "handled": counts["handled"],
        "cancelled": counts["cancelled"],
        "skipped": counts["skipped"],
        "succeeded": counts["succeeded"] + counts["cached"] + counts["recorded"],
    }
