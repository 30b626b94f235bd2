"""The task of bench_data.py that runs in a process, which has to import it."""

from __future__ import annotations

import cascade

LISTS = 1_000_000


def small_lists(count: int = LISTS) -> list[list[int]]:
    """So many lists of one number."""
    return [[number] for number in range(count)]


@cascade.task(mode="process")
def from_process(count: int = LISTS) -> list[list[int]]:
    """Them, pickled."""
    return small_lists(count)
