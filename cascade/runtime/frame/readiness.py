"""Who waits for how many, and what has come of it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from cascade.model.outcomes import Status


@attrs.define(eq=False)
class News:
    """What settling a node led to, for whoever runs the frame.

    Attributes:
        ready: Nodes whose inputs have settled.
        pruned: Nodes that no router wants any more.
        faults: Routers that could not choose, or not put together what they chose, with their errors.
        without: Routers that have no value, as something that they need has failed.
        lost: Nodes that have begun, or are queued, and that nobody wants any more, as they have lost a race.
        wanted: Nodes that a router has chosen.
    """

    ready: list[int] = attrs.field(factory=list)
    pruned: list[int] = attrs.field(factory=list)
    faults: list[tuple[int, Exception]] = attrs.field(factory=list)
    without: list[int] = attrs.field(factory=list)
    lost: list[int] = attrs.field(factory=list)
    wanted: list[int] = attrs.field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.ready or self.pruned or self.faults or self.without or self.lost or self.wanted)


@attrs.define(eq=False)
class Readiness:
    """How far each node is from being ready, and the frame from its end.

    Attributes:
        status: By node, where it is in its life; the frame's own.
        pending: By node, the number of sources that it waits for; one more if a router must want it first.
        unsettled: Number of calls that have not settled.
        news: What has happened and has not been dealt with. Tells of ready nodes only if there are no stages.
        stage: The nodes of the stage that has begun; ``None`` if any node may begin that is ready.
    """

    status: bytearray
    pending: list[int] | bytearray
    unsettled: int
    news: News = attrs.field(factory=News)
    stage: Sequence[int] | None = None

    def count_down(self, index: int) -> None:
        """The node waits for one less."""
        self.pending[index] -= 1
        if self.stage is None and not self.pending[index] and self.status[index] == Status.PENDING:
            self.news.ready.append(index)

    def take_news(self) -> News:
        """What has happened since the last time."""
        news = self.news
        self.news = News()
        return news
