"""Why a node did not run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class SkipReason(StrEnum):
    """Why a node did not run. The values are public and do not change.

    - ``ConditionFalse``: its ``run_if`` condition was false.
    - ``UpstreamSkipped_Condition``: its condition was itself skipped.
    - ``UpstreamSkipped_Data``: a call that gives an argument or a claim was skipped and passed no value on.
    - ``UpstreamSkipped_Sequence``: a call that it runs after (``after``, ``sequence``) was skipped.
    - ``UpstreamSkipped_Route``: the route that a router chose was skipped.
    - ``Pruned``: nothing needs the node: routers chose other routes, it is the fallback (``or_else``) of a call
      that succeeded, or it has lost a race.
    - ``UpstreamFailed``: something that it needs failed, and the run goes on: with ``on_error="continue"``, or
      because the failure is handled (``settled``, ``or_else``).
    - ``CacheHit``: a cache had its value. Only in events.
    """

    CONDITION_FALSE = "ConditionFalse"
    UPSTREAM_CONDITION = "UpstreamSkipped_Condition"
    UPSTREAM_DATA = "UpstreamSkipped_Data"
    UPSTREAM_SEQUENCE = "UpstreamSkipped_Sequence"
    UPSTREAM_ROUTE = "UpstreamSkipped_Route"
    PRUNED = "Pruned"
    UPSTREAM_FAILED = "UpstreamFailed"
    CACHE_HIT = "CacheHit"


MEANINGS: Final[Mapping[str, str]] = {
    SkipReason.CONDITION_FALSE: "its condition (run_if) was false",
    SkipReason.UPSTREAM_CONDITION: "a call that its condition (run_if) needs was skipped",
    SkipReason.UPSTREAM_DATA: "a call whose value it needs was skipped",
    SkipReason.UPSTREAM_SEQUENCE: "a call that it runs after was skipped",
    SkipReason.UPSTREAM_ROUTE: "the route that its router chose was skipped",
    SkipReason.PRUNED: (
        "nothing needs it: routers chose other routes, it is the fallback (or_else) of a success, or it has lost "
        "a race"
    ),
    SkipReason.UPSTREAM_FAILED: "a call that it needs failed",
    SkipReason.CACHE_HIT: "a cache had its value",
}


def why_skipped(reason: str) -> str:
    """*reason*, a value of :class:`SkipReason`, in words and as it is; any other text unchanged."""
    return f"{MEANINGS[reason]} ({reason})" if reason in MEANINGS else reason
