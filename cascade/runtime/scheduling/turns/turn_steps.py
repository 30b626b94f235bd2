"""The nodes of hot turns, called one after another: what is the same on the loop and in a thread."""

from __future__ import annotations

import enum
import time
import types
from collections.abc import Awaitable, Generator, Iterable
from contextvars import Context, copy_context
from functools import partial
from types import CoroutineType
from typing import Any, Protocol

import attrs

from cascade.graph.nested import LEAVES
from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult
from cascade.runtime.execution.binding import Arguments
from cascade.runtime.foundation.step_in_context import drive
from cascade.runtime.foundation.task_context import Token, attempt_var
from cascade.runtime.observation.tracing import Tracing
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.turns.turn_code import Call, TurnCode, Turns


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
        call: What was called, if it may fail or has.
    """

    value: Any = None
    error: BaseException | None = None
    rest: Awaitable[Any] | None = None
    call: Call | None = None

    def bound(self, task: Callee) -> Arguments | None:
        """What *task*, which was called, was called with; ``None`` if it can fail no more."""
        if self.call is None:
            return None
        func, args = self.call
        if func is not task.func and isinstance(func, partial):  # as the code gives arguments by name
            return args, func.keywords
        return args, {}


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
        call: The call that the generator has yielded last, while it is not made.
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
    call: Call | None = None
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

    def _begun(self) -> tuple[TurnCode, Call, Turns]:
        assert self.code is not None
        assert self.call is not None
        assert self.turns is not None
        call, self.call = self.call, None  # its arguments are to be gone when the next node runs
        return self.code, call, self.turns

    def drive(self, epoch: int, until: float, last: float) -> Stop:
        """Call nodes.

        Args:
            epoch: What the gate was at when it was open.
            until: When others are to have their turn, by ``time.perf_counter``.
            last: The turn that is not to be begun here.
        """
        code, call, turns = self._begun()
        send, order, asyncs = turns.send, code.order, code.asyncs
        attempts, gate, mark, copy = self.attempts, self.attempts.run_context.gate, attempt_var.set, copy_context
        number, place, end, clock = self.number, self.place, len(order) - 1, time.perf_counter
        (box, awaiting), tracing = _awaiting_calls(), attempts.run_context.events.tracing
        while place or number < last:
            # Crossing is announced before the gate is read: no node is marked as begun after a pause.
            self.is_crossing = True
            if gate.epoch != epoch:
                return self._stopped(Stop.CHANGED, number, place, call)
            attempts.current = token = (attempts, code, order[place], number)
            self.is_crossing = False
            mark(token)
            context, made = copy(), call if tracing is None else self._traced(tracing, token, call)
            try:
                value = context.run(awaiting.send, made) if asyncs[place] else context.run(made[0], *made[1])
            except BaseException as error:  # user code may raise anything, and the node is settled with that
                value = Given(error=error, call=call)
            if value is box:
                value, box[0] = box[0], None
            elif asyncs[place] and type(value) is not Given:
                value = Given(rest=_rest(context, awaiting, value, box), call=call)
            if place == end or type(value) not in LEAVES:
                value = _looked_at(value, code, None if asyncs[place] else context, is_target=place == end)
            # From here on the turn is up to whoever has taken it, or cannot be taken any more.
            self.is_crossing = True
            if type(value) is Given or self.is_taken:
                self.given, value = value if type(value) is Given else Given(value), None
                return self._stopped(Stop.GIVEN, number, place, None)
            place += 1
            if place > end:
                number, place, self.ended = number + 1, 0, self.ended + place
            try:
                call = send(value)
            except StopIteration as stop:
                self.flow, self.turns = stop.value, None
                return self._stopped(Stop.ENDED, number, 0, None)
            value = None  # the next node may take long
            if attempts.asked:
                attempts.end()
            if clock() >= until:
                return self._stopped(Stop.PAUSE, number, place, call)
        return self._stopped(Stop.DUE, number, 0, call)

    def _traced(self, tracing: Tracing, token: Token, call: Call) -> Call:
        node_id, task = self.attempts.identify(token)
        return tracing.around(call[0], task, node_id, token[3], None), call[1]

    def leave(self) -> None:
        """Let go of the present turn, which others go on with."""
        if self.turns is not None:
            self.turns.close()
        self.turns = self.call = None

    def _stopped(self, reason: Stop, number: int, place: int, call: Call | None) -> Stop:
        if reason is not Stop.GIVEN:
            self.attempts.end()
        self.number, self.place, self.call = number, place, call
        self.is_crossing = False
        return reason


def _looked_at(value: Any, code: TurnCode, context: Context | None, *, is_target: bool) -> Any:
    """*value*, which a sync function gave in *context*, or a ``Given`` if the turn cannot simply go on with it."""
    if type(value) is Given:
        return value
    if context is not None and type(value) is CoroutineType:
        return Given(rest=drive(context, value))
    is_odd = code.keeps_values and type(value) is not LazyResult if is_target else not code.is_plain(value)
    return Given(value) if is_odd else value


def _awaiting_calls() -> tuple[list[Any], Generator[Any, Call, None]]:
    """A box, and what awaits the calls that are sent to it: see :func:`_awaiting`."""
    box: list[Any] = [None]
    awaiting = _awaiting(box)
    next(awaiting)
    return box, awaiting


@types.coroutine
def _awaiting(box: list[Any]) -> Generator[Any, Call, None]:
    """Await the coroutine of each call that is sent: no exception has to be made for its value, as its end is one.

    Yields what it waits with; and *box*, with its value inside, when it has ended.
    """
    while True:
        func, args = yield box
        coroutine = func(*args)
        del func, args  # the next node may take long
        box[0] = yield from coroutine


@types.coroutine
def _rest(
    context: Context, awaiting: Generator[Any, Any, Any], yielded: Any, box: list[Any]
) -> Generator[Any, Any, Any]:
    """What the coroutine gives that *awaiting* awaits, and that has *yielded* from its first step."""
    run = context.run
    while yielded is not box:
        step, sent = awaiting.send, None
        try:
            sent = yield yielded
        except BaseException as error:  # a cancellation, say: for the coroutine to see
            step, sent = awaiting.throw, error
        try:
            yielded = run(step, sent)
        finally:
            del step, sent
    value, box[0] = box[0], None
    return value
