"""How large a value is."""

from __future__ import annotations

from typing import Any

from cascade.adapters.serialization.values import dumps

_SMALL = (int, float, bool, complex, type(None))


def measured(value: Any) -> tuple[int, bytes | None]:
    """The size of *value* in bytes, about, and its pickled form if that was made to find out.

    Raises:
        Exception: Whatever pickling the value raises.
    """
    if type(value) in _SMALL:
        return 0, None
    if isinstance(value, (str, bytes, bytearray)):
        return len(value), None
    size = getattr(value, "nbytes", None)  # arrays, arrow tables, memoryviews
    if isinstance(size, int):
        return size, None
    pickled = dumps(value, shares_main=False)
    return len(pickled), pickled
