"""What a frame is in its run: which turn of a loop, and what of it is in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import attrs

from cascade.model.skip_reasons import SkipReason
from cascade.planning.node_durations import NodeDurations

# Asked about an error: whether it is handled.
Handles = Callable[[BaseException], bool]


def never(_: BaseException) -> bool:
    """Nothing is handled."""
    return False


def always(_: BaseException) -> bool:
    """Everything is handled that can be."""
    return True


@attrs.frozen
class Recalled:
    """How a node ended when the run was executed before: its value, if anybody needs it, or why it was skipped."""

    value: Any
    reason: SkipReason | None = None


class Extent(Enum):
    """How much of a node runs again.

    ``BY_ITEM``: those items of a map whose row may be another one than before. ``ALL``: all of it.
    """

    BY_ITEM = "by item"
    ALL = "all"


@attrs.define(eq=False)
class Turn:
    """What a frame is in its run.

    Attributes:
        number: Number of turns that the loop has made with this one.
        flow: The node whose value is a flow that goes on in place of the frame, if it has come to that.
        digests: By node, its content; ``None`` if nothing of the frame is to be compared with records.
        recorded: The nodes that need not be run, until they are ready.
        anew: Of a run that is resumed, the nodes that run again as they took an outcome as a value that is decided
            anew, with how much of them does.
        kept: Of a run that is resumed, by map that has no record, 1 for each item that does not run again. Empty
            if nobody is to know.
        is_recorded: Whether what settles in it goes to the journal.
        ranks: By node, how urgent it is where places are scarce; ``None`` if that does not matter.
        durations: Where to note how long its nodes take; ``None`` if that does not matter.
        handles: Whether an error is handled that leaves the frame without a value.
    """

    number: int = 1
    flow: int | None = None
    digests: Sequence[bytes] | None = None
    recorded: dict[int, Recalled] = attrs.field(factory=dict)
    anew: Mapping[int, Extent] = attrs.field(factory=dict)
    kept: dict[int, bytearray] = attrs.field(factory=dict)
    is_recorded: bool = True
    ranks: Sequence[float] | None = None
    durations: NodeDurations | None = None
    handles: Handles = never
