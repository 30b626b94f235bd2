"""What becomes of a value that a function has returned in a lane: it may have calls in it that are to be run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from anyio import current_effective_deadline, current_time
from anyio.abc import TaskGroup

from cascade.graph.nested import Hold, Steps
from cascade.model.errors import AttemptCancelled
from cascade.model.outcomes import Done
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.returned import find_flow, is_flow
from cascade.runtime.execution.settle import Ending
from cascade.runtime.foundation.cancellations import is_cancelled
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.frame.frame import Frame
from cascade.runtime.scheduling.lane_attempt import LaneAttempt

# Takes the node, how it ended, and when it started.
Settle = Callable[[int, Ending], None]


@attrs.define(eq=False)
class ReturnedValues:
    """Looks for calls in returned values, and goes on with what is not a value yet.

    Attributes:
        execution: The run.
        frame: Whose nodes have returned.
        settle: Called when a node has come to its end after all.
    """

    execution: RunContext
    frame: Frame
    settle: Settle = attrs.field(init=False)

    async def is_flow(self, index: int, value: Any) -> bool:
        """Whether there are lazies in *value*, returned by the node *index*, that are to be run in its place."""
        return self._is_in_place(index, await is_flow(self.execution, value, self.keeper(index)))

    def find_flow(self, index: int, value: Any) -> Steps[bool]:
        """What :meth:`is_flow` says, found in steps; for threads."""
        return self._is_in_place(index, (yield from find_flow(self.execution, value, self.keeper(index))))

    def keeper(self, index: int) -> Callable[[Hold], None]:
        """Takes what large data in the value of the node *index* is remembered by."""
        return functools.partial(self.frame.demand.holds.keep, index)

    def _is_in_place(self, index: int, has_lazies: bool) -> bool:
        if has_lazies and index in self.frame.layout.tails:
            self.frame.turn.flow = index  # which goes on in place of the flow
            return False
        return has_lazies

    def run_in_place(self, group: TaskGroup, index: int, value: Any, started: float) -> None:
        """Run the lazies in *value*, which the node *index* returned, and settle the node with what they give."""
        self.execution.tasks.spawn(group, self._run_in_place, index, value, started)

    def go_on(self, group: TaskGroup, index: int, rest: Coroutine[Any, Any, Any], started: float) -> None:
        """Go on with a node whose function, called in a thread, gave a coroutine."""
        self.execution.tasks.spawn(group, self._go_on, index, rest, started)

    async def _go_on(self, index: int, coroutine: Coroutine[Any, Any, Any], started: float) -> None:
        execution, name, task = self.execution, self.frame.name(index), self.frame.graph.task(index)
        attempt = LaneAttempt(execution, name, task, current_effective_deadline(), current_time)
        attempt_var.set(attempt)
        execution.tasks.watch.add(attempt)
        try:
            value = await coroutine
            if is_cancelled():
                raise AttemptCancelled  # swallowed, or not seen yet: the result does not count
        except BaseException as error:
            self.settle(index, Ending(classify(error, name), 1, started))
            return
        finally:
            attempt.is_over = True
            execution.tasks.watch.remove(attempt)
        if await self.is_flow(index, value):
            await self._run_in_place(index, value, started)
        else:
            self.settle(index, Ending(Done(value), 1, started))

    async def _run_in_place(self, index: int, value: Any, started: float) -> None:
        name = self.frame.name(index)
        try:
            ending = Ending(Done(await self.execution.run_flow(value, name)), 1, started)
        except BaseException as error:
            ending = Ending(classify(error, name), 1, started)
        self.settle(index, ending)
