"""How many nodes of a frame may be under way at a time, and how far a map may go ahead of those that follow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized

import attrs

from cascade.runtime.scheduling.chains.supply import MOST_AHEAD, Intake, Supply


@attrs.define(eq=False)
class Pace:
    """What limits the starts of a frame's nodes, beside admission.

    Attributes:
        window: How many may be under way at once; ``None``: any number.
        supply: Of a map that others follow, its items, if these are let go of when they have been used.
        intake: Of a map that follows others, what it takes from them.
        lanes: Nodes that have been given to lanes and have not begun.
        others: How many other nodes are ready and have not begun.
        wake: Has nodes started.
    """

    window: int | None = None
    supply: Supply | None = None
    intake: Intake | None = None
    lanes: Sequence[Sized] = ()
    others: Callable[[], int] = lambda: 0
    wake: Callable[[], None] = lambda: None

    @property
    def is_free(self) -> bool:
        """Whether any number may be under way."""
        return self.window is None and self.supply is None

    @property
    def is_chained(self) -> bool:
        """Whether it matters to other maps how many have begun."""
        return self.supply is not None or self.intake is not None

    @property
    def is_open(self) -> bool:
        """Whether nodes may become ready by what happens elsewhere."""
        return self.intake is not None and self.intake.is_open

    def follow(self, supply: Supply | None, intake: Intake | None) -> None:
        """The nodes are the items of a map that others follow, or that follows others."""
        self.supply = None if supply is None or supply.is_kept else supply
        self.intake = intake
        if intake is not None:
            intake.wake, intake.waiting = self.wake, self.waiting

    def waiting(self) -> int:
        """How many nodes are ready and have not begun."""
        return sum(map(len, self.lanes)) + self.others()

    def has_room(self, in_flight: int) -> bool:
        """Whether another node may start while *in_flight* are under way."""
        if self.window is not None and in_flight >= self.window:
            return False
        if self.supply is None:
            return True
        return sum(map(len, self.lanes)) < MOST_AHEAD and self.supply.has_room(self.wake)

    def relieve(self) -> None:
        """Nodes have begun: maps that had to wait for that may go on."""
        if self.intake is not None:
            self.intake.relieve()
