"""Flows and data that are as deep as one likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cascade


@cascade.task(mode="inline")
def step(x: Any = 0, y: Any = None) -> Any:
    """A link of a chain."""
    return x


@cascade.task(pure=True, mode="inline")
def pure(x: Any = 0) -> Any:
    """A link of a chain, and the same as every other that is given the same."""
    return x


def chain(length: int, link: Callable[[Any], Any], start: Any = None) -> Any:
    """*link* applied *length* times to *start*; without it, to a call of ``step``."""
    value = step() if start is None else start
    for _ in range(length):
        value = link(value)
    return value
