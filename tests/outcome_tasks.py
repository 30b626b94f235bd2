"""Tasks for maps some of whose items fail, and for maps that take how those end."""

from __future__ import annotations

from typing import Any

from virtual_time import pass_time

import cascade
from cascade import Done, Failed, Skipped, settled


@cascade.task
async def odd_ones_fail(n: int) -> int:
    if n % 2:
        raise ValueError(n)
    return n


@cascade.task(name="odd_ones_fail")
def odd_ones_fail_in_threads(n: int) -> int:
    if n % 2:
        raise ValueError(n)
    return n


@cascade.task
async def tell(x: Any) -> Any:
    return said(x)


def said(x: Any) -> Any:
    """An outcome in words."""
    match x:
        case Failed(error=error, task_id=task_id, attempts=attempts, index=index):
            return f"{type(error).__name__} {error} of {task_id} ({attempts}), {index}"
        case Skipped(reason=reason):
            return f"skipped: {reason}"
        case Done(value=value):
            return "done", value
    return x


def collected(mapped: Any) -> Any:
    return mapped.with_errors("collect")


WAYS = [collected, settled]


@cascade.task
async def slow(n: Any, pause: float, fails: bool) -> Any:
    """Takes its time, and may fail then."""
    await pass_time(pause)
    if fails:
        raise ValueError(n)
    return n
