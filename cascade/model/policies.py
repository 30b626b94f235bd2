"""Policies of a call: retry, timeout, cache, claims, conditions, and what it runs after."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, runtime_checkable

import attrs

from cascade.model.placeholders import Placeholder
from cascade.model.shown.labels import Label
from cascade.model.shown.secrets import redacted
from cascade.model.typed.numbers import is_foreign_real, is_whole, plain_number

T_co = TypeVar("T_co", covariant=True)


class Unset(Enum):
    """Tells "nothing said" from ``None``, which lifts a policy."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


def _check_attempts(_: object, __: object, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"max_attempts counts the first attempt, so it is a whole number from 1, not {value!r}")


def _check_seconds(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"{attribute.name} is a number of seconds from 0, not {value!r}")
    if attribute.name == "delay" and math.isinf(value):
        raise ValueError("delay must be finite; a pause without end is no retry")


def _check_backoff(_: object, __: object, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < math.inf:
        raise ValueError(f"backoff is a factor from 1, not {value!r}")


def _check_jitter(_: object, __: object, value: float) -> None:
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"jitter is the random share of each delay, from 0 to 1, not {value!r}")


def as_exception_types(value: object) -> tuple[type[Exception], ...]:
    """*value*, an exception class or a tuple of them, as a tuple.

    Raises:
        ValueError: If something else is in it than classes below ``Exception``.
    """
    types = value if isinstance(value, tuple) else (value,)
    for kind in types:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ValueError(
                f"on= takes exception classes below Exception, not {kind!r}; "
                "cancellation, KeyboardInterrupt and SystemExit are never retried, and cannot be handled"
            )
    return types


def covers(on: tuple[type[BaseException], ...], error: BaseException) -> bool:
    """Whether *error* is of the types *on*; a group is if it is itself, or all that is in it."""
    pending = [error]
    while pending:
        part = pending.pop()
        if isinstance(part, on):
            continue
        if not isinstance(part, BaseExceptionGroup):
            return False
        pending.extend(part.exceptions)
    return True


@attrs.frozen
class Retry:
    """How often and after which pauses a failed task is attempted again.

    The pause before attempt ``n + 1`` is ``min(delay * backoff ** (n - 1), max_delay)``. A random part of it, at
    most the share ``jitter``, is left out (with 1.0 the "full jitter" of Brooker, *Exponential Backoff And
    Jitter*, 2015).

    Args:
        max_attempts: Attempts in total, the first included; at least 1, which means no second attempt. 3 by
            default.
        delay: Seconds before the second attempt; finite. 0 (default): no pause.
        backoff: Factor on the delay for each further attempt, at least 1. 1 (default): all pauses are equal.
        max_delay: Upper bound on a pause, in seconds from 0. ``inf`` (default): no bound.
        jitter: Random share of each pause, from 0 (default: none) to 1 (a pause may be anything up to its full
            length).
        on: An exception class, or a tuple of them, below ``Exception``: the errors after which there is another
            attempt. By default ``Exception``, so all of them. An exception group counts if all its members do.

    Raises:
        ValueError: If a number is out of range, or *on* has something else than classes below ``Exception``.
    """

    max_attempts: int = attrs.field(default=3, converter=plain_number, validator=_check_attempts)
    delay: float = attrs.field(default=0.0, converter=plain_number, validator=_check_seconds)
    backoff: float = attrs.field(default=1.0, converter=plain_number, validator=_check_backoff)
    max_delay: float = attrs.field(default=math.inf, converter=plain_number, validator=_check_seconds)
    jitter: float = attrs.field(default=0.0, converter=plain_number, validator=_check_jitter)
    on: tuple[type[Exception], ...] = attrs.field(default=(Exception,), converter=as_exception_types)

    def covers(self, error: BaseException) -> bool:
        """Whether an error is one after which there is another attempt. Looks inside exception groups.

        Args:
            error: The error.
        """
        return covers(self.on, error)

    def pause_after(self, attempt: int, random_share: float) -> float:
        """Seconds to wait after a failed attempt.

        Args:
            attempt: Number of the attempt that failed, from 1.
            random_share: A uniform random number, at least 0 and below 1.
        """
        if not self.delay:
            return 0.0
        try:
            whole = min(self.delay * self.backoff ** (attempt - 1), self.max_delay)
        except OverflowError:
            whole = self.max_delay
        return whole * (1 - self.jitter * random_share)


@attrs.frozen
class Hit(Generic[T_co]):
    """A value that was found in a cache.

    Args:
        value: The value, which may be ``None``.
    """

    value: T_co


class Miss(Enum):
    """The answer of a cache that does not have the value. Its only member is ``MISS`` (``"miss"``)."""

    MISS = "miss"


MISS: Final = Miss.MISS


@runtime_checkable
class CachePolicy(Protocol):
    """Decides whether a call has to run, and keeps its result.

    Both methods run on the event loop and may be cancelled. Blocking work belongs into
    ``anyio.to_thread.run_sync``. A policy that raises fails neither the task nor the run: the engine reports the
    error in an ``EngineWarning`` and goes on as if there were no cache. Only a ``NotDigestibleError`` about an
    argument, raised by :meth:`check`, fails the node.
    """

    async def check(self, task_id: str, inputs: Mapping[str, object]) -> Hit[object] | Miss:
        """Look up a call. Returns ``Hit(value)``, or ``MISS`` if the call has to run.

        If the node is cancelled, so is this, and the call does not run.

        Args:
            task_id: The node's id, such as ``fetch`` or ``fetch#2``. Equal calls may have different ids.
            inputs: The bound arguments, parameter name to value. Lazies and Params are replaced by their values;
                injected resources are left out.
        """
        ...

    async def save(self, task_id: str, inputs: Mapping[str, object], result: object) -> None:
        """Keep the result of a call that has run.

        If the node is cancelled, so is this. It should then have kept the whole result or nothing.

        Args:
            task_id: As in :meth:`check`.
            inputs: As in :meth:`check`.
            result: What the function returned.
        """
        ...


@runtime_checkable
class PerCall(Protocol):
    """A cache policy that knows whether it can serve the items of a map, which are calls of their own."""

    def why_no_items(self, columns: Collection[str]) -> str | None:
        """Why it cannot, for a map over the parameters *columns*; ``None`` if it can."""
        ...


def _exact(amount: Any) -> int | Fraction | None:
    if isinstance(amount, int):
        return None if isinstance(amount, bool) else amount
    if isinstance(amount, (Fraction, Decimal)):
        return _whole_if_it_is(Fraction(amount)) if math.isfinite(amount) else None
    if isinstance(amount, float):
        return _whole_if_it_is(Fraction(float.__repr__(amount))) if math.isfinite(amount) else None
    if is_whole(amount):
        return int(amount)
    if is_foreign_real(amount) and math.isfinite(amount):
        return _whole_if_it_is(Fraction(str(amount)))  # the shortest decimal of its own precision
    return None


def _whole_if_it_is(number: Fraction) -> int | Fraction:
    return int(number) if number.denominator == 1 else number


def exact(amount: object, resource: str) -> int | Fraction:
    """The amount as an exact number; a float means its shortest decimal, so three times 0.1 is 0.3.

    Raises:
        ValueError: If it is negative, not finite, or no number.
    """
    number = _exact(amount)
    if number is None:
        raise ValueError(f"the amount of {resource!r} must be a finite number, not {redacted(repr(amount))}")
    if number < 0:
        raise ValueError(f"the amount of {resource!r} must not be negative, but is {redacted(repr(amount))}")
    return number


OnSkip = Literal["pass", "skip"]
Errors = Literal["raise", "collect"]


@attrs.frozen
class Collect:
    """What a map does with items that fail: they are values of its list.

    Attributes:
        min_success: How many items must succeed: a count, or a fraction of all below 1; ``None``: any number.
    """

    min_success: int | Fraction | None = None

    def least(self, size: int) -> int:
        """How many of *size* items must succeed."""
        if self.min_success is None:
            return 0
        return self.min_success if isinstance(self.min_success, int) else math.ceil(self.min_success * size)


@attrs.frozen
class Policies:
    """All that one call says about how it is run. What is ``UNSET`` is left to the task's defaults.

    Attributes:
        retry: When to attempt again; ``None``: never.
        timeout: Seconds an attempt may take, from the moment user code starts; ``None``: any.
        cache: Where to look before running; ``None``: nowhere.
        constraints: Resource name to amount (a number, or a placeholder for one).
        concurrency: Items of a map in flight at once; ``None``: any number.
        conditions: Values, or placeholders for them, that must all be true.
        after: Calls that it runs after: they must have succeeded, and no data passes.
        on_skip: What a skip does: ``"pass"`` the sole upstream value on, or ``"skip"`` the consumers.
        cost: Seconds that it is expected to take; ``None``: nobody knows.
        name: What it is called, for people.
        undo: The task that undoes it if the run fails; ``None``: it cannot be undone.
        priority: Whether it goes before others of its run that wait for the same: the highest first. 0 if nothing
            is said.
        errors: Of a map, what it does with items that fail; ``None``: it fails.
    """

    retry: Retry | Unset | None = UNSET
    timeout: float | Unset | None = UNSET
    cache: CachePolicy | Unset | None = UNSET
    constraints: Mapping[str, object] | Unset = UNSET
    concurrency: int | Unset | None = UNSET
    on_skip: OnSkip | Unset = UNSET
    conditions: tuple[object, ...] = ()
    after: tuple[Placeholder, ...] = ()
    cost: float | Unset | None = UNSET
    name: Label | Unset = UNSET
    priority: int | Unset = UNSET
    undo: Callable[..., Any] | Unset | None = UNSET
    errors: Collect | Unset | None = UNSET


NOTHING_SAID: Final = Policies()
# The fields of which one value holds; the rest accumulate.
EXCLUSIVE_POLICIES: Final = (
    "retry", "timeout", "cache", "constraints", "concurrency", "on_skip", "cost", "name", "undo", "priority",
    "errors",
)  # fmt: skip
