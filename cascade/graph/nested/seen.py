"""What has been looked through in a run, and is remembered as long as it is alive."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Large values without placeholders that are alive in a run.

    Alive is what somebody holds (:class:`Hold`). A container is known as long as it has the length that it had
    when it was looked through: whoever replaces something in it, or changes what lies deeper, is not noticed.
    """

    _entries: dict[int, _Entry] = attrs.field(factory=dict)
    # Threads hold what they have looked through, the loop lets go of it.
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
        """Somebody holds *value*, which has just been looked through."""
        with self._lock:
            entry = self._entries.setdefault(id(value), _Entry(value, 0, 0))
            entry.size = size_of(value)
            entry.holders += 1

    def drop(self, value: Any) -> None:
        """Somebody holds *value* no longer."""
        with self._lock:
            entry = self._entries[id(value)]
            entry.holders -= 1
            if not entry.holders:
                del self._entries[id(value)]


@attrs.define(eq=False)
class Hold:
    """The large values that a flow under way, or a node's result, keeps alive in a run.

    Attributes:
        seen: What is known in the run.
    """

    seen: Seen = attrs.field(factory=Seen)
    _values: list[Any] = attrs.field(factory=list)

    def add(self, values: Sequence[Any]) -> None:
        """Hold *values*, too."""
        for value in values:
            self.seen.add(value)
        self._values += values

    def __bool__(self) -> bool:
        return bool(self._values)

    def take(self, other: Hold) -> None:
        """Hold what *other* has held, which holds nothing any more."""
        self._values += other._values
        other._values = []

    def release(self) -> None:
        """Let go of all."""
        values, self._values = self._values, []
        for value in values:
            self.seen.drop(value)
