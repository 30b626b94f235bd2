"""How a node can end, and why one is skipped."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import attrs


class SkipReason(StrEnum):
    """Why a node did not run. The values are public and do not change.

    - ``ConditionFalse``: its ``run_if`` condition was false.
    - ``UpstreamSkipped_Condition``: its condition was itself skipped.
    - ``UpstreamSkipped_Data``: an argument was skipped and has no value to pass through.
    - ``UpstreamSkipped_Sequence``: a predecessor (``after``, ``sequence``) was skipped.
    - ``UpstreamSkipped_Route``: the route that a router chose was skipped.
    - ``Pruned``: nothing needs the node, because routers chose other routes.
    - ``UpstreamFailed``: something that it needs failed, with ``on_error="continue"``.
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


class Status(IntEnum):
    """Where a node is in its life."""

    PENDING = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    SKIPPED = 4
    FAILED = 5
    CANCELLED = 6


@attrs.frozen
class Done:
    """The node has a value; ``from_cache`` if nobody computed it in this run."""

    value: object
    from_cache: bool = False


@attrs.frozen
class Skipped:
    """The node did not run."""

    reason: SkipReason


@attrs.frozen
class Failed:
    """The node's last attempt, or the preparation of it, raised."""

    error: BaseException


@attrs.frozen
class Cancelled:
    """The node had begun, or was about to, when the run was cancelled or aborted."""


Outcome = Done | Skipped | Failed | Cancelled
