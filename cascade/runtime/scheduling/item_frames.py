"""Frames of the items of a map."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from cascade.graph.identity import item_digest
from cascade.model.outcomes import Status
from cascade.runtime.frame.frame import Frame, Origin


class ItemFrame(Frame):
    """A frame of nodes that differ in nothing but their number."""

    is_map = True

    def name(self, index: int) -> str:
        """Id of an item: ``map[3]``."""
        return f"{self.prefix}[{index}]"

    def digest(self, index: int) -> bytes | None:
        """Content of an item: that of the map, and its place."""
        return None if self.turn.digests is None else item_digest(self.turn.digests[0], index)


@attrs.define(eq=False)
class CollectingFrame(ItemFrame):
    """Items of a map whose failures are values.

    Attributes:
        most_failures: How many may fail; when more have failed, the others are cancelled.
        cancel: Cancels the items that run.
    """

    most_failures: int = attrs.field(default=0, kw_only=True)
    cancel: Callable[[], None] = attrs.field(default=lambda: None, kw_only=True)

    @property
    def size(self) -> int:
        """How many items there are."""
        return len(self.status)

    @property
    def is_hopeless(self) -> bool:
        """Whether too many items have failed."""
        return len(self.gaps.errors) > self.most_failures

    def has_value(self, index: int) -> bool:
        """Whether the item has succeeded."""
        return self.status[index] == Status.SUCCEEDED

    def fail(self, index: int, error: BaseException | None, origin: Origin | None = None) -> None:
        """Record that an item failed, or was cancelled; cancel the others if it is one too many."""
        super().fail(index, error, origin)
        if self.is_hopeless and not self.turn.is_cut:
            assert self.turn.cut is not None
            self.turn.cut.make()
            self.cancel()

    def put_failures(self) -> None:
        """Put the failures in the place of values."""
        for index, failed in self.gaps.errors.items():
            self.values[index] = attrs.evolve(failed, index=index)
