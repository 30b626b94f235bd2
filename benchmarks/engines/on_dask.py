"""``dask.delayed``, on the scheduler of threads, which is its default."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import dask
from dask import bag
from measure import FAILS_AFTER, SIBLINGS, Siblings, Trouble, outcome, parents, report


def give(value: int) -> int:
    """Nothing."""
    return value


def give_one(*_: int) -> int:
    """Nothing, with parents."""
    return 1


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


def mapped(size: int) -> None:
    """A bag, in as many partitions as it chooses."""
    assert len(bag.from_sequence(range(size)).map(give).compute(scheduler="threads")) == size


def layers(nodes: int) -> None:
    """Three parents each."""
    node: Any = dask.delayed(give_one, pure=False)
    values: list[Any] = []
    for layer in parents(nodes):
        values = [node(*[values[source] for source in sources]) for sources in layer]
    dask.compute(*values)


def failing(siblings: Siblings) -> None:
    """With a thread for each."""

    def fails() -> None:
        time.sleep(FAILS_AFTER)
        raise Trouble

    others = [dask.delayed(siblings.block, pure=False)() for _ in range(SIBLINGS)]
    dask.compute(dask.delayed(fails)(), *others, num_workers=SIBLINGS + 1)


if __name__ == "__main__":
    sys.setrecursionlimit(50_000)
    cases = {"a": chain, "b": fan_out, "c": mapped, "e": layers}
    report(cases, {"threads": partial(outcome, failing)}, smaller=5)
