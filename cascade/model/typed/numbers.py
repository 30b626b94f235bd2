"""Numbers of other libraries, such as numpy's, where a number is taken."""

from __future__ import annotations

import operator
from numbers import Integral, Rational, Real
from typing import Any


def plain_number(value: Any) -> Any:
    """*value* as an ``int`` or ``float``, if it is a number of another library; anything else as it is."""
    if isinstance(value, (int, float)):
        return value
    if is_whole(value):
        return int(value)
    if is_foreign_real(value):
        return float(value)
    return value


def is_whole(value: Any) -> bool:
    """Whether *value* is a whole number of any library; truth values are none."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    if not isinstance(value, Integral):
        return False
    try:
        operator.index(value)
    except TypeError:  # a span of time: numpy's timedelta64 is registered as a whole number
        return False
    return True


def is_foreign_real(value: Any) -> bool:
    """Whether *value* is a number with a fraction, of another library than Python's own."""
    return isinstance(value, Real) and not isinstance(value, (Rational, float))
