"""Which maps of a frame follow which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import attrs

from cascade.graph.nodes import MapNode, OutcomeNode
from cascade.graph.slots import distinct
from cascade.model.outcomes import Status
from cascade.planning.chained_maps import map_in
from cascade.runtime.execution.binding import judge
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.chains.supply import Feed, Supply


@attrs.define(eq=False)
class Chains:
    """The maps of a frame that follow others item by item.

    A map that has begun counts, for each of its followers, as an input that has settled. When it settles, that is
    taken back first, as the frame then counts it for all its consumers.

    Attributes:
        frame: The frame.
        followers: The maps that follow, by the column that they follow: a map, or how its items end.
        keeps_all: Whether the list of each map is wanted, as it is recorded.
        tell: There is news in the frame.
        supplies: The items of the maps that have begun and have followers.
    """

    frame: Frame
    followers: Mapping[int, Sequence[int]] = attrs.field(factory=dict)
    keeps_all: bool = False
    tell: Callable[[], None] = lambda: None
    supplies: dict[int, Supply] = attrs.field(factory=dict)
    # Map to the columns that are its items, or how they end.
    _columns: dict[int, list[int]] = attrs.field(init=False)
    # Follower to the columns that count for it, though they have not settled.
    _early: dict[int, set[int]] = attrs.field(factory=dict)
    # Follower that begins to the columns that it takes.
    _taken: dict[int, dict[int, Feed]] = attrs.field(factory=dict)

    @_columns.default
    def _by_map(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for column in self.followers:
            found.setdefault(self._map_in(column), []).append(column)
        return found

    def _map_in(self, column: int) -> int:
        return cast("int", map_in(self.frame.graph, column))

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
        coming = [(column, other) for column, other in self._followers_of(index) if not frame.has_settled(other)]
        if not coming:
            return None
        node = frame.graph.node(index)
        assert isinstance(node, MapNode)
        collect, counted = node.terms.errors, Counter(column for column, _ in coming)
        hands_over = collect is not None and bool(collect.min_success)  # all values, if too many items fail
        is_kept = self.keeps_all or is_wanted or hands_over or self._is_wanted_whole(index, counted)
        supply = self.supplies[index] = Supply(items, len(coming), collect, is_kept, is_shown)
        for column, other in coming:
            if other not in frame.turn.recorded:
                self._early.setdefault(other, set()).add(column)
                frame.readiness.count_down(other)
        self.tell()
        return supply

    def _followers_of(self, index: int) -> Iterator[tuple[int, int]]:
        """What follows the map *index*: by which column, and who."""
        for column in self._columns.get(index, ()):
            for other in self.followers[column]:
                yield column, other

    def _is_wanted_whole(self, index: int, coming: Mapping[int, int]) -> bool:
        """Whether somebody wants the map *index* who does not follow it; *coming* is how many do, by column."""
        uses = self.frame.demand.uses
        alone = sum(count if column == index else uses[column] == count for column, count in coming.items())
        return uses[index] > alone

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
            self._taken[index] = {column: self._feed(column) for column in early}
        del self._early[index]
        return not is_skipped

    def _feed(self, column: int) -> Feed:
        source = self._map_in(column)
        return Feed(self.supplies[source], column, column != source)

    def followed_by(self, index: int) -> dict[int, Feed]:
        """By node, the columns that the map *index* takes item by item, which has begun."""
        return self._taken.pop(index, {})

    def unwanted_above(self, index: int, is_lost: Callable[[int], bool]) -> list[int]:
        """The maps that a map follows which has lost a race, and that nobody else wants.

        Other nodes have settled when a consumer begins; of these, some items may still run.

        Args:
            index: The map that has lost.
            is_lost: Whether a node has lost as well.
        """
        frame, graph = self.frame, self.frame.graph

        def is_over(node: int) -> bool:
            return is_lost(node) or frame.has_settled(node)

        def wants_nothing(consumer: int) -> bool:
            row = graph.rows[consumer]
            is_column = isinstance(row, OutcomeNode) and row.by_item  # then maps are all that wants it
            return is_over(consumer) or (is_column and all(map(is_over, graph.consumers[consumer])))

        above = distinct([self._map_in(source) for source in graph.sources[index] if source in self.followers])
        return [
            source
            for source in above
            if not frame.has_settled(source)
            and source not in graph.members
            and all(map(wants_nothing, graph.consumers[source]))
        ]

    def settles(self, index: int) -> None:
        """The map *index* settles now: that counts for its followers, instead of its having begun."""
        for column, other in self._followers_of(index):
            early = self._early.get(other)
            if early is not None and column in early:
                early.remove(column)
                self.frame.readiness.pending[other] += 1

    def has_settled(self, index: int) -> None:
        """The map *index* has settled: nothing comes any more."""
        supply, status = self.supplies.pop(index, None), self.frame.status
        if supply is not None:
            supply.end(lambda column: status[column] == Status.SUCCEEDED)
