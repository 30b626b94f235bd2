"""The items of a map on their way to the maps that follow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from cascade.model.outcomes import Status
from cascade.model.shown.text import preview
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
        expected: How many maps are going to follow, if nothing keeps them from it.
        is_kept: Whether somebody wants the whole list. If not, a value is let go of after its last follower.
        is_shown: Whether somebody is told of the list, in a preview.
        followers: Those that have begun.
        has_ended: Whether the map has settled, so that nothing comes any more.
        has_succeeded: Whether it has succeeded then.
    """

    frame: Frame
    expected: int
    is_kept: bool
    is_shown: bool
    followers: list[Intake] = attrs.field(factory=list)
    has_ended: bool = False
    has_succeeded: bool = False
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
        frame = self.frame
        if frame.gaps.exist:
            items = [item for item in items if frame.status[item] == Status.SUCCEEDED]
        for follower in self.followers:
            follower.take(items)
        if not self.is_kept:
            self._drop([item for item in items if not self._left[item]])  # whoever needed them has left

    def leave(self, follower: Intake) -> None:
        """A follower has ended, it may be before all items have come."""
        if follower not in self.followers:
            return
        self.followers.remove(follower)
        self.let_go([item for item, status in enumerate(follower.frame.status) if status <= Status.RUNNING])
        self.relieve()

    def let_go(self, items: Sequence[int]) -> None:
        """A follower has done with the values of *items*."""
        if self.is_kept:
            return
        left, status = self._left, self.frame.status
        for item in items:
            left[item] -= 1
        self._drop([item for item in items if not left[item] and status[item] == Status.SUCCEEDED])

    def _drop(self, items: Sequence[int]) -> None:
        demand = self.frame.demand
        for item in items:
            shown = _LetGo(preview(demand.values[item])) if self.is_shown and item < _SHOWN else None
            demand.let_go((item,))
            demand.values[item] = shown

    def end(self, *, has_succeeded: bool) -> None:
        """The map has settled."""
        self.has_ended, self.has_succeeded = True, has_succeeded
        for follower in self.followers:
            follower.wake()

    # -- not too far ahead ---------------------------------------------------------------------------------

    def has_room(self, wake: Callable[[], None]) -> bool:
        """Whether another item may start; if not, *wake* is called when that may have changed."""
        if self.is_kept:
            return True
        for follower in self.followers:
            if follower.waiting() >= MOST_AHEAD:
                self._wake, self._is_held = wake, True
                return False
        return True

    def relieve(self) -> None:
        """A follower has begun items."""
        if self._is_held and all(follower.waiting() < MOST_AHEAD for follower in self.followers):
            self._is_held = False
            self._wake()


@attrs.define(eq=False)
class Intake:
    """What a map takes, item by item, from the maps that it follows.

    Attributes:
        frame: Its own items.
        supplies: The items of those maps.
        wake: Has items started that have become ready.
        waiting: How many items are ready and have not begun.
    """

    frame: Frame
    supplies: Sequence[Supply]
    wake: Callable[[], None] = lambda: None
    waiting: Callable[[], int] = lambda: 0

    @property
    def is_open(self) -> bool:
        """Whether items may still come."""
        return not all(supply.has_ended for supply in self.supplies)

    @property
    def is_whole(self) -> bool:
        """Whether all maps that it takes from have succeeded."""
        return all(supply.has_succeeded for supply in self.supplies)

    def begin(self) -> None:
        """Take what is there already, and whatever comes from now on."""
        for supply in self.supplies:
            supply.followers.append(self)
        pending = self.frame.readiness.pending
        if any(Status.SUCCEEDED in supply.frame.status for supply in self.supplies):
            self.frame.readiness.news.ready.extend(item for item, count in enumerate(pending) if not count)

    def take(self, items: Sequence[int]) -> None:
        """The values of *items* are there, in one of the maps."""
        readiness = self.frame.readiness
        pending, ready = readiness.pending, readiness.news.ready
        for item in items:
            pending[item] -= 1
            if not pending[item]:
                ready.append(item)
        self.wake()

    def let_go(self, items: Sequence[int]) -> None:
        """*items* have settled: they need the values of their rows no longer."""
        for supply in self.supplies:
            supply.let_go(items)

    def leave(self) -> None:
        """Its items run no more."""
        for supply in self.supplies:
            supply.leave(self)

    def relieve(self) -> None:
        """Items have begun, so the maps above may go on."""
        for supply in self.supplies:
            supply.relieve()


def still_to_come(supplies: Sequence[Supply]) -> list[int] | bytearray:
    """By item, how many of *supplies* do not have its value yet."""
    missing = [supply.frame.status.translate(_IS_MISSING) for supply in supplies]
    if len(missing) == 1:
        return missing[0]
    kind = bytearray if len(missing) < _BYTES else list
    return kind(map(sum, zip(*missing, strict=True)))


_IS_MISSING: Final = bytes(status != Status.SUCCEEDED for status in range(256))
