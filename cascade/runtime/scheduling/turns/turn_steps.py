"""The nodes of hot turns, called one after another: what is the same on the loop and in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs

from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult
from cascade.runtime.foundation.task_context import Token
from cascade.runtime.observation.tracing import Tracing
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.turns.turn_code import TurnCode, Turns
from cascade.runtime.scheduling.turns.turn_stops import Given, Stop, check_place


class Codes(Protocol):
    """The code for turns that a loop knows."""

    def codes_for(self, flow: LazyResult[Any]) -> Iterable[TurnCode]:
        """Code that may fit *flow*."""
        ...

    def node_of(self, code: TurnCode, index: int) -> tuple[str, Callee]:
        """The id of a node of the turns that *code* makes, and its task."""
        ...


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
    given: Given | None = None
    # The turn that the present code has begun with, and how many nodes had ended before.
    _since: tuple[int, int] = (1, 0)

    def begin(self) -> bool:
        """Find code for the flow, if there is none yet; returns whether there is."""
        if self.turns is None and type(self.flow) is LazyResult:
            for code in self.codes.codes_for(self.flow):
                turns = code.begin(self, code, self.number, self.flow, **self._traced(code))
                stop = next(turns, None)
                if stop is not None:
                    check_place(stop[0], stop[2])
                    self.code, self.turns, self.flow, self.is_crossing = code, turns, None, False
                    self._since = self.number, self.ended
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

    def made(self) -> int:
        """How many nodes have ended. Asked in any thread."""
        current = self.attempts.current
        if current is None:
            return self.ended + self.place
        code: TurnCode = current[1]
        return self._ended_before(current[3], code) + code.order.index(current[2])

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
        turns, stop = self.turns, None
        assert turns is not None
        self.is_crossing = True
        try:
            while stop is None:
                stop = self._stopped(*turns.send((epoch, until, last)), epoch, until, last)
        except StopIteration as end:
            self.turns = None
            number, self.flow = end.value
            stop = self._stopped(0, number, Stop.ENDED, epoch, until, last)
        except BaseException:  # none of a node: nobody can go on with this turn
            assert self.code is not None
            self.turns, self.place = None, 0
            self.reach(self.code.number(turns) or self.number)
            raise
        finally:
            self.is_crossing = False
        assert stop is not None
        return stop

    def _stopped(
        self, place: int | None, number: int, what: Stop | Given | None, epoch: int, until: float, last: float
    ) -> Stop | None:
        """Note where the code has stopped; returns why, or ``None`` if there was no more to do than to note it."""
        place = check_place(place, what)
        self.reach(number)  # before there is no current node any more, whose turn would be the present one
        self.place = place
        if isinstance(what, Given):
            self.given = what
            return Stop.GIVEN
        self.attempts.end()  # which may be all that was asked for
        if what is None and self.attempts.run_context.gate.epoch != epoch:
            return Stop.CHANGED
        if what is None and not place and number >= last:
            return Stop.DUE
        if what is None and time.perf_counter() >= until:
            return Stop.PAUSE
        return what

    def reach(self, number: int) -> None:
        """The turns before *number* have ended."""
        assert self.code is not None
        self.ended, self.number = self._ended_before(number, self.code), number

    def _ended_before(self, number: int, code: TurnCode) -> int:
        first, ended = self._since
        return ended + (number - first) * len(code.order)

    def token(self) -> Token:
        """The token of the node in the present place, which has been begun."""
        assert self.code is not None
        if self.attempts.current is None:  # an interrupt has come before it was made
            self.attempts.current = (self.attempts, self.code, self.code.order[self.place], self.number)
        return self.attempts.current

    def leave(self) -> None:
        """Let go of the present turn, which others go on with."""
        turns, self.turns = self.turns, None
        if turns is not None:
            assert self.code is not None
            self.code.leave(turns)

    def _traced(self, code: TurnCode) -> dict[str, Callable[..., Any]]:
        """By name in *code*, what is to be called in place of its functions, if anything."""
        tracing = self.attempts.run_context.events.tracing
        if tracing is None:
            return {}
        return {name: self._around(tracing, func) for name, func in code.functions.items()}

    def _around(self, tracing: Tracing, func: Callable[..., Any]) -> Callable[..., Any]:
        attempts = self.attempts

        def traced(*args: Any, **kwargs: Any) -> Any:
            token = attempts.current
            assert token is not None
            node_id, task = attempts.identify(token)
            return tracing.around(func, task, node_id, token[3], None)(*args, **kwargs)

        return traced
