"""How far a run has come: whether anything may still start, and what happens when nothing may."""

from __future__ import annotations

import enum
from collections.abc import Callable

import anyio
import attrs

from cascade.runtime.admission.admission import Admission
from cascade.runtime.cancelling.marks import NodeCancellations


class DrainedError(Exception):
    """The run drains: what has not begun, or would begin again, is left. Stays in the engine."""


class Phase(enum.Enum):
    """Where a run is on its way."""

    RUNNING = enum.auto()
    # Nothing may start any more; what runs goes on, and counts.
    DRAINING = enum.auto()
    # Nothing may start any more, what runs is cancelled, and nothing that ends now counts.
    HALTED = enum.auto()


@attrs.define(eq=False)
class Lifecycle:
    """The phase of a run. It only goes forward.

    Attributes:
        run_id: The run.
        admission: Knows who waits to start.
        phase: Where the run is. Read in any thread.
        awaited: The signals for which it waits, if it was suspended.
        drained: Set when draining begins, and stays so if the run is halted after that.
        on_halt: Called once, when the run is halted.
        on_drain: Called once, when draining begins.
        cancel: Cancels what runs; called each time the run is halted.
        nodes: The nodes that are cancelled while the run goes on.
    """

    run_id: str
    admission: Admission
    phase: Phase = Phase.RUNNING
    awaited: tuple[str, ...] = ()
    drained: anyio.Event = attrs.field(factory=anyio.Event)
    on_halt: Callable[[], None] = lambda: None
    on_drain: Callable[[], None] = lambda: None
    cancel: Callable[[], None] = lambda: None
    nodes: NodeCancellations = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.nodes = NodeCancellations(self.admission.gate)

    @property
    def is_halted(self) -> bool:
        """Whether nothing may start, and nothing that ends counts."""
        return self.phase is Phase.HALTED

    @property
    def is_draining(self) -> bool:
        """Whether the run has been asked to drain, also if it was halted since."""
        return self.drained.is_set()

    @property
    def is_closing(self) -> bool:
        """Whether nothing may start any more."""
        return self.phase is not Phase.RUNNING

    def is_over_for(self, node_id: str) -> bool:
        """Whether a node that runs is to end: the run is halted, or the node is cancelled. Asked in any thread."""
        return self.phase is Phase.HALTED or self.nodes.covers(node_id)

    def drain(self) -> None:
        """Let nothing start any more, and what runs go on. A second call does nothing."""
        if self.phase is not Phase.RUNNING:
            return
        self.phase = Phase.DRAINING
        self.admission.gate.close(self.admission.holdings)
        self.admission.turn_away(self.run_id, DrainedError())
        self.drained.set()
        self.on_drain()

    def suspend(self, signals: tuple[str, ...]) -> None:
        """Drain the run, as it can go on only by *signals*."""
        if self.phase is Phase.RUNNING:
            self.awaited = signals
            self.drain()

    def halt(self) -> None:
        """Let nothing start any more, and cancel what runs."""
        if self.phase is not Phase.HALTED:
            self.phase = Phase.HALTED
            self.admission.gate.change()
            self.on_halt()
        self.cancel()
