"""The items of a map on their way to the maps that follow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from cascade.model.outcomes import Failed, Status
from cascade.model.policies import Collect
from cascade.model.shown.text import preview
from cascade.runtime.frame.endings import ItemOutcomes
from cascade.runtime.frame.frame import Frame

# Items that may start in a follower and have not begun; beyond that no item starts of the map that it follows.
# As many items are given to a lane at a time, so that it stops soon.
MOST_AHEAD: Final = 256
# Numbers below that fit into a byte.
_BYTES: Final = 256
# Items that the preview of a list can show at most; each takes three characters or more.
_SHOWN: Final = 40


@attrs.frozen(eq=False)
class _LetGo:
    """Stands for a value that was let go of, in the preview of the list that it was in."""

    text: str

    def __repr__(self) -> str:
        return self.text


@attrs.define(eq=False)
class Supply:
    """The items of a map that has begun, as its followers see them.

    Attributes:
        frame: The items.
        expected: How many columns of maps are going to follow, if nothing keeps these from it.
        collect: What the map says of failures that are values; ``None`` if it fails with them.
        is_kept: Whether somebody wants the whole list. If not, a value is let go of after its last follower.
        is_shown: Whether somebody is told of the list, in a preview.
        feeds: The columns of maps that have begun.
        has_ended: Whether the map has settled, so that nothing comes any more.
        gives: Says whether a column has all items.
    """

    frame: Frame
    expected: int
    collect: Collect | None
    is_kept: bool
    is_shown: bool
    feeds: list[Feed] = attrs.field(factory=list)
    has_ended: bool = False
    gives: Callable[[int], bool] = lambda _: False
    _wake: Callable[[], None] = lambda: None
    _is_held: bool = False
    # By item, how many followers still need its value.
    _left: list[int] | bytearray = attrs.field(init=False)

    @_left.default
    def _all_left(self) -> list[int] | bytearray:
        size = 0 if self.is_kept else len(self.frame.values)
        return bytearray([self.expected]) * size if self.expected < _BYTES else [self.expected] * size

    def value(self) -> list[Any]:
        """The value of the map, now that all items have settled. Its followers may still read what is in it."""
        return list(self.frame.values) if self.is_kept else self.frame.values

    def deliver(self, items: Sequence[int]) -> None:
        """Tell the followers of *items* that have settled."""
        ended = items  # all that gives something to some follower
        if self.frame.gaps.exist:
            status = self.frame.status
            ended = [item for item in items if status[item] in (Status.SUCCEEDED, Status.FAILED)]
            items = [item for item in ended if status[item] == Status.SUCCEEDED]
        for feed in self.feeds:
            feed.intake.take(ended if len(ended) > len(items) and feed.takes_failures else items)
        if not self.is_kept:
            self._drop([item for item in ended if not self._left[item]])  # whoever needed them has left

    def leave(self, feed: Feed) -> None:
        """A follower has ended, it may be before all items have come."""
        if feed not in self.feeds:
            return
        self.feeds.remove(feed)
        self.let_go([item for item, status in enumerate(feed.intake.frame.status) if status <= Status.RUNNING])
        self.relieve()

    def let_go(self, items: Sequence[int]) -> None:
        """A follower has done with the values of *items*."""
        if self.is_kept:
            return
        left, status = self._left, self.frame.status
        for item in items:
            left[item] -= 1
        self._drop([item for item in items if not left[item] and status[item] > Status.RUNNING])

    def _drop(self, items: Sequence[int]) -> None:
        demand = self.frame.demand
        if self.frame.gaps.errors:
            self._drop_errors(items)
        for item in items:
            shown = _LetGo(preview(demand.values[item])) if self.is_shown and item < _SHOWN else None
            demand.let_go((item,))
            demand.values[item] = shown

    def _drop_errors(self, items: Sequence[int]) -> None:
        """Let go of errors, which hold what they were raised in, but for the one that the map may end with."""
        errors, beside = self.frame.gaps.errors, self.frame.gaps.beside
        first = next(iter(errors))
        for item in items:
            if item in errors and item != first:
                errors[item] = _NO_ERROR
                beside.pop(item, None)

    def end(self, gives: Callable[[int], bool]) -> None:
        """The map has settled, and *gives* says of which columns of its followers it has all items."""
        self.has_ended, self.gives = True, gives
        for feed in self.feeds:
            feed.intake.wake()

    # -- not too far ahead ---------------------------------------------------------------------------------

    def has_room(self, wake: Callable[[], None]) -> bool:
        """Whether another item may start; if not, *wake* is called when that may have changed."""
        if self.is_kept:
            return True
        for feed in self.feeds:
            if feed.intake.waiting() >= MOST_AHEAD:
                self._wake, self._is_held = wake, True
                return False
        return True

    def relieve(self) -> None:
        """A follower has begun items."""
        if self._is_held and all(feed.intake.waiting() < MOST_AHEAD for feed in self.feeds):
            self._is_held = False
            self._wake()


@attrs.define(eq=False)
class Feed:
    """A column of a map, which is the items of another one, or how these end.

    Attributes:
        supply: The items.
        column: The node that the column is.
        is_of_outcomes: Whether it is how they end.
        intake: Who takes it.
    """

    supply: Supply
    column: int
    is_of_outcomes: bool
    intake: Intake = attrs.field(init=False)

    @property
    def takes_failures(self) -> bool:
        """Whether a failed item gives something too."""
        return self.is_of_outcomes or self.supply.collect is not None

    def values(self) -> Sequence[Any]:
        """The column, as far as it has come."""
        frame = self.supply.frame
        if self.is_of_outcomes:
            collecting = None if self.supply.collect is None else frame.prefix
            return ItemOutcomes(frame.values, frame.gaps.errors, collecting)
        return frame.values

    def missing(self) -> bytearray:
        """1 for each item that has not come yet, and 0 for the others."""
        return self.supply.frame.status.translate(_NOT_ENDED if self.takes_failures else _NOT_SUCCEEDED)


@attrs.define(eq=False)
class Intake:
    """What a map takes, item by item, from the maps that it follows.

    Attributes:
        frame: Its own items.
        feeds: Its columns that come item by item.
        wake: Has items started that have become ready.
        waiting: How many items are ready and have not begun.
    """

    frame: Frame
    feeds: Sequence[Feed]
    wake: Callable[[], None] = lambda: None
    waiting: Callable[[], int] = lambda: 0

    @property
    def is_open(self) -> bool:
        """Whether items may still come."""
        return not all(feed.supply.has_ended for feed in self.feeds)

    @property
    def is_whole(self) -> bool:
        """Whether all columns have come."""
        return all(feed.supply.gives(feed.column) for feed in self.feeds)

    def begin(self) -> None:
        """Take what is there already, and whatever comes from now on."""
        for feed in self.feeds:
            feed.intake = self
            feed.supply.feeds.append(feed)
        pending = self.frame.readiness.pending
        if 0 in pending:
            self.frame.readiness.news.ready.extend(item for item, count in enumerate(pending) if not count)

    def take(self, items: Sequence[int]) -> None:
        """*items* have come, in one of the columns."""
        readiness = self.frame.readiness
        pending, ready = readiness.pending, readiness.news.ready
        for item in items:
            pending[item] -= 1
            if not pending[item]:
                ready.append(item)
        self.wake()

    def let_go(self, items: Sequence[int]) -> None:
        """*items* have settled: they need the values of their rows no longer."""
        for feed in self.feeds:
            feed.supply.let_go(items)

    def leave(self) -> None:
        """Its items run no more."""
        for feed in self.feeds:
            feed.supply.leave(feed)

    def relieve(self) -> None:
        """Items have begun, so the maps above may go on."""
        for feed in self.feeds:
            feed.supply.relieve()


def still_to_come(feeds: Sequence[Feed]) -> list[int] | bytearray:
    """By item, how many of *feeds* do not have it yet."""
    missing = [feed.missing() for feed in feeds]
    if len(missing) == 1:
        return missing[0]
    kind = bytearray if len(missing) < _BYTES else list
    return kind(map(sum, zip(*missing, strict=True)))


_NOT_SUCCEEDED: Final = bytes(status != Status.SUCCEEDED for status in range(256))
_NOT_ENDED: Final = bytes(status not in (Status.SUCCEEDED, Status.FAILED) for status in range(256))
# In the place of an error that was let go of.
_NO_ERROR: Final = Failed(LookupError("let go of"))
