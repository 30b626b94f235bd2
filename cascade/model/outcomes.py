"""How a node can end, and why one is skipped."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeAlias, TypeVar

import attrs

T = TypeVar("T")


class SkipReason(StrEnum):
    """Why a node did not run. The values are public and do not change.

    - ``ConditionFalse``: its ``run_if`` condition was false.
    - ``UpstreamSkipped_Condition``: its condition was itself skipped.
    - ``UpstreamSkipped_Data``: a call that gives an argument or a claim was skipped and passed no value on.
    - ``UpstreamSkipped_Sequence``: a call that it runs after (``after``, ``sequence``) was skipped.
    - ``UpstreamSkipped_Route``: the route that a router chose was skipped.
    - ``Pruned``: nothing needs the node, because routers chose other routes, or it has lost a race.
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
    SkipReason.PRUNED: "nothing needs it, because routers chose other routes or it lost a race",
    SkipReason.UPSTREAM_FAILED: "a call that it needs failed",
    SkipReason.CACHE_HIT: "a cache had its value",
}


def why_skipped(reason: str) -> str:
    """*reason*, a value of :class:`SkipReason`, in words and as it is; any other text unchanged."""
    return f"{MEANINGS[reason]} ({reason})" if reason in MEANINGS else reason


# Why a node that ran was cancelled while its run went on: another one has won the race. Public, does not change.
RACE_LOST: Final = "RaceLost"


class Status(IntEnum):
    """Where a node is in its life."""

    PENDING = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    SKIPPED = 4
    FAILED = 5
    CANCELLED = 6


class _NoTruth:
    """Refuses to be tested for truth: ``Done(False)`` would be true, or ``Done(0)``."""

    __slots__ = ()

    if not TYPE_CHECKING:
        # Hidden from type checkers, which would take a method for leave to use it.

        def __bool__(self) -> NoReturn:
            raise TypeError(
                f"{type(self).__name__}(...) has no truth, as the value in it has one of its own: ask "
                "isinstance(outcome, cascade.Done), or take the value with outcome.unwrap()"
            )


@attrs.frozen
class Done(_NoTruth, Generic[T]):
    """A call that has a value.

    Attributes:
        value: The value.
        from_cache: Whether a cache had it. Not compared.
    """

    value: T
    from_cache: bool = attrs.field(default=False, eq=False, repr=False)

    def unwrap(self) -> T:
        """The value."""
        return self.value


@attrs.frozen
class Skipped(_NoTruth):
    """A call that did not run.

    Attributes:
        reason: Why.
        task_id: The node's id; empty (default) if it is not known. Not compared.
    """

    reason: SkipReason
    task_id: str = attrs.field(default="", eq=False)

    def unwrap(self) -> NoReturn:
        """There is no value.

        Raises:
            DependencyMissingError: Always.
        """
        from cascade.model.errors import DependencyMissingError  # which imports this module

        raise DependencyMissingError(self.task_id, [(self.task_id, str(self.reason))])


@attrs.frozen
class Failed(_NoTruth):
    """A call that failed, or did not run because something that it needs failed.

    Attributes:
        error: The exception: that of the call which failed first on the way.
        task_id: The id of the node that raised it; empty (default) if it is not known.
        attempts: The number of attempts that this node made; 0 (default) if it failed before the first.
        index: Of an item of a map, its place in the columns, from 0; ``None`` (default) if it is none.
    """

    error: BaseException
    task_id: str = ""
    attempts: int = 0
    index: int | None = None

    def unwrap(self) -> NoReturn:
        """There is no value.

        Raises:
            BaseException: The error itself.
        """
        raise self.error


@attrs.frozen
class Cancelled:
    """The node had begun, or was about to, when the run was cancelled or aborted, or when it had lost a race.

    Attributes:
        reason: Why, if the run goes on: ``"RaceLost"``.
    """

    reason: str | None = None


# How a call ended, as a value: what ``settled`` gives.
Outcome: TypeAlias = Done[T] | Failed | Skipped
# How a node ended, as the engine knows it.
NodeOutcome: TypeAlias = Done[Any] | Skipped | Failed | Cancelled
