"""What all who run the nodes of one frame share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from anyio.abc import TaskGroup

from cascade.graph.nodes import Node
from cascade.runtime.admission.pool import Amount
from cascade.runtime.cancelling.scopes import NodeScopes
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.binding import Arguments, amounts, arguments_of
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.chains.chains import Chains
from cascade.runtime.scheduling.chains.pace import Pace
from cascade.runtime.scheduling.conditions import Conditions
from cascade.runtime.scheduling.keeping import Keeping
from cascade.runtime.scheduling.returned_values import ReturnedValues
from cascade.runtime.scheduling.settler import Settler
from cascade.runtime.scheduling.signal_waits import SignalWaits


class Calls(Protocol):
    """What the nodes of a frame are called with."""

    def bind(self, index: int, resources: Mapping[str, Any], /) -> Arguments:
        """The arguments of a node, with these resources open. Called in any thread."""
        ...

    def claimed(self, node: Node, /) -> Mapping[str, Amount]:
        """What a node claims."""
        ...


@attrs.frozen(eq=False)
class NodeCalls:
    """Calls whose arguments come from the slots of a frame."""

    frame: Frame

    def bind(self, index: int, resources: Mapping[str, Any]) -> Arguments:
        """The arguments of a node, with these resources open."""
        return arguments_of(self.frame, index, resources)

    def claimed(self, node: Node) -> Mapping[str, Amount]:
        """What a node claims."""
        return amounts(self.frame, node)


@attrs.define(eq=False)
class FrameContext:
    """One frame, on its way through the schedule.

    Attributes:
        run_context: The run.
        frame: What is run.
        calls: What its nodes are called with.
        conditions: Whether lanes may be used.
        settler: Settles nodes.
        returned: What becomes of returned values.
        chains: Which maps among its nodes follow which item by item.
        pace: What limits the starts of its nodes, beside admission.
        scopes: What cancels nodes that wait.
        keeping: Which values may stay on the cluster.
        waits: The nodes that wait for signals; ``None`` if there are none, and nobody asks.
        group: Where tasks are started at present.
    """

    run_context: RunContext
    frame: Frame
    calls: Calls
    conditions: Conditions
    settler: Settler
    returned: ReturnedValues
    chains: Chains
    pace: Pace
    scopes: NodeScopes
    keeping: Keeping
    waits: SignalWaits | None = None
    group: TaskGroup = attrs.field(init=False)

    def traced(self) -> Callable[[int], Callable[..., Any]] | None:
        """What gives, for the only attempt of a node, what to call in place of its function; ``None`` if nobody
        traces.
        """
        return None if self.run_context.events.tracing is None else self._around

    def _around(self, index: int) -> Callable[..., Any]:
        frame, tracing = self.frame, self.run_context.events.tracing
        assert tracing is not None
        task = frame.graph.task(index)
        return tracing.around(task.func, task, frame.name(index), frame.turn.number, frame.label(index))

    @property
    def awaits_signals(self) -> bool:
        """Whether nodes wait for signals, and the run goes on."""
        return self.waits is not None and self.waits.is_waiting

    def is_open(self, *, is_eager: bool) -> bool:
        """Whether more nodes may become ready although none is under way; *is_eager*: also between stages."""
        return self.pace.is_open or (is_eager and self.awaits_signals)
