"""Which maps of a frame follow which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from cascade.graph.nodes import MapNode
from cascade.model.outcomes import Status
from cascade.runtime.execution.binding import judge
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.chains.supply import Supply


@attrs.define(eq=False)
class Chains:
    """The maps of a frame that follow others item by item.

    A map that has begun counts, for each of its followers, as an input that has settled. When it settles, that is
    taken back first, as the frame then counts it for all its consumers.

    Attributes:
        frame: The frame.
        followers: Map to the maps that follow it.
        keeps_all: Whether the list of each map is wanted, as it is recorded.
        tell: There is news in the frame.
        supplies: The items of the maps that have begun and have followers.
    """

    frame: Frame
    followers: Mapping[int, Sequence[int]] = attrs.field(factory=dict)
    keeps_all: bool = False
    tell: Callable[[], None] = lambda: None
    supplies: dict[int, Supply] = attrs.field(factory=dict)
    # Follower to the maps that count for it, though they have not settled.
    _early: dict[int, set[int]] = attrs.field(factory=dict)
    # Follower that begins to the items that it takes.
    _taken: dict[int, dict[int, Supply]] = attrs.field(factory=dict)

    def begin(self, index: int, items: Frame, *, is_shown: bool, is_wanted: bool) -> Supply | None:
        """The map *index* has begun: its followers may begin, unless a record has what they gave.

        Args:
            index: The map.
            items: Its items.
            is_shown: Whether somebody is shown what it gave.
            is_wanted: Whether somebody outside the flow wants its list.

        Returns:
            The items as its followers see them; ``None`` if it has none.
        """
        frame = self.frame
        coming = [other for other in self.followers.get(index, ()) if not frame.has_settled(other)]
        if not coming:
            return None
        is_kept = self.keeps_all or is_wanted or frame.demand.uses[index] > len(coming)
        supply = self.supplies[index] = Supply(items, len(coming), is_kept, is_shown)
        for other in coming:
            if other not in frame.turn.recorded:
                self._early.setdefault(other, set()).add(index)
                frame.readiness.count_down(other)
        self.tell()
        return supply

    def may_begin(self, index: int) -> bool:
        """Whether a map may begin. One that will be skipped may not before those that it follows have settled.

        A map that begins takes the items of those that have begun, and have not settled at this moment.
        """
        early = self._early.get(index)
        if not early:
            return True
        node = self.frame.graph.node(index)
        assert isinstance(node, MapNode)
        try:
            is_skipped = judge(self.frame, node) is not None
        except Exception:  # a condition's truth is user code; it is asked again
            is_skipped = True
        if is_skipped:
            self.frame.readiness.pending[index] += len(early)
        else:
            self._taken[index] = {source: self.supplies[source] for source in early}
        del self._early[index]
        return not is_skipped

    def followed_by(self, index: int) -> dict[int, Supply]:
        """By map, the items that the map *index* takes, which has begun."""
        return self._taken.pop(index, {})

    def unwanted_above(self, index: int, is_lost: Callable[[int], bool]) -> list[int]:
        """The maps that a map follows which has lost a race, and that nobody else wants.

        Other nodes have settled when a consumer begins; of these, some items may still run.

        Args:
            index: The map that has lost.
            is_lost: Whether a node has lost as well.
        """
        frame, graph = self.frame, self.frame.graph
        above = [source for source in graph.sources[index] if source in self.followers]
        return [
            source
            for source in above
            if not frame.has_settled(source)
            and source not in graph.members
            and all(is_lost(consumer) or frame.has_settled(consumer) for consumer in graph.consumers[source])
        ]

    def settles(self, index: int) -> None:
        """The map *index* settles now: that counts for its followers, instead of its having begun."""
        for other in self.followers.get(index, ()):
            early = self._early.get(other)
            if early is not None and index in early:
                early.remove(index)
                self.frame.readiness.pending[other] += 1

    def has_settled(self, index: int) -> None:
        """The map *index* has settled: nothing comes any more."""
        supply = self.supplies.pop(index, None)
        if supply is not None:
            supply.end(has_succeeded=self.frame.status[index] == Status.SUCCEEDED)
