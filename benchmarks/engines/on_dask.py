"""``dask.delayed``, on the scheduler of threads, which is its default."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import dask
from measure import FAILS_AFTER, SIBLINGS, Siblings, Trouble, outcome, report


def give(value: int) -> int:
    """Nothing."""
    return value


work: Any = dask.delayed(give, pure=False)


def fan_out(size: int) -> None:
    """Tasks side by side."""
    assert len(dask.compute(*[work(number) for number in range(size)])) == size


def chain(length: int) -> None:
    """Each takes the one before."""
    flow = work(1)
    for _ in range(length - 1):
        flow = work(flow)
    assert flow.compute() == 1


def failing(siblings: Siblings) -> None:
    """With a thread for each."""

    def fails() -> None:
        time.sleep(FAILS_AFTER)
        raise Trouble

    others = [dask.delayed(siblings.block, pure=False)() for _ in range(SIBLINGS)]
    dask.compute(dask.delayed(fails)(), *others, num_workers=SIBLINGS + 1)


if __name__ == "__main__":
    sys.setrecursionlimit(50_000)
    report(1000, fan_out, chain, {"threads": partial(outcome, failing)})
