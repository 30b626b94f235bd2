"""The nodes of hot turns, called one after another: what is the same on the loop and in a thread."""

from __future__ import annotations

import enum
import time
from collections.abc import Awaitable, Iterable
from contextvars import copy_context
from types import CoroutineType
from typing import Any, Protocol

import attrs

from cascade.graph.nested import LEAVES
from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult
from cascade.runtime.foundation.step_in_context import drive, step
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.turns.turn_code import TurnCode, Turns


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


@attrs.frozen(eq=False)
class Given:
    """What a node gave whose turn cannot simply go on.

    Attributes:
        value: What it returned.
        error: What it raised.
        rest: What is left of its coroutine.
    """

    value: Any = None
    error: BaseException | None = None
    rest: Awaitable[Any] | None = None


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
        call: The call that the generator has yielded last.
        given: What the present node gave, if that is not simply a value.
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
    call: tuple[Any, ...] = ()
    given: Given | None = None

    def begin(self) -> bool:
        """Find code for the flow, if there is none yet; returns whether there is."""
        if self.turns is None and type(self.flow) is LazyResult:
            for code in self.codes.codes_for(self.flow):
                turns = code.begin(self.flow)
                call = next(turns, None)
                if call is not None:
                    self.code, self.turns, self.call, self.flow = code, turns, call, None
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
        assert self.code is not None
        assert self.turns is not None
        code, send, order, asyncs = self.code, self.turns.send, self.code.order, self.code.asyncs
        attempts, gate = self.attempts, self.attempts.execution.gate
        mark, clock = attempt_var.set, time.perf_counter
        number, place, end = self.number, self.place, len(order) - 1
        while place or number < last:
            # Crossing is announced before the gate is read: no node is marked as begun after a pause.
            self.is_crossing = True
            if gate.epoch != epoch:
                return self._stopped(Stop.CHANGED, number, place)
            attempts.current = token = (attempts, code, order[place], number)
            self.is_crossing = False
            mark(token)
            value = self._value(code, asyncs[place], place == end)
            # From here on the turn is up to whoever has taken it, or cannot be taken any more.
            self.is_crossing = True
            if self.given is not None or self.is_taken:
                self.given = self.given or Given(value)
                return self._stopped(Stop.GIVEN, number, place)
            if attempts.asked:
                attempts.end()
            if place == end:
                self.ended += end + 1
                number, place = number + 1, 0
                try:
                    self.call = send(value)
                except StopIteration as stop:
                    self.flow, self.turns = stop.value, None
                    return self._stopped(Stop.ENDED, number, 0)
            else:
                place += 1
                self.call = send(value)
            value = None  # the next node may take long
            if clock() >= until:
                return self._stopped(Stop.PAUSE, number, place)
        return self._stopped(Stop.DUE, number, 0)

    def _value(self, code: TurnCode, is_async: bool, is_target: bool) -> Any:
        """Make the present call; ``given`` is set if it has not simply given a value."""
        context = copy_context()
        try:
            value = context.run(*self.call)
            if is_async:
                value, rest = step(context, value)
                if rest is not None:
                    self.given = Given(rest=rest)
            elif type(value) is CoroutineType:
                self.given = Given(rest=drive(context, value))
            if code.is_odd(value) if is_target else type(value) not in LEAVES and not code.is_plain(value):
                self.given = self.given or Given(value)
        except BaseException as error:  # user code may raise anything, and the node is settled with that
            self.given = Given(error=error)
            return None
        return value

    def leave(self) -> None:
        """Let go of the present turn, which others go on with."""
        if self.turns is not None:
            self.turns.close()
        self.turns, self.call = None, ()

    def _stopped(self, reason: Stop, number: int, place: int) -> Stop:
        if reason is not Stop.GIVEN:
            self.attempts.end()
        self.number, self.place = number, place
        self.is_crossing = False
        return reason
