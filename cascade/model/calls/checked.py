"""What is said of a call, checked when it is said."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cascade.model.placeholders import Placeholder
from cascade.model.policies import CachePolicy, Collect, Policies, Retry, exact
from cascade.model.shown.secrets import redacted
from cascade.model.typed.numbers import is_whole, plain_number


def checked_errors(errors: object, min_success: object) -> Collect | None:
    """What a map does with items that fail: ``None`` if it fails itself.

    Raises:
        ValueError: If *errors* is neither ``"raise"`` nor ``"collect"``, or *min_success* is no count and no
            fraction below 1, or is given with ``"raise"``.
    """
    if errors not in ("raise", "collect"):
        raise ValueError(f'with_errors takes "raise" or "collect", not {errors!r:.100}')
    if min_success is None:
        return None if errors == "raise" else Collect()
    if errors == "raise":
        raise ValueError('with "raise" all items must succeed; min_success goes with "collect"')
    least = plain_number(min_success)
    if isinstance(least, bool) or not isinstance(least, (int, float, Fraction, Decimal)):
        least = math.nan
    if isinstance(least, int) and least >= 0:
        return Collect(least)
    if not 0 <= least < 1:
        raise ValueError(
            f"min_success is a count of items, or a fraction below 1 of all, not {min_success!r:.100}"
        )
    return Collect(Fraction(str(least)))


def checked_timeout(seconds: float | None) -> float | None:
    """*seconds* if it can be a timeout.

    Raises:
        ValueError: If it is not a positive number.
    """
    seconds = plain_number(seconds)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ValueError(f"a timeout is a positive number of seconds, or None for no limit, not {seconds!r}")
    return None if math.isinf(seconds) else float(seconds)


def checked_concurrency(limit: int | None) -> int | None:
    """*limit* if it can bound the items of a map in flight.

    Raises:
        ValueError: If it is not a whole number from 1.
    """
    limit = plain_number(limit)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"with_concurrency takes a whole number from 1, or None for no limit, not {limit!r}")
    return limit


def checked_cost(seconds: float | None, task_name: str) -> float | None:
    """*seconds* if a call of the task can be expected to take so long.

    Raises:
        ValueError: If it is no finite number from 0.
    """
    seconds = plain_number(seconds)
    if seconds is None:
        return None
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= sys.float_info.max:
        raise ValueError(
            f"the cost of {task_name!r} must be a finite number of seconds from 0, or None if it is not known, "
            f"not {redacted(repr(seconds)):.100}"
        )
    return float(seconds)


def checked_priority(priority: object, task_name: str) -> int:
    """*priority* if it can be one.

    Raises:
        TypeError: If it is no whole number.
    """
    number = plain_number(priority)
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(
            f"the priority of {task_name!r} must be a whole number, 0 by default and the highest first, "
            f"not {redacted(repr(priority)):.100}"
        )
    return number


def checked_undo(undo: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """*undo* if it is a task, or a partial of one, that takes one argument.

    Raises:
        TypeError: If it is not.
    """
    if undo is None:
        return None
    callee = getattr(undo, "task", undo)
    if not callable(undo) or not isinstance(getattr(callee, "policies", None), Policies):
        raise TypeError(f"with_undo takes a task, or None, not {undo!r:.100}; decorate it with @cascade.task")
    undo(None)  # a call of a task runs nothing, and raises if it does not take one argument
    return undo


def checked_retry(retry: object) -> Retry | None:
    """*retry* as a Retry: a number is that of attempts in total.

    Raises:
        TypeError: If it is neither a Retry, nor a number, nor None.
        ValueError: If the number is below 1.
    """
    if retry is None or isinstance(retry, Retry):
        return retry
    if is_whole(retry):
        return Retry(max_attempts=retry)
    raise TypeError(f"retry= takes a cascade.Retry, a number of attempts, or None, not {retry!r:.100}")


def checked_cache(cache: object) -> CachePolicy | None:
    """*cache* if it is a cache policy.

    Raises:
        TypeError: If it lacks ``check`` or ``save``.
    """
    if cache is None or (isinstance(cache, CachePolicy) and not isinstance(cache, type)):
        return cache
    raise TypeError(f"expected a cache policy (an object with async check and save) or None, not {cache!r}")


def checked_amounts(amounts: Mapping[str, object]) -> dict[str, object]:
    """*amounts* with every plain number made exact; placeholders are left for the run.

    Raises:
        TypeError: If it is no mapping from names.
        ValueError: If an amount is negative, not finite, or no number.
    """
    if not isinstance(amounts, Mapping) or not all(isinstance(name, str) for name in amounts):
        raise TypeError(f"constraints map names of resources to amounts, not {amounts!r:.100}")
    return {
        name: amount if isinstance(amount, Placeholder) else exact(amount, name)
        for name, amount in amounts.items()
    }
