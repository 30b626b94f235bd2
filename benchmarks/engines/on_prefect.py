"""Prefect, with the server that it starts by itself: sync tasks that are submitted to its threads."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from typing import Any

from measure import FAILS_AFTER, SIBLINGS, Siblings, Trouble, outcome, report

os.environ |= {
    "PREFECT_HOME": tempfile.mkdtemp(),
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

from prefect import flow, task  # reads its settings when it is imported

CURRENT: list[Siblings] = []


@task
def work(value: int) -> int:
    """Nothing."""
    return value


@task
def fails() -> None:
    """Fails soon."""
    time.sleep(FAILS_AFTER)
    raise Trouble


@task
def sibling(number: int) -> None:
    """Takes longer."""
    CURRENT[-1].block()


@flow
def side_by_side(size: int) -> int:
    """All submitted, then all waited for."""
    return len(work.map(range(size)).result())


@flow
def one_by_one(length: int) -> Any:
    """Each is submitted with the future of the one before."""
    value: Any = 1
    for _ in range(length):
        value = work.submit(value)
    return value.result()


@flow
def failing() -> None:
    """One fails among others; its result is asked for first."""
    first = fails.submit()
    others = sibling.map(range(SIBLINGS))
    first.result()
    others.result()


def fan_out(size: int) -> None:
    """Tasks side by side."""
    assert side_by_side(size) == size


def chain(length: int) -> None:
    """Each takes the one before."""
    assert one_by_one(length) == 1


def failed(siblings: Siblings) -> None:
    """The flow, whose tasks are no closures."""
    CURRENT.append(siblings)
    failing()


if __name__ == "__main__":
    report({"a": chain, "b": fan_out}, {"threads": partial(outcome, failed)}, smaller=50)
