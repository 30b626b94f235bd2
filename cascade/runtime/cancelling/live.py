"""Who runs the nodes of a run at present, found by the ids of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import attrs

from cascade.model.errors import NodeNotFoundError
from cascade.runtime.frame.frame import Frame


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
class LiveFrames:
    """The frames of one run whose nodes run at present. Changed on the event loop."""

    # Who runs nodes, by what their ids begin with.
    _by_key: dict[str, LiveNodes] = attrs.field(factory=dict)

    def enter(self, key: str, nodes: LiveNodes) -> None:
        """From now on, *nodes* runs those whose ids begin with *key*; in a loop, in place of the turn before."""
        before, self._by_key[key] = self._by_key.get(key), nodes
        if before is not None:
            before.let_go()

    def leave(self, key: str) -> None:
        """The nodes whose ids begin with *key* have ended. Does nothing if that is known."""
        nodes = self._by_key.pop(key, None)
        if nodes is not None:
            nodes.let_go()

    def cut_off_below(self, node_id: str) -> None:
        """Start nothing more of what is part of a node."""
        for below in self.below(node_id):
            below.cut_off()

    def below(self, node_id: str) -> list[LiveNodes]:
        """Who runs what is part of a node: its items, and flows that these or itself have returned."""
        return [nodes for key, nodes in self._by_key.items() if is_below(key, node_id)]

    def find(self, node_id: str, run_id: str) -> tuple[LiveNodes, int] | None:
        """Who runs a node, and its number there; ``None`` if what it was part of has ended.

        Raises:
            NodeNotFoundError: If there is no such node at present.
        """
        found = self.find_live(node_id)
        if found is not None:
            return found
        for owner in _owners(node_id):
            found = self.find_live(owner)
            if found is not None and found[0].frame.has_settled(found[1]):
                return None
            if found is not None:
                raise NodeNotFoundError(run_id, node_id, within=owner)
        raise NodeNotFoundError(run_id, node_id)

    def find_live(self, node_id: str) -> tuple[LiveNodes, int] | None:
        """Who runs a node, and its number there; ``None`` if it is not there at present."""
        for key in _keys_for(node_id):
            nodes = self._by_key.get(key)
            index = None if nodes is None else nodes.frame.find(node_id)
            if nodes is not None and index is not None:
                return nodes, index
        return None


def key_of(frame: Frame) -> str:
    """What the ids of the nodes of *frame* begin with, up to the last sign that is no part of a name."""
    return f"{frame.prefix}[" if frame.is_map else frame.prefix


def is_below(name: str, node_id: str) -> bool:
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
