"""Maps: a call per row, in a nursery of their own."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import anyio
import attrs

from cascade.graph.nodes import MapNode
from cascade.model.events import TaskExecutionStarted
from cascade.model.outcomes import Cancelled, Done, Failed, Outcome
from cascade.runtime.binding import Arguments, NodeSlots, amounts, arguments, rows
from cascade.runtime.execution import Execution
from cascade.runtime.frame import Frame
from cascade.runtime.node import Job, classify, live
from cascade.runtime.settle import Ending, Settled, record


async def live_map(execution: Execution, frame: Frame, node: MapNode, job: Job) -> Ending:
    """Run all items of a map; its value is the list of theirs, in input order.

    The map itself claims nothing and holds no thread. If cancelled, its items are.

    Args:
        execution: The run.
        frame: Where the columns come from.
        node: The map.
        job: What the map would be as a single call; its items are like it but for arguments and id.
    """
    started = anyio.current_time()
    execution.emit_node(TaskExecutionStarted, job)
    try:
        mapping = Mapping(execution, frame, node, job, rows(frame, node), dict(amounts(frame, node)))
        return Ending(await mapping.run(), attempts=1, started=started)
    except BaseException as error:
        return Ending(classify(error, job.node_id), attempts=1, started=started)


@attrs.define(eq=False)
class Mapping:
    """The items of one map."""

    execution: Execution
    frame: Frame
    node: MapNode
    job: Job
    rows: list[dict[str, Any]]
    claimed: dict[str, Any]
    results: list[Any] = attrs.field(init=False)
    errors: list[BaseException] = attrs.field(factory=list)
    cancelled: int = 0

    def __attrs_post_init__(self) -> None:
        self.results = [None] * len(self.rows)

    async def run(self) -> Outcome:
        """Run the items, as many at once as the map allows."""
        items = iter(range(len(self.rows)))
        limit = self.node.terms.concurrency or len(self.rows)
        async with anyio.create_task_group() as group:
            for _ in range(min(limit, len(self.rows))):
                self.execution.spawn(group, self._work, items)
        if self.errors:
            return Failed(self.errors[0])
        return Cancelled() if self.cancelled else Done(self.results)

    async def _work(self, items: Iterator[int]) -> None:
        """Run one item after another; without a limit there is a worker for each."""
        for item in items:
            await self._item(item)
            if self.execution.is_halted or self.node.terms.concurrency is None:
                return

    async def _item(self, item: int) -> None:
        job = attrs.evolve(
            self.job,
            node_id=f"{self.job.node_id}[{item}]",
            bind=functools.partial(self._bind, item),
            amounts=lambda: self.claimed,
            save_later=None,
        )
        ending = await live(self.execution, job)
        if self.execution.is_halted and isinstance(ending.outcome, Done):
            ending = attrs.evolve(ending, outcome=Cancelled())
        retry = job.terms.retry
        record(self.execution, Settled(job.node_id, job.task, retry.max_attempts if retry else 1), ending)
        match ending.outcome:
            case Done(value=value):
                self.results[item] = value
            case Failed(error=error):
                self.errors.append(error)
            case _:
                self.cancelled += 1

    def _bind(self, item: int, resources: Any) -> Arguments:
        shared = arguments(NodeSlots(self.frame, resources), self.node)
        return Arguments(shared.args, {**shared.kwargs, **self.rows[item]})
