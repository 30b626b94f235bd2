"""Numbers of other libraries, such as numpy's, where a number is taken."""

from __future__ import annotations

from numbers import Integral, Rational, Real
from typing import Any


def plain_number(value: Any) -> Any:
    """*value* as an ``int`` or ``float``, if it is a number of another library; anything else as it is."""
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Rational):
        return float(value)
    return value
