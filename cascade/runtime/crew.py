"""Those who do the work of a frame: launches nodes into a nursery, and settles what they give."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import anyio
import attrs
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from cascade.graph.nodes import MapNode, Node
from cascade.model.outcomes import Cancelled, Done, Failed, Outcome, Skipped, SkipReason, Status
from cascade.runtime.binding import NodeSlots, amounts, arguments, injected_names, judge
from cascade.runtime.execution import Execution
from cascade.runtime.frame import Frame
from cascade.runtime.maps import live_map
from cascade.runtime.node import Job, Save, classify, live
from cascade.runtime.settle import Ending, Settled, record

# Nodes started between two looks at the rest of the program; starting one costs some 30 microseconds.
AT_ONCE: Final = 32


@attrs.define(eq=False)
class Crew:
    """Runs nodes of one frame.

    Attributes:
        execution: The run.
        frame: What is run.
        group: Where nodes are started at present.
        is_eager: Whether a node is launched as soon as it is ready.
        saves: What is to be done with the final value of the flow.
    """

    execution: Execution
    frame: Frame
    group: TaskGroup
    is_eager: bool
    saves: list[Save]
    _queue: deque[int] = attrs.field(factory=deque)
    _in_flight: int = 0
    _news: anyio.Event = attrs.field(factory=anyio.Event)

    async def run(self, indices: Iterable[int]) -> None:
        """Run those of *indices* that are ready, and in the eager schedule all that becomes ready by that.

        If cancelled, nothing of the run starts any more; what was started is left to the group.
        """
        self._queue.extend(indices)
        try:
            self.absorb()
            while self._queue or self._in_flight:
                if self._queue:
                    self._start_some()
                    await checkpoint()
                else:
                    self._news = anyio.Event()
                    await self._news.wait()
        except BaseException:
            self.execution.halt()
            raise

    def absorb(self) -> None:
        """Deal with what settling has led to, until nothing follows any more."""
        frame = self.frame
        while frame.news:
            news = frame.take_news()
            for index in news.pruned:
                record(self.execution, self._settled(index), Ending(Skipped(SkipReason.PRUNED)))
            for index, error in news.faults:
                note = f"raised by {frame.name(index)!r} while choosing a route in run {self.execution.run_id!r}"
                self.execution.fail_node(error, frame.name(index), note)
            if self.is_eager:
                self._queue.extend(news.ready)
                self._start_some()

    def _start_some(self) -> None:
        """Start nodes from the queue, for no longer than others can be kept waiting."""
        for _ in range(min(len(self._queue), AT_ONCE)):
            index = self._queue.popleft()
            is_ready = self.frame.status[index] == Status.PENDING and not self.frame.pending[index]
            if is_ready and not self.execution.is_halted:
                self._start(index)

    # -- one node ------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        node = self.frame.graph.nodes[index]
        assert isinstance(node, Node)  # routers are settled by the frame
        try:
            skip = judge(self.frame, node)
        except Exception as error:  # a condition's truth is user code
            self._settle(node, Ending(Failed(error)))
            return
        if skip is not None:
            record(self.execution, self._settled(index), Ending(Skipped(skip.reason)))
            self.frame.skip(index, skip.reason, skip.passed)
            return
        self.frame.status[index] = Status.RUNNING
        self._in_flight += 1
        self.execution.spawn(self.group, self._live, node)

    async def _live(self, node: Node) -> None:
        try:
            ending = await self._ending(node)
        except BaseException as error:
            ending = Ending(classify(error, self.frame.name(node.index)))
        self._settle(node, ending)
        self.absorb()
        self._in_flight -= 1
        if self._queue or not self._in_flight:
            self._news.set()

    async def _ending(self, node: Node) -> Ending:
        job = self._job(node)
        if isinstance(node, MapNode):
            return await live_map(self.execution, self.frame, node, job)
        return await live(self.execution, job)

    def _job(self, node: Node) -> Job:
        frame = self.frame
        is_tail = node.index in frame.layout.tails
        return Job(
            frame.name(node.index),
            node.task,
            node.terms,
            bind=lambda resources: arguments(NodeSlots(frame, resources), node),
            amounts=functools.partial(amounts, frame, node),
            resources=injected_names(node),
            save_later=self.saves.append if is_tail else None,
        )

    def _settle(self, node: Node, ending: Ending) -> None:
        outcome: Outcome = ending.outcome
        if self.execution.is_halted and isinstance(outcome, Done):
            ending = attrs.evolve(ending, outcome=Cancelled())
            outcome = ending.outcome
        record(self.execution, self._settled(node.index), ending)
        match outcome:
            case Done(value=value):
                self.frame.succeed(node.index, value)
            case Failed(error=error):
                self.frame.fail(node.index, error)
            case _:
                self.frame.fail(node.index, None)

    def _settled(self, index: int) -> Settled:
        node: Any = self.frame.graph.nodes[index]
        retry = node.terms.retry
        return Settled(self.frame.name(index), node.task, 1 if retry is None else retry.max_attempts)
