"""Remembers the large plain data of a run, as long as something in the run holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import attrs

from cascade.graph.nested.reach import size_of


@attrs.define(eq=False)
class _Entry:
    value: Any
    size: int
    holders: int


@attrs.define(eq=False)
class Seen:
    """The large values of a run that are known to have no placeholders inside.

    A value is known while at least one :class:`Hold` has it, and while its length is the one that it had when it
    was looked through. A replaced item, or a change deeper inside, is not noticed.
    """

    _entries: dict[int, _Entry] = attrs.field(factory=dict)
    # Threads add what they have looked through; the loop drops it.
    _lock: Lock = attrs.field(factory=Lock)

    def knows(self, value: Any) -> bool:
        """Whether *value*, as it is, has been looked through."""
        entry = self._entries.get(id(value))
        return entry is not None and entry.size == size_of(value)

    def unknown(self, values: list[Any]) -> list[Any]:
        """Those of *values* that have to be looked through."""
        if not self._entries or self._entries.keys().isdisjoint(map(id, values)):
            return values
        return [value for value in values if not self.knows(value)]

    def add(self, value: Any) -> None:
        """Count one more hold on *value*, which has just been looked through."""
        with self._lock:
            entry = self._entries.setdefault(id(value), _Entry(value, 0, 0))
            entry.size = size_of(value)
            entry.holders += 1

    def drop(self, value: Any) -> None:
        """Count one hold on *value* less, and forget it after the last."""
        with self._lock:
            entry = self._entries[id(value)]
            entry.holders -= 1
            if not entry.holders:
                del self._entries[id(value)]


@attrs.define(eq=False)
class Hold:
    """The large plain values inside the arguments of a flow, or inside the result of a node.

    Attributes:
        seen: The known values of the run.
    """

    seen: Seen = attrs.field(factory=Seen)
    _values: list[Any] = attrs.field(factory=list)
    _ends: list[Callable[[], None]] = attrs.field(factory=list)

    def at_release(self, end: Callable[[], None]) -> None:
        """Call *end* when everything is let go of."""
        self._ends.append(end)

    def add(self, values: Sequence[Any]) -> None:
        """Hold *values*, too; they have just been looked through."""
        for value in values:
            self.seen.add(value)
        self._values += values

    def __bool__(self) -> bool:
        return bool(self._values or self._ends)

    def take(self, other: Hold) -> None:
        """Take over everything that *other* holds."""
        self._values += other._values
        self._ends += other._ends
        other._values, other._ends = [], []

    def release(self) -> None:
        """Let go of everything."""
        values, self._values = self._values, []
        for value in values:
            self.seen.drop(value)
        ends, self._ends = self._ends, []
        for end in ends:
            end()


class Holds(dict[int, Hold]):
    """By node of a frame, the hold on its result; a node without large data in its result has none."""

    __slots__ = ()

    def keep(self, index: int, hold: Hold) -> None:
        """Make *hold* the one of the node, and release an earlier one; one that holds nothing is ignored."""
        if hold:
            self.forget(index)
            self[index] = hold

    def forget(self, index: int) -> None:
        """Release the hold of the node."""
        hold = self.pop(index, None)
        if hold is not None:
            hold.release()

    def hand_over(self, index: int, to: Hold) -> None:
        """Move the hold of the node to *to*."""
        hold = self.pop(index, None)
        if hold is not None:
            to.take(hold)

    def gather(self, index: int, items: Holds) -> None:
        """Move the holds of *items* to the node, which is their map."""
        for hold in items.values():
            self.setdefault(index, Hold(hold.seen)).take(hold)
        items.clear()

    def release(self) -> None:
        """Release all holds."""
        for hold in self.values():
            hold.release()
        self.clear()
