"""What becomes of a value that a function has returned in a lane: it may have calls in it that are to be run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs
from anyio.abc import TaskGroup

from cascade.graph.nested import Hold, Steps
from cascade.model.outcomes import Done
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.classify import classify
from cascade.runtime.execution.returned import find_flow, is_flow
from cascade.runtime.execution.settle import Ending
from cascade.runtime.frame.frame import Frame

# Takes the node, how it ended, and when it started.
Settle = Callable[[int, Ending], None]


@attrs.define(eq=False)
class ReturnedValues:
    """Looks for calls in returned values, and goes on with what is not a value yet.

    Attributes:
        run_context: The run.
        frame: Whose nodes have returned.
        settle: Called when a node has come to its end after all.
    """

    run_context: RunContext
    frame: Frame
    settle: Settle = attrs.field(init=False)

    async def is_flow(self, index: int, value: Any) -> bool:
        """Whether there are lazies in *value*, returned by the node *index*, that are to be run in its place."""
        return self._is_in_place(index, await is_flow(self.run_context, value, self.keeper(index)))

    def find_flow(self, index: int, value: Any) -> Steps[bool]:
        """What :meth:`is_flow` says, found in steps; for threads."""
        return self._is_in_place(index, (yield from find_flow(self.run_context, value, self.keeper(index))))

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
        self.run_context.tasks.spawn(group, self._run_in_place, index, value, started)

    async def _run_in_place(self, index: int, value: Any, started: float) -> None:
        name, handles = self.frame.name(index), self.frame.handling.of(index)
        try:
            given = await self.run_context.run_flow(value, name, handles, None)
            ending = Ending(Done(given), 1, started)
        except BaseException as error:  # of any node of that flow; the node is settled with it
            ending = Ending(classify(error, name), 1, started)
        self.settle(index, ending)
