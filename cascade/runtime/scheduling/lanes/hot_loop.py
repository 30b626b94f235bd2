"""Turns of a loop that one lane makes: when the only node of a flow returns another such flow.

Building, planning and starting anew would lead to the very same: the same call in the same kind of lane, under
the same gate. So the lane makes that call itself. Whatever is not as plain as that ends the lane's part, and the
lazy is returned as the value that it is; the loop goes on from there.

Turns are counted on the event loop every millisecond, not one by one.
"""

from __future__ import annotations

import time
from typing import Any, Final

import attrs

from cascade.graph.nested import LEAVES, glance, is_flat
from cascade.model.calls.callee import Callee
from cascade.model.events import LoopProgress, StageFinished, StageStarted
from cascade.model.lazies import LazyResult
from cascade.model.outcomes import Status
from cascade.model.policies import NOTHING_SAID
from cascade.planning.layout import Place, place_of_task
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.journal import Journal
from cascade.runtime.frame.frame import Frame

# Turns between two LoopProgress events.
PROGRESS_EVERY: Final = 1000
# Tasks whose place is remembered.
MOST_PLACES: Final = 64


@attrs.frozen
class Due:
    """When a lane has to end its part of a loop, so that the beginning of a turn is recorded.

    Attributes:
        made: After how many turns of the lane.
        at: At the latest; a reading of the performance counter.
    """

    made: int
    at: float

    @classmethod
    def after(cls, turns: int, journal: Journal) -> Due:
        """What *journal* says of a loop that has made so many *turns*."""
        more, seconds = journal.until_next_turn(turns)
        return cls(more - 1, time.perf_counter() + seconds)

    def has_come(self, made: int) -> bool:
        """Whether a lane that has *made* so many turns has to end its part now. Asked in any thread."""
        return made >= self.made or time.perf_counter() >= self.at


@attrs.define(eq=False)
class Turns:
    """The turns that a lane makes of a frame of one node.

    Attributes:
        execution: The run.
        frame: Its frame.
    """

    execution: RunContext
    frame: Frame
    _epoch: int = -1
    _is_hot: bool = False
    _place: int = Place.OWN
    # Turns that have been made, in whatever thread; and those that have been counted, on the loop.
    _before: int = 1
    _made: int = 0
    _counted: int = 0
    _last: LazyResult[Any] | None = None
    # When a turn is to be recorded; None if none is.
    _due: Due | None = None
    # For each task of which nothing is said, where its calls are made.
    _places: dict[Callee, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._before = self.frame.turn.number
        if not self.frame.is_map:
            self.execution.progress.turning[self.frame.prefix] = self._now
        journal = self.execution.store.journal
        if journal is not None and journal.keeps_turns and self._is_top():
            self._due = Due.after(self.frame.turn.number, journal)

    def _now(self) -> int:
        return self._before + self._made

    def may_follow(self, value: LazyResult[Any], args: tuple[Any, ...]) -> bool:
        """Whether *value*, a call with *args* that the node has returned, may be made by its lane.

        Asked in any thread.
        """
        gate = self.execution.admission.gate
        if self._due is not None and self._due.has_come(self._made):
            return False
        if self._epoch != gate.epoch:
            self._epoch = gate.epoch
            self._is_hot = self._may_be_made()
        if not self._is_hot or self.execution.lifecycle.is_halted:
            return False
        place = self._places.get(value.task)
        if place is None:
            place = self._find_place(value.task)
        if place != self._place:
            return False
        for arg in args:  # a generator would cost more than all the rest
            if type(arg) not in LEAVES and not self._is_literal(arg):
                return False
        return not value.kwargs or all(map(self._is_literal, value.kwargs.values()))

    def _is_literal(self, value: Any) -> bool:
        """Whether there is certainly no placeholder in *value*, as far as that can be told at once."""
        is_plain = glance(value)
        if is_plain is None:
            return self.execution.memory.hold.seen.knows(value) or is_flat(value)
        return is_plain

    def _find_place(self, task: Callee) -> int:
        if len(self._places) == MOST_PLACES:  # a loop may make each of its tasks anew
            self._places.clear()
        is_plain = task.policies is NOTHING_SAID
        place = self._places[task] = place_of_task(task) if is_plain else Place.OWN
        return place

    def _may_be_made(self) -> bool:
        """Whether any lane may: the frame is a single plain call, no rule stands, and nobody is told of nodes."""
        execution, frame = self.execution, self.frame
        self._place = frame.layout.places[0] if frame.layout.places else Place.OWN
        return (
            frame.graph.target == 0
            and frame.layout.calls == len(frame.graph.rows) == 1
            and 0 in frame.layout.tails
            and self._place != Place.OWN
            and (execution.store.journal is None or execution.settings.durability != "task")
            and execution.settings.solver is None
            and not execution.admission.holding.rules
            and execution.bus.full() is None
            and not execution.lifecycle.is_draining
            and not execution.events.wants_attempts()
            and not execution.events.wants(StageStarted)
            and not execution.events.wants(StageFinished)
        )

    def _is_top(self) -> bool:
        return self.execution.progress.frame is self.frame

    def follow(self, value: LazyResult[Any]) -> str:
        """The lane makes this call now; returns the id of its node."""
        self._made += 1
        self._last = value
        return self.frame.prefix + value.task.name

    def count(self) -> None:
        """Count the turns made so far, each a node that succeeded; on the loop."""
        made, last = self._made, self._last
        if made == self._counted or last is None:
            return
        fresh, self._counted = made - self._counted, made
        self.execution.progress.counts[Status.SUCCEEDED] += fresh
        # A single call without sources, as the first was.
        self.frame.graph = attrs.evolve(self.frame.graph, rows=[last], ordinals=[1])
        turns = self.frame.turn.number
        self.frame.turn.number += fresh
        journal = self.execution.store.journal
        if journal is not None and journal.backend.keeps_loops and self._is_top():
            journal.go_on_in(self.frame.turn.number, last)
        progressed(self.execution, last.task.name, turns, self.frame.turn.number)


def progressed(execution: RunContext, task_name: str, before: int, turns: int) -> None:
    """Tell now and then how many turns a loop has made, if nobody is told of each node."""
    if before // PROGRESS_EVERY != turns // PROGRESS_EVERY and not execution.events.wants_attempts():
        execution.events.emit(LoopProgress, task_name=task_name, turns=turns)
