"""Where a run stands: what has ended, what waits, and in which turn its loops are."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import attrs

from cascade.model.outcomes import Status
from cascade.runtime.frame.frame import Frame
from cascade.runtime.frame.gaps import FailedItems


@attrs.define(eq=False)
class Progress:
    """Where a run stands.

    Attributes:
        counts: Ended nodes by status.
        frame: The top-level frame of the present turn.
        in_code: Makes a frame that shows the present turn, if that is made in code and has none.
        failed_maps: The maps that failed with an item of theirs, if that is a failure of the run.
        lagging: What lanes give when asked how many nodes have succeeded that they have not told of. Asked in any
            thread.
        turning: By the prefix of its nodes, what gives the number of the present turn of a loop; lanes may make
            turns that have not been counted.
        resting: Nodes between two attempts, with the moment of the next one on the event loop's clock.
        went_on: The node of the flow whose value is that of later turns, once it is known that there are some.
        streamed: Ids of nodes whose whole values streams of outcomes wait for.
        unkept: Ids of the maps under way that let go of the values of their items, so that they will have no list.
        joined: Nodes that wait for what another is computing: its run and id, and what wakes them.
        labels: What people call nodes with a task of their own, as long as they have it.
    """

    counts: dict[Status, int] = attrs.field(factory=lambda: dict.fromkeys(Status, 0))
    frame: Frame | None = None
    in_code: Callable[[], Frame] | None = None
    failed_maps: list[FailedItems] = attrs.field(factory=list)
    lagging: set[Callable[[], int]] = attrs.field(factory=set)
    turning: dict[str, Callable[[], int]] = attrs.field(factory=dict)
    resting: dict[str, float] = attrs.field(factory=dict)
    went_on: int | None = None
    streamed: set[str] = attrs.field(factory=set)
    unkept: set[str] = attrs.field(factory=set)
    joined: dict[str, tuple[str, str, anyio.Event]] = attrs.field(factory=dict)
    labels: dict[str, str] = attrs.field(factory=dict)

    def turns(self, node_id: str) -> list[int]:
        """In which turns the loops around *node_id* are, the run's own first. Asked in any thread."""
        prefixes = ["", *(node_id[: place + 1] for place, letter in enumerate(node_id) if letter == "/")]
        return [self.turning[prefix]() if prefix in self.turning else 1 for prefix in prefixes]

    def is_past_first_turn(self) -> bool:
        """Whether the run's own loop makes a later turn."""
        return "" in self.turning and self.turning[""]() > 1

    def succeeded(self) -> int:
        """How many nodes have succeeded, also if a lane has not told of them yet."""
        return self.counts[Status.SUCCEEDED] + sum(untold() for untold in tuple(self.lagging))

    def present(self) -> Frame | None:
        """The top-level frame of the present turn, to look at; ``None`` if there is none."""
        return self.frame if self.in_code is None else self.in_code()

    def wake_joined(self) -> None:
        """Let nodes that wait for what another is computing look up."""
        for _, _, news in self.joined.values():
            news.set()
