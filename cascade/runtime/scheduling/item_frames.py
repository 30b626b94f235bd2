"""Frames of the items of a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, overload

import attrs

from cascade.graph.identity import item_digest
from cascade.graph.nodes import Graph, Row
from cascade.model.outcomes import Status
from cascade.runtime.frame.frame import Frame, Origin
from cascade.runtime.scheduling.chains.supply import Intake, Supply


def _no_label(_: int) -> str | None:
    return None


def _nobody_to_tell() -> None: ...


@attrs.define(eq=False)
class ItemFrame(Frame):
    """A frame of nodes that differ in nothing but their number.

    Attributes:
        above: The map, in its own graph.
        labels: What people call an item; the name of the map, if items have none.
        supply: The items, for maps that follow this one.
        intake: What the items take from maps that this one follows.
        may_stay: Whether their values may stay on the cluster.
    """

    above: tuple[Graph, Row] = attrs.field(init=False)
    labels: Callable[[int], str | None] = _no_label
    supply: Supply | None = None
    intake: Intake | None = None
    may_stay: bool = False

    is_map: ClassVar[bool] = True

    @property
    def is_given_up(self) -> bool:
        """Whether so many items have failed that the others are cancelled."""
        return False

    def label(self, index: int) -> str | None:
        """What people call an item."""
        return self.labels(index)

    def origin(self, index: int) -> tuple[Graph, Row]:
        """The map, in its own graph."""
        del index
        return self.above

    def _follow_up(self, indices: Sequence[int]) -> None:
        self.readiness.unsettled -= len(indices)  # and no more: there are no edges among them
        if self.intake is not None:
            self.intake.let_go(indices)
        if self.supply is not None:
            self.supply.deliver(indices)

    def name(self, index: int) -> str:
        """Id of an item: ``map[3]``."""
        return f"{self.prefix}[{index}]"

    def find(self, node_id: str) -> int | None:
        """The number of the item with that id; ``None`` if there is none."""
        number = node_id.removeprefix(f"{self.prefix}[").removesuffix("]")
        index = int(number) if number.isdecimal() and len(number) < 20 else -1
        return index if 0 <= index < len(self.status) and self.name(index) == node_id else None

    def digest(self, index: int) -> bytes | None:
        """Content of an item: that of the map, and its place."""
        return None if self.turn.digests is None else item_digest(self.turn.digests[0], index)


@attrs.define(eq=False)
class CollectingFrame(ItemFrame):
    """Items of a map whose failures are values.

    Attributes:
        most_failures: How many may fail; when more have failed, the others are cancelled.
        give_up: Cancels the map, with all its items that have not settled.
    """

    most_failures: int = attrs.field(default=0, kw_only=True)
    give_up: Callable[[], None] = attrs.field(default=_nobody_to_tell, kw_only=True)

    @property
    def size(self) -> int:
        """How many items there are."""
        return len(self.status)

    @property
    def is_given_up(self) -> bool:
        """Whether so many items have failed that the others are cancelled."""
        return len(self.gaps.errors) > self.most_failures

    def has_value(self, index: int) -> bool:
        """Whether the item has succeeded."""
        return self.status[index] == Status.SUCCEEDED

    def fail(self, index: int, error: BaseException | None, origin: Origin | None = None) -> None:
        """Record that an item failed, or was cancelled; give up if it is one too many."""
        super().fail(index, error, origin)
        if self.is_given_up:
            self.give_up()

    def _follow_up(self, indices: Sequence[int]) -> None:
        if self.gaps.exist:
            self._put_failures(indices)
        super()._follow_up(indices)

    def _put_failures(self, indices: Sequence[int]) -> None:
        """Put the failures among *indices* in the place of values, for the list and for maps that follow."""
        for index in indices:
            if self.status[index] == Status.FAILED:
                self.values[index] = self.gaps.errors[index]


@attrs.frozen(eq=False)
class Alike(Sequence[float]):
    """A number as often as there are items, kept once."""

    number: float
    size: int

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[float]: ...
    def __getitem__(self, place: int | slice) -> float | Sequence[float]:
        return self.number if isinstance(place, int) else [self.number] * len(range(self.size)[place])

    def __len__(self) -> int:
        return self.size
