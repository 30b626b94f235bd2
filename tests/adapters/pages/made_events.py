"""Events of runs that have not been: for documents of any size, at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import attrs

from cascade.events import (
    Event,
    RunFinished,
    RunStarted,
    TaskExecutionFinished,
    TaskExecutionStarted,
)

BEGAN = 1_700_000_000.0


@attrs.define
class Told:
    """Makes the events of one run, in order."""

    run_id: str = "made"
    _numbers: Iterator[int] = attrs.field(factory=lambda: count(1))

    def __call__(self, kind: type[Event], at: float, **fields: Any) -> Event:
        """An event of class *kind*, so many seconds after the run began."""
        return kind(seq=next(self._numbers), timestamp=BEGAN + at, run_id=self.run_id, **fields)

    def node(
        self, node_id: str, start: float, end: float, status: str = "Succeeded", **more: Any
    ) -> Iterator[Event]:
        """The events of a node."""
        named = {"task_id": node_id, "task_name": node_id.partition("[")[0].partition("#")[0]}
        yield self(TaskExecutionStarted, start, **named)
        finished = {"status": status, "duration": end - start, "attempt": 1} | more
        yield self(TaskExecutionFinished, end, **named, **finished)


def made_run(size: int, failing: int = 3, workers: int = 8) -> Iterator[Event]:
    """A map of *size* items and what sums them up; the first items fail, and a worker does one item at a time."""
    told = Told()
    yield told(
        RunStarted, 0, target_tasks=("sum_up",), params={"day": "2024-05-01"}, maps={"load": {"load": size}}
    )
    yield told(TaskExecutionStarted, 0, task_id="load", task_name="load", items=size)
    end = 0.0
    for item in range(size):
        start = 0.01 * (item // workers)
        end = start + 0.004 + 0.005 * (item % 7) / 7
        error: dict[str, Any] = {"error": f"ValueError: page {item}", "handled": True} if item < failing else {}
        yield from told.node(f"load[{item}]", start, end, "Failed" if error else "Succeeded", **error)
    yield told(
        TaskExecutionFinished, end, task_id="load", task_name="load", status="Succeeded", duration=end, attempt=1
    )
    yield from told.node("sum_up", end, end + 0.5)
    yield told(
        RunFinished, end + 0.5, status="Succeeded", duration=end + 0.5, error=None, failures=(),
        counts={"succeeded": size + 2 - failing, "failed": failing},
    )  # fmt: skip
