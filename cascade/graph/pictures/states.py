"""What a picture of a run says of a box: how the nodes are that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

# The letter for each status, in the order in which several are shown, for who sees no colours.
MARKS: Final = {
    "running": "▶", "waiting": "…", "failed": "✗", "handled": "!", "cancelled": "⊘", "skipped": "-",
    "succeeded": "✓",
}  # fmt: skip
# Words for those whose names do not say enough.
WORDS: Final = {"handled": "failed, handled"}


@attrs.frozen
class State:
    """What a picture of a run says of a box.

    Attributes:
        status: ``"pending"``, ``"running"``, ``"waiting"``, ``"succeeded"``, ``"failed"``, ``"handled"`` (a
            failure that the run does not fail by), ``"cancelled"`` or ``"skipped"``.
        text: The same in a few letters, for who sees no colours.
    """

    status: str
    text: str


def state_of(counts: Mapping[str, int]) -> State:
    """What is said of a box with nodes of these *counts*."""
    present = {status: count for status, count in counts.items() if count > 0}
    ended = sum(count for status, count in present.items() if status not in ("running", "waiting"))
    for status in ("failed", "running", "waiting", "handled", "cancelled", "succeeded", "skipped"):
        if present.get(status):
            break
    else:
        status = "pending"
    shown = [f"{MARKS[status]}{_short(present[status])}" for status in MARKS if present.get(status)]
    return State(status, " ".join(shown) if ended > 1 or len(shown) > 1 else "".join(shown)[:1])


def _short(count: int) -> str:
    if count < 10_000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"
