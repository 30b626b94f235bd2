"""Which nodes of a frame have no value of their own, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import attrs

from cascade.model.outcomes import Failed, Status
from cascade.model.skip_reasons import SkipReason


@attrs.frozen(eq=False)
class FailedItems:
    """The items of a map that has failed, for the error that the run raises in the end.

    Attributes:
        errors: By item, how those have failed that did.
        values: Gives the ids and values of the others.
    """

    errors: Mapping[int, Failed]
    values: Callable[[], Iterable[tuple[str, Any]]]


@attrs.define(eq=False)
class Gaps:
    """The nodes that were skipped, failed or cancelled, with the reasons.

    Attributes:
        status: By node, where it is in its life; the frame's own.
        reasons: Why the skipped nodes were skipped.
        errors: Why the failed nodes failed, and which node it was that raised the error.
        beside: Of failed nodes that stand for several, such as maps, failures that were handled beside that error.
        maps: Of failed nodes that stand for several, the maps among these that have failed.
        collected: Maps that gave a list although items of them failed.
        causes: Of nodes that did not run for failures, these, as far as somebody has asked.
        told: Those of the causes that were last seen to be failures of the run.
        gone: Nodes that have settled and give no value, not even one that passes through them.
        exist: Whether there are any, so that consumers have to look.
    """

    status: bytearray
    reasons: dict[int, SkipReason] = attrs.field(factory=dict)
    errors: dict[int, Failed] = attrs.field(factory=dict)
    beside: dict[int, tuple[Failed, ...]] = attrs.field(factory=dict)
    maps: dict[int, tuple[FailedItems, ...]] = attrs.field(factory=dict)
    collected: set[int] = attrs.field(factory=set)
    causes: dict[int, tuple[Failed, ...]] = attrs.field(factory=dict)
    told: tuple[Failed, ...] | None = None
    gone: set[int] = attrs.field(factory=set)
    exist: bool = False

    def skip(self, index: int, reason: SkipReason, *, gives_value: bool = False) -> None:
        """Note that a node is skipped; another value may stand in the place of its own."""
        self.exist = True
        self.status[index] = Status.SKIPPED
        self.reasons[index] = reason
        if not gives_value:
            self.gone.add(index)

    def fail(self, index: int, failed: Failed | None) -> None:
        """Note that a node failed, or (without a failure) was cancelled."""
        self.exist = True
        self.status[index] = Status.CANCELLED if failed is None else Status.FAILED
        if failed is not None:
            self.errors[index] = failed
        self.gone.add(index)

    def all_maps(self) -> tuple[FailedItems, ...]:
        """The maps that have failed, of all nodes."""
        return tuple(chain.from_iterable(self.maps.values()))

    def maps_failed_with(self, error: BaseException) -> list[FailedItems]:
        """Those of them that have failed with *error*, perhaps among others."""
        return [one for one in self.all_maps() if any(failed.error is error for failed in one.errors.values())]

    def is_failure(self, index: int) -> bool:
        """Whether the node failed, or did not run because another one did."""
        return (
            self.status[index] in (Status.FAILED, Status.CANCELLED)
            or self.reasons.get(index) is SkipReason.UPSTREAM_FAILED
        )

    def behind(self, sources: Iterable[int], reason: SkipReason) -> SkipReason | None:
        """Why somebody is skipped who needs the values of *sources*: for a failure, or for *reason*."""
        missing = [source for source in sources if source in self.gone]
        if any(self.is_failure(source) for source in missing):
            return SkipReason.UPSTREAM_FAILED
        return reason if missing else None
