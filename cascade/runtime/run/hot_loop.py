"""The hot turns of one loop: when they are made, and what becomes of the rest of one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
import attrs
from anyio import current_time
from anyio.abc import TaskGroup

from cascade.graph.nested import Holds
from cascade.graph.nodes import Node
from cascade.graph.shapes import emptied
from cascade.model.outcomes import Status
from cascade.planning.layout import Place
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.returned import is_flow
from cascade.runtime.frame.frame import Frame
from cascade.runtime.run.preparation import Prepared
from cascade.runtime.run.turn_codes import TurnCodes
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.scheduler import Scheduler
from cascade.runtime.scheduling.turns.hot_thread_turns import HotThreadTurns
from cascade.runtime.scheduling.turns.hot_turns import HotTurns, may_be_hot
from cascade.runtime.scheduling.turns.turn_steps import TurnSteps

# Turns that are made in frames after one that could not be made in code, if that goes on.
_MOST_COLD: Final = 1024


@attrs.frozen(eq=False)
class Made:
    """What a turn, or a number of them, gave.

    Attributes:
        value: What the last one gave.
        turns: Its number.
        is_flow: Whether the loop goes on with the value.
    """

    value: Any
    turns: int
    is_flow: bool


@attrs.frozen(eq=False)
class PresentTurn:
    """The turn that is made in code at present, for whoever cancels a node of it."""

    show: Callable[[], Frame]

    @property
    def frame(self) -> Frame:
        """A frame that shows it."""
        return self.show()

    def cancel(self, index: int) -> None:
        """Nothing: the gate has changed, so a frame goes on, and that settles the node."""

    def cut_off(self) -> None:
        """Nothing: the gate has changed, so no other node begins, and its task is cancelled."""

    def let_go(self) -> None:
        """Nothing: the steps let go of turns as they go."""


@attrs.define(eq=False)
class HotLoop:
    """Makes turns of one loop in code.

    Attributes:
        run_context: The run.
        prefix: What stands before its node ids.
        is_top: Whether it is the run's own.
        begin: Makes a scheduler for a turn: of what was prepared, with its number.
        run: Runs what of such a turn has not run.
        collect: What it gave then.
        first: The turn that the loop began with, if it went on from a record.
        codes: The code that there is for its turns.
    """

    run_context: RunContext
    prefix: str
    is_top: bool
    begin: Callable[[Prepared, int], Scheduler]
    run: Callable[[Scheduler, Prepared], Awaitable[None]]
    collect: Callable[[Scheduler], Made]
    first: int = 1
    codes: TurnCodes = attrs.field(init=False)
    # The turn from which on it is tried again, and how many are left out next time.
    _cold_until: int = 0
    _cold: int = 1

    def __attrs_post_init__(self) -> None:
        self.codes = TurnCodes(self.run_context, self.prefix)

    async def make_turns(self, prepared: Prepared, number: int) -> Made | None:
        """Make turns from *number* on, the first of which is *prepared*; ``None`` if none could be made."""
        run_context = self.run_context
        code, recovery = prepared.code, run_context.store.recovery
        if code is None or number < self._cold_until or not may_be_hot(run_context):
            return None
        if recovery is not None and (number == 1 or number == self.first):
            return None  # what is recorded of it has to be looked at
        self.codes.lent[code] = prepared
        steps = self._steps_from(prepared, number)
        try:
            if not steps.begin():
                return None
            emptied(prepared.graph)  # in a long loop, the first turn would be kept for as long
            return await self._make_turns(steps)
        finally:
            self.codes.give_back(prepared)

    def _steps_from(self, prepared: Prepared, number: int) -> TurnSteps:
        """The steps that begin with *prepared*. Nothing but them holds its flow, and they let go of it."""
        row = prepared.graph.rows[-1]
        attempts = LaneAttempts(
            self.run_context, lambda token: self.codes.node_of(token[1], token[2]), current_time
        )
        return TurnSteps(attempts, self.codes, row.call if isinstance(row, Node) else row, number)

    async def _make_turns(self, steps: TurnSteps) -> Made | None:
        run_context, number = self.run_context, steps.number
        progress = run_context.progress
        kind = HotTurns if self.codes.place == Place.LOOP else HotThreadTurns
        hot = kind(run_context, self, steps)
        progress.turning[self.prefix] = steps.present_number
        run_context.lifecycle.nodes.enter(self.prefix, PresentTurn(partial(self._shown, steps)))
        if self.is_top:  # who looks at the run sees the present turn
            progress.frame, progress.in_code = None, partial(self._shown, steps)
        self._note_when_due(hot)
        progress.lagging.add(hot.untold)
        try:
            async with anyio.create_task_group() as hot.group:
                await self._see_to_end(hot)
        finally:
            progress.lagging.discard(hot.untold)
            if hot.scheduler is None:
                self._note_present(steps, steps.number)
            if self.is_top:
                progress.frame, progress.in_code = progress.present(), None
        self._cool_down(hot, number)
        if hot.scheduler is not None:
            return self.collect(hot.scheduler)
        if steps.number == number:
            self.codes.fill(steps)  # which the loop runs in a frame
            return None
        value, holds = steps.present_flow(), Holds()
        goes_on = await is_flow(run_context, value, partial(holds.keep, 0))
        holds.release()
        return Made(value, steps.number - 1, goes_on)

    async def _see_to_end(self, hot: HotTurns) -> None:
        """Make turns in code, and then what could not be made so of the last one."""
        run_context = self.run_context
        run_context.tasks.spawn(hot.group, hot.run)
        try:
            await hot.done.wait()
            if hot.scheduler is not None:
                assert hot.steps.code is not None
                await self.run(hot.scheduler, self.codes.lent[hot.steps.code])
        except BaseException:
            if not run_context.lifecycle.nodes.is_part(self.prefix):  # else the gate has changed
                run_context.lifecycle.halt()  # a thread looks only at that, and the group waits for it
            raise

    def _note_when_due(self, hot: HotTurns) -> None:
        """Find out when it has to end, so that the beginning of a turn is recorded."""
        journal = self.run_context.store.journal
        if journal is not None and journal.keeps_turns and self.is_top:
            turns, seconds = journal.until_next_turn(hot.steps.number)
            hot.last, hot.last_time = hot.steps.number + turns, time.perf_counter() + seconds

    def _note_present(self, steps: TurnSteps, number: int) -> None:
        """Tell the journal which turn the loop is in, if that has begun and is not recorded."""
        journal = self.run_context.store.journal
        if journal is not None and journal.backend.keeps_loops and self.is_top and steps.turns is not None:
            journal.go_on_in(number, steps.present_flow())

    def _cool_down(self, hot: HotTurns, since: int) -> None:
        """Leave out the more turns, the fewer could be made."""
        made = hot.steps.number - since
        self.codes.made += made
        self._cold = min(2 * self._cold, _MOST_COLD) if made < 2 * self._cold else 1
        self._cold_until = hot.steps.number + self._cold if hot.scheduler is not None else 0

    def _shown(self, steps: TurnSteps) -> Frame:
        """A frame that shows the present turn, or the last one if there is none."""
        assert steps.code is not None
        prepared, order, current = self.codes.lent[steps.code], steps.code.order, steps.attempts.current
        frame = Frame.begin(prepared.graph, prepared.layout, prepared.inputs, self.prefix)
        place = len(order) if steps.turns is None else steps.place
        if current is not None:
            place = order.index(current[2])
        for index in order[:place]:
            frame.status[index] = Status.SUCCEEDED
        frame.readiness.unsettled -= place
        if current is not None:
            frame.status[current[2]] = Status.RUNNING
        return frame

    def resume(
        self, steps: TurnSteps, number: int, place: int, running: int | None, group: TaskGroup
    ) -> Scheduler:
        """A scheduler of the turn *number*, whose first *place* nodes have settled; one may be *running*."""
        code, turns = steps.code, steps.turns
        assert code is not None
        assert turns is not None
        self._note_present(steps, number)
        self.run_context.progress.in_code = None
        prepared = self.codes.lent[code]
        self.codes.fill(steps)
        scheduler = self.begin(prepared, number)
        scheduler.context.group = group
        scheduler.take_over(code.values(turns, place), running)
        return scheduler
