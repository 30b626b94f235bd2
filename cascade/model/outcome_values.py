"""How a call has ended, as a value that users are given."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeAlias, TypeVar

import attrs

from cascade.model.errors import DependencyMissingError
from cascade.model.outcomes import SkipReason

T = TypeVar("T")


@attrs.frozen
class Done(Generic[T]):
    """A call that has a value.

    Attributes:
        value: The value.
    """

    value: T

    def unwrap(self) -> T:
        """The value."""
        return self.value


@attrs.frozen
class Failed:
    """A call that failed.

    Attributes:
        error: The exception.
        task_id: The id of the node that raised it.
        attempts: The number of attempts that the node made; 0 if it failed before the first.
    """

    error: BaseException
    task_id: str = ""
    attempts: int = 0

    def unwrap(self) -> NoReturn:
        """There is no value.

        Raises:
            BaseException: The error itself.
        """
        raise self.error


@attrs.frozen
class Skipped:
    """A call that did not run.

    Attributes:
        reason: Why.
        task_id: The node's id. Not compared.
    """

    reason: SkipReason
    task_id: str = attrs.field(default="", eq=False)

    def unwrap(self) -> NoReturn:
        """There is no value.

        Raises:
            DependencyMissingError: Always.
        """
        raise DependencyMissingError(self.task_id, [(self.task_id, self.reason.value)])


Outcome: TypeAlias = Done[T] | Failed | Skipped
