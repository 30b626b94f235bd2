"""Cancellation: whether it is due here, and what an error is without it."""

from __future__ import annotations

import math

from anyio import current_effective_deadline, get_cancelled_exc_class

from cascade.model.errors import AttemptCancelled
from cascade.model.shown.raised import leaves


def is_cancelled() -> bool:
    """Whether a scope around the current task is cancelled."""
    return current_effective_deadline() == -math.inf


def is_cancellation(error: BaseException) -> bool:
    """Whether *error* is a cancellation, by the event loop or by the engine."""
    return isinstance(error, (get_cancelled_exc_class(), AttemptCancelled))


def without_cancellations(error: BaseException) -> BaseException | None:
    """*error* without the cancellations in it; ``None`` if nothing is left.

    A group without any is returned as it is. So is one that cannot be split, as its ``derive`` raises.
    """
    if not isinstance(error, BaseExceptionGroup):
        return None if is_cancellation(error) else error
    parts = [is_cancellation(leaf) for leaf in leaves(error)]
    if not any(parts):
        return error
    if all(parts):
        return None
    try:
        return error.split(is_cancellation)[1]
    except Exception:  # user code; the error that it is about is worth more than a tidy one
        return error
