"""The nodes of hot turns, called one after another: what is the same on the loop and in a thread."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable
from contextvars import Context, copy_context
from typing import Any, Protocol

import attrs

from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.turns.turn_code import NEXT, TurnCode, Turns


class Codes(Protocol):
    """The code for turns that a loop knows."""

    def codes_for(self, flow: LazyResult[Any]) -> Iterable[TurnCode]:
        """Code that may fit *flow*."""
        ...

    def node_of(self, code: TurnCode, index: int) -> tuple[str, Callee]:
        """The id of a node of the turns that *code* makes, and its task."""
        ...


class Stop(enum.Enum):
    """Why no node is called at present."""

    # The gate is not what it was.
    CHANGED = enum.auto()
    # Others should have their turn.
    PAUSE = enum.auto()
    # The beginning of the present turn is to be recorded.
    DUE = enum.auto()
    # A node has not simply ended: it waits, has raised, or gave something that has to be looked at closely.
    GIVEN = enum.auto()
    # What is left is for a frame.
    LEFT = enum.auto()
    # The last turn gave a value that is no flow of the same shape.
    ENDED = enum.auto()


@attrs.define(eq=False)
class TurnSteps:
    """Makes turns, node after node, until something else has to be done.

    Attributes:
        attempts: Those of its nodes. A token is about a code, a node and a turn.
        codes: What turns can be made with.
        flow: What the last turn gave, or the flow of the first one, while there is no code for it.
        number: The number of the present turn.
        code: The code of the present turn.
        turns: Its generator, which stands still.
        place: How many nodes of the present turn have ended.
        ended: How many nodes have ended in all turns before it.
        is_crossing: Whether it is between the gate and a function.
        is_taken: Whether others go on with the turn: no further node is to be called.
        given: What the generator yielded last, if that is not ``NEXT``.
        context: Where the current node runs.
    """

    attempts: LaneAttempts
    codes: Codes
    flow: Any
    number: int
    code: TurnCode | None = None
    turns: Turns | None = None
    place: int = 0
    ended: int = 0
    is_crossing: bool = False
    is_taken: bool = False
    given: Any = None
    context: Context | None = None

    def begin(self) -> bool:
        """Find code for the flow, if there is none yet; returns whether there is."""
        if self.turns is None and type(self.flow) is LazyResult:
            for code in self.codes.codes_for(self.flow):
                turns = code.begin(self.flow)
                if next(turns, None) is NEXT:
                    self.code, self.turns, self.flow = code, turns, None
                    break
        return self.turns is not None

    def present_flow(self) -> Any:
        """The flow of the present turn; what the last turn gave, if that is none of a known shape."""
        if self.code is None or self.turns is None:
            return self.flow
        return self.code.calls(self.turns)[-1]

    def present_number(self) -> int:
        """The number of the present turn. Asked in any thread."""
        current = self.attempts.current
        return self.number if current is None else current[3]

    def last_name(self) -> str:
        """The id of the node that ran last."""
        assert self.code is not None
        return self.codes.node_of(self.code, self.code.order[self.place - 1])[0]

    def drive(self, epoch: int, until: float, last: float) -> Stop:
        """Call nodes.

        Args:
            epoch: What the gate was at when it was open.
            until: When others are to have their turn, by ``time.perf_counter``.
            last: The turn that is not to be begun here.
        """
        try:
            return self._drive(epoch, until, last)
        except StopIteration as stop:
            assert self.code is not None
            assert self.attempts.current is not None
            number = self.attempts.current[3]
            self.flow, self.turns = stop.value, None
            self.ended += len(self.code.order)
            return self._stopped(Stop.ENDED, number + 1, 0)

    def _drive(self, epoch: int, until: float, last: float) -> Stop:
        assert self.code is not None
        assert self.turns is not None
        code, send, order = self.code, self.turns.send, self.code.order
        attempts, gate = self.attempts, self.attempts.execution.gate
        mark, copy, clock = attempt_var.set, copy_context, time.perf_counter
        asked, size, number, start = attempts.asked, len(order), self.number, self.place
        place = start
        while number < last:
            for place in range(start, size):
                # Crossing is announced before the gate is read: no node is marked as begun after a pause.
                self.is_crossing = True
                if gate.epoch != epoch or self.is_taken:
                    return self._stopped(Stop.CHANGED, number, place)
                attempts.current = token = (attempts, code, order[place], number)
                self.is_crossing = False
                mark(token)
                context = copy()
                given = context.run(send, None)
                if given is NEXT and not asked and clock() < until:
                    continue
                if given is not NEXT:
                    self.given, self.context = given, context
                    return self._stopped(Stop.GIVEN, number, place)
                attempts.end()
                if clock() >= until:
                    return self._stopped(Stop.PAUSE, number, place + 1)
            number, start = number + 1, 0
            self.ended += size
        return self._stopped(Stop.DUE, number, 0)

    def _stopped(self, reason: Stop, number: int, place: int) -> Stop:
        assert self.code is not None
        if reason is not Stop.GIVEN:
            self.attempts.end()
        if place == len(self.code.order):
            self.ended += place
            number, place = number + 1, 0
        self.number, self.place = number, place
        self.is_crossing = False
        return reason
