"""How a node can end."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeAlias, TypeVar

import attrs

from cascade.model.errors import DependencyMissingError
from cascade.model.skip_reasons import SkipReason

T = TypeVar("T")


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
