"""How much stores keep of the durations of nodes: what was written last, within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

K = TypeVar("K")
# Flows whose durations a store keeps, and bytes of all of them together.
MOST_FLOWS: Final = 64
MOST_BYTES: Final = 1_048_576


def surplus(sizes: Iterable[tuple[K, int]]) -> Iterator[K]:
    """What a store is to let go of.

    Args:
        sizes: What it has, newest first: keys with numbers of bytes.
    """
    total = 0
    for place, (key, size) in enumerate(sizes):
        total += size
        if place >= MOST_FLOWS or total > MOST_BYTES:
            total -= size
            yield key
