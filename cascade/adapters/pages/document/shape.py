"""What documents from events and from records have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from cascade.adapters.observers.tally import TaskTally
from cascade.model.secrets import redacted

# Raised when a section changes its meaning or goes.
VERSION: Final = 1
# Tasks that are listed: the largest ones.
MOST_TASKS: Final = 100
# What stands for all other tasks.
OTHERS: Final = "(others)"
_COUNTS: Final = (
    "succeeded", "failed", "cancelled", "skipped", "cached", "recorded", "running", "waiting", "retries", "undone",
)  # fmt: skip


def numbers_of(task: TaskTally) -> dict[str, int]:
    """How many nodes of *task* are in each state."""
    return {name: getattr(task, name) for name in _COUNTS}


def sum_of(tasks: Iterable[TaskTally]) -> TaskTally:
    """The numbers of all *tasks* together."""
    total = TaskTally("")
    for task in tasks:
        for name in (*_COUNTS, "seconds"):
            setattr(total, name, getattr(total, name) + getattr(task, name))
    return total


def tasks_of(tasks: Iterable[TaskTally]) -> tuple[list[dict[str, Any]], int]:
    """The largest of *tasks*, in their order, as a page reads them; and how many are left out."""
    known = list(tasks)
    shown = known
    if len(known) > MOST_TASKS:
        largest = sorted(known, key=lambda task: -task.total)[:MOST_TASKS]
        names = {task.name for task in largest}
        shown = [task for task in known if task.name in names]
    return [_row(task) for task in shown], len(known) - len(shown)


def tasks_counted(tasks: Iterable[TaskTally]) -> list[dict[str, Any]]:
    """All *tasks* as rows: the first ones, and one row for all others. So no row goes, and no count gets less."""
    known = list(tasks)
    others = sum_of(known[MOST_TASKS:])
    others.name = OTHERS
    return [_row(task) for task in [*known[:MOST_TASKS], *([others] if len(known) > MOST_TASKS else [])]]


def _row(task: TaskTally) -> dict[str, Any]:
    return {
        "name": task.name,
        "total": task.total,
        "ran": task.ran,
        "seconds": round(task.seconds, 6),
        **numbers_of(task),
    }


def hidden(value: Any) -> Any:
    """*value*, plain data, without the secrets in force, and without numbers that JSON does not know."""
    if type(value) is str:
        return redacted(value)
    if type(value) in (list, tuple):
        return [hidden(item) for item in value]
    if type(value) is dict:
        return {redacted(key): hidden(item) for key, item in value.items()}
    if type(value) is float and not math.isfinite(value):
        return None
    return value
