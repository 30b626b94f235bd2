"""Nodes that are cancelled while their run goes on.

To cancel a node is one synchronous step: it is marked, what runs below it (items of a map, a flow that it
returned) is cut off, and whoever runs it is told. From then on the mark decides what its ending counts as, in
whatever way the node comes to its end. The mark is dropped when the node settles.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Protocol

import attrs
from anyio import CancelScope

from cascade.model.errors import NodeNotFoundError, TaskCancelledError
from cascade.model.outcomes import RACE_LOST, Cancelled, Done, Failed, NodeOutcome, Skipped
from cascade.model.skip_reasons import SkipReason
from cascade.runtime.admission.gate import Gate
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


class LiveNodes(Protocol):
    """Whoever runs the nodes of one frame."""

    @property
    def frame(self) -> Frame:
        """The frame, to look at."""
        ...

    def cancel(self, index: int) -> None:
        """The node has been marked: settle it if it has not begun, else cancel what it runs in."""
        ...

    def cut_off(self) -> None:
        """A node that the frame belongs to has been marked: start nothing more."""
        ...

    def let_go(self) -> None:
        """Others run these nodes now, or they have ended: nobody will ask for the frame any more."""
        ...


@attrs.define(eq=False)
class NodeCancellations:
    """The nodes of one run that are being cancelled. Changed on the event loop, read in any thread.

    Attributes:
        gate: Changes with each mark, so that lanes look before they begin another node.
        may_come: Whether anybody could ask for it; if not, nodes do without a scope of their own.
        live: Who runs nodes at present, by what their ids begin with.
    """

    gate: Gate
    may_come: bool = False
    live: dict[str, LiveNodes] = attrs.field(factory=dict)
    # Nodes that have been cancelled and have not settled, by id.
    _marked: dict[str, Cause] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        """Whether any node is being cancelled."""
        return bool(self._marked)

    # -- who runs nodes --------------------------------------------------------------------------------------

    def enter(self, key: str, nodes: LiveNodes) -> None:
        """From now on, *nodes* runs those whose ids begin with *key*; in a loop, in place of the turn before."""
        before, self.live[key] = self.live.get(key), nodes
        if before is not None:
            before.let_go()

    def leave(self, key: str) -> None:
        """The nodes whose ids begin with *key* have ended. Does nothing if that is known."""
        nodes = self.live.pop(key, None)
        if nodes is not None:
            nodes.let_go()
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
        found = self._find(node_id, run_id)
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
        found = self._live_node(map_id)
        assert found is not None  # its items run
        self._mark(*found, Cause.GIVEN_UP)

    def _mark(self, nodes: LiveNodes, index: int, cause: Cause) -> None:
        node_id = nodes.frame.name(index)
        if node_id in self._marked:
            return
        self._marked[node_id] = cause
        for key, below in tuple(self.live.items()):
            if _is_below(key, node_id):
                below.cut_off()
        self.gate.change()
        nodes.cancel(index)

    def _find(self, node_id: str, run_id: str) -> tuple[LiveNodes, int] | None:
        """Who runs a node, and its number there; ``None`` if what it was part of has ended."""
        found = self._live_node(node_id)
        if found is not None:
            return found
        for owner in _owners(node_id):
            found = self._live_node(owner)
            if found is not None and found[0].frame.has_settled(found[1]):
                return None
            if found is not None:
                raise NodeNotFoundError(run_id, node_id, within=owner)
        raise NodeNotFoundError(run_id, node_id)

    def _live_node(self, node_id: str) -> tuple[LiveNodes, int] | None:
        for key in _keys_for(node_id):
            nodes = self.live.get(key)
            index = None if nodes is None else nodes.frame.find(node_id)
            if nodes is not None and index is not None:
                return nodes, index
        return None

    # -- what it means ---------------------------------------------------------------------------------------

    def is_marked(self, frame: Frame, index: int) -> bool:
        """Whether a node of *frame* is itself being cancelled."""
        return bool(self._marked) and frame.name(index) in self._marked

    def is_part(self, name: str) -> bool:
        """Whether *name*, a node or what the ids of a frame begin with, belongs to a node that is cancelled."""
        return any(_is_below(name, marked) for marked in tuple(self._marked))

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
        has_lost = any(why is Cause.LOST for marked, why in self._marked.items() if _is_below(name, marked))
        return RACE_LOST if has_lost else None

    def has_gone_on(self, node_id: str) -> None:
        """Another node has gone on from the value of this one, so it had ended before it was cancelled."""
        self._drop({node_id})

    def _drop(self, names: set[str]) -> None:
        if not names.isdisjoint(self._marked):
            for name in names:
                self._marked.pop(name, None)
            self.gate.change()  # lanes need not settle node by node any more


def key_of(frame: Frame) -> str:
    """What the ids of the nodes of *frame* begin with, up to the last sign that is no part of a name."""
    return f"{frame.prefix}[" if frame.is_map else frame.prefix


def _is_below(name: str, node_id: str) -> bool:
    """Whether *name* begins with *node_id* and goes on with an item of it, or a flow that it returned."""
    return name.startswith(node_id) and name[len(node_id) : len(node_id) + 1] in ("[", "/") and name != node_id


def _keys_for(node_id: str) -> Iterator[str]:
    """What the id of a node may begin with, the longest first; names may have any signs in them."""
    for place in range(len(node_id), 0, -1):
        if node_id[place - 1] in "[/":
            yield node_id[:place]
    yield ""


def _owners(node_id: str) -> Iterator[str]:
    """The nodes that a node of this id may be part of, the innermost first."""
    for place in range(len(node_id) - 1, 0, -1):
        if node_id[place] in "[/":
            yield node_id[:place]
