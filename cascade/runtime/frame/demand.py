"""Whose value is still needed: values leave a frame after their last consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import attrs

from cascade.graph.nested import PAUSE_EVERY, Holds
from cascade.runtime.foundation.replay import for_several


@attrs.define(eq=False)
class Demand:
    """How many consumers may still want each value; at zero it is dropped.

    A node with very many sources leaves a *backlog* when it settles: the scheduler lets go of them in parts,
    before anything else starts.

    Attributes:
        values: By node, what it gave; the frame's own.
        uses: By node, the number of consumers that may still want it; being a target counts as one.
        backlog: Of nodes that have settled and had very many sources, those that have not been let go yet.
        holds: What large data in the values of nodes is remembered by.
    """

    values: list[Any]
    uses: list[int] | bytearray
    backlog: list[Iterator[int]] = attrs.field(factory=list)
    holds: Holds = attrs.field(factory=Holds)

    def keep(self, index: int, value: Any) -> None:
        """Have *value* be the node's, for as many as may want it."""
        self.values[index] = value if self.uses[index] < 2 else for_several(value)

    def read_again(self, sources: Iterable[int]) -> None:
        """Have the values of *sources* be such that one consumer can read each several times."""
        for source in sources:
            self.values[source] = for_several(self.values[source])

    def let_go(self, sources: Iterable[int]) -> None:
        """A consumer of each of *sources*, all of which have settled, needs them no longer."""
        uses, values, holds = self.uses, self.values, self.holds
        for source in sources:  # maybe many, so nothing is called
            uses[source] -= 1
            if not uses[source]:
                values[source] = None
                if holds:
                    holds.forget(source)

    def let_go_some(self) -> None:
        """Work off a part of the backlog."""
        part = tuple(islice(self.backlog[-1], PAUSE_EVERY))
        if part:
            self.let_go(part)
        else:
            self.backlog.pop()

    def let_go_until(self, is_late: Callable[[], bool]) -> bool:
        """Work off the backlog; returns whether it *is_late* before all is."""
        while self.backlog:
            self.let_go_some()
            if is_late():
                return True
        return False

    def drop(self, index: int) -> None:
        """Nobody wants the value of the node, which has settled."""
        self.values[index] = None
        self.holds.forget(index)
