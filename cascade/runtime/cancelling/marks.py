"""Nodes that are cancelled while their run goes on.

To cancel a node is one synchronous step: it is marked, what runs below it (items of a map, a flow that it
returned) is cut off, and whoever runs it is told. From then on the mark decides what its ending counts as, in
whatever way the node comes to its end. The mark is dropped when the node settles.
"""

from __future__ import annotations

from enum import Enum

import attrs
from anyio import CancelScope

from cascade.model.errors import TaskCancelledError
from cascade.model.outcomes import RACE_LOST, Cancelled, Done, Failed, NodeOutcome, Skipped
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.admission.gate import Gate
from cascade.runtime.cancelling.live import LiveFrames, LiveNodes, is_below
from cascade.runtime.cancelling.scopes import NO_SCOPE, NodeScope
from cascade.runtime.frame.frame import Frame


class Cause(Enum):
    """Why a node is cancelled while its run goes on.

    ``ASKED``: somebody asked for it. ``LOST``: it has lost a race. ``GIVEN_UP``: it is a map that cannot succeed
    any more, and says itself how it ends.
    """

    ASKED = "asked"
    LOST = "lost"
    GIVEN_UP = "given up"


@attrs.define(eq=False)
class NodeCancellations:
    """The nodes of one run that are being cancelled. Changed on the event loop, read in any thread.

    Attributes:
        gate: Changes with each mark, so that lanes look before they begin another node.
        may_come: Whether anybody could ask for it; if not, nodes do without a scope of their own.
        live: The frames whose nodes run at present.
    """

    gate: Gate
    may_come: bool = False
    live: LiveFrames = attrs.field(factory=LiveFrames)
    # Nodes that have been cancelled and have not settled, by id.
    _marked: dict[str, Cause] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        """Whether any node is being cancelled."""
        return bool(self._marked)

    # -- who runs nodes --------------------------------------------------------------------------------------

    def enter(self, key: str, nodes: LiveNodes) -> None:
        """From now on, *nodes* runs those whose ids begin with *key*; in a loop, in place of the turn before."""
        self.live.enter(key, nodes)

    def leave(self, key: str) -> None:
        """The nodes whose ids begin with *key* have ended. Does nothing if that is known."""
        self.live.leave(key)
        if self._marked:
            self._drop({name for name in self._marked if name.startswith(key)})

    def scope(self) -> NodeScope:
        """A new scope for a task that runs nodes."""
        return CancelScope() if self.may_come else NO_SCOPE

    # -- cancelling ------------------------------------------------------------------------------------------

    def cancel(self, node_id: str, run_id: str) -> bool:
        """Cancel a node; returns ``False`` if it has ended.

        Raises:
            NodeNotFoundError: If there is no such node at present.
        """
        found = self.live.find(node_id, run_id)
        if found is None:
            return False
        nodes, index = found
        if nodes.frame.has_settled(index):
            return False
        self._mark(nodes, index, Cause.ASKED)
        return True

    def lose(self, nodes: LiveNodes, index: int) -> None:
        """A node has lost a race, and nobody else wants it; does nothing if it has ended."""
        if not nodes.frame.has_settled(index):
            self._mark(nodes, index, Cause.LOST)

    def give_up(self, map_id: str) -> None:
        """A map that runs cannot succeed any more: cancel its items."""
        found = self.live.find_live(map_id)
        assert found is not None  # its items run
        self._mark(*found, Cause.GIVEN_UP)

    def _mark(self, nodes: LiveNodes, index: int, cause: Cause) -> None:
        node_id = nodes.frame.name(index)
        if node_id in self._marked:
            return
        self._marked[node_id] = cause
        self.live.cut_off_below(node_id)
        self.gate.change()
        nodes.cancel(index)

    # -- what it means ---------------------------------------------------------------------------------------

    def is_marked(self, frame: Frame, index: int) -> bool:
        """Whether a node of *frame* is itself being cancelled."""
        return bool(self._marked) and frame.name(index) in self._marked

    def is_part(self, name: str) -> bool:
        """Whether *name*, a node or what the ids of a frame begin with, belongs to a node that is cancelled."""
        return any(is_below(name, marked) for marked in tuple(self._marked))

    def covers(self, node_id: str) -> bool:
        """Whether a node is being cancelled, itself or as part of another one."""
        return bool(self._marked) and (node_id in self._marked or self.is_part(node_id))

    def counted(self, node_id: str, outcome: NodeOutcome, *, has_begun: bool) -> NodeOutcome:
        """What *outcome*, to which the node has come, counts as; from now on, the node has settled.

        Args:
            node_id: The node.
            outcome: How it has ended.
            has_begun: Whether there was an attempt.
        """
        if node_id not in self._marked:
            is_part = isinstance(outcome, (Done, Cancelled)) and self.is_part(node_id)
            return Cancelled(self._reason(node_id)) if is_part else outcome
        why = self._marked[node_id]
        self._drop({node_id})
        cause = outcome.error if isinstance(outcome, Failed) else None
        if why is Cause.GIVEN_UP or (
            cause is not None and (why is Cause.LOST or not isinstance(cause, Exception))
        ):
            return outcome  # its own failure; or an interrupt, which is more than that
        if why is Cause.LOST:
            return Cancelled(RACE_LOST) if has_begun else Skipped(SkipReason.PRUNED)
        error = TaskCancelledError(node_id, on_request=True)
        error.__cause__ = cause
        return Failed(error)

    def _reason(self, name: str) -> str | None:
        """Why a node is cancelled that *name* is a part of."""
        has_lost = any(why is Cause.LOST for marked, why in self._marked.items() if is_below(name, marked))
        return RACE_LOST if has_lost else None

    def has_gone_on(self, node_id: str) -> None:
        """Another node has gone on from the value of this one, so it had ended before it was cancelled."""
        self._drop({node_id})

    def _drop(self, names: set[str]) -> None:
        if not names.isdisjoint(self._marked):
            for name in names:
                self._marked.pop(name, None)
            self.gate.change()  # lanes need not settle node by node any more
