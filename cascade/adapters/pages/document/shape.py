"""What documents from events and from records have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

from cascade.adapters.observers.tally import State, TaskTally
from cascade.model.shown.secrets import redacted

# Raised when a section changes its meaning or goes.
VERSION: Final = 1
# Tasks that are listed: the largest ones.
MOST_TASKS: Final = 100
# What stands for all other tasks.
OTHERS: Final = "(others)"


def numbers_of(*tasks: TaskTally) -> dict[str, int]:
    """How many nodes of *tasks* together are in each state."""
    return {state: sum(task.counts[state] for task in tasks) for state in get_args(State)}


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
    shown, rest = known[:MOST_TASKS], known[MOST_TASKS:]
    return [_row(task) for task in [*shown, *([_together(rest)] if rest else [])]]


def _together(tasks: Sequence[TaskTally]) -> TaskTally:
    others = TaskTally(OTHERS, sum(task.total for task in tasks), seconds=sum(task.seconds for task in tasks))
    for task in tasks:
        others.counts.update(task.counts)
        others.handled_before += task.handled_before
    return others


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
