"""How turns that are made in straight-line code end: in errors of all kinds, and interrupts at any moment."""

from __future__ import annotations

import linecache
import operator
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import anyio
import pytest
from test_hot_turns import MODES, Wide, double, task_in

import cascade
from cascade.runtime.run import turn_codes
from cascade.runtime.scheduling.lanes.lane_attempts import LaneAttempts
from cascade.runtime.scheduling.turns.turn_steps import TurnSteps


@dataclass(frozen=True)
class FrozenError(Exception):
    number: int


@pytest.mark.parametrize("mode", MODES)
async def test_a_frozen_exception_is_raised_as_it_is(mode: str) -> None:
    def part(number: int) -> int:
        if not number:
            raise FrozenError(7)
        return number

    with pytest.raises(FrozenError) as caught:
        await cascade.run(Wide(mode, part, 2).call(10))
    assert caught.value.number == 7


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_the_error_of_a_function_without_frames_keeps_no_code(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_FULL_TRACEBACK", "1")
    share = task_in(mode, cast("Any", partial(operator.floordiv, 12)), "share")

    def turn(left: int, value: int) -> Any:
        return call(left - 1)

    turns = task_in(mode, turn)

    def call(left: int) -> Any:
        return turns(left, share(left))

    with pytest.raises(ZeroDivisionError) as caught:
        await cascade.run(call(10))
    frames, at = [], caught.tb
    while at is not None:
        frames.append(at.tb_frame.f_code.co_name)
        at = at.tb_next  # type: ignore[assignment]
    assert "turns" not in frames


# -- interrupts ------------------------------------------------------------------------------------------------


class Interrupt:
    """Interrupts the program once, at a moment that *is_time* knows by the frame and what happens in it.

    A signal is seen where a function has been called and where a loop goes back, on trio.
    """

    def __init__(self, is_time: Callable[[FrameType, str], bool]) -> None:
        self.is_time, self.has_come = is_time, False

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if not self.has_come and self.is_time(frame, event):
            self.has_come = True
            raise KeyboardInterrupt
        return self


def between_turns(turn: int) -> Callable[[FrameType, str], bool]:
    """When the code goes back to its beginning after so many turns."""
    is_last = False

    def is_time(frame: FrameType, event: str) -> bool:
        nonlocal is_last
        if event != "line" or frame.f_code.co_name != "turns":
            return False
        before, is_last = is_last, "number + 1" in linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        return before and frame.f_locals["number"] == turn

    return is_time


def as_it_stops(turn: int) -> Callable[[FrameType, str], bool]:
    """When the code has stopped in that turn, and that is being noted."""

    def is_time(frame: FrameType, event: str) -> bool:
        is_noted = event == "call" and frame.f_code is TurnSteps.reach.__code__
        return is_noted and frame.f_locals["number"] == turn

    return is_time


# What the nodes below were called with, by their keys.
CALLED: dict[str, tuple[str, int]] = {}


def called_with(what: str, number: int) -> None:
    key = cascade.current().idempotency_key
    assert CALLED.setdefault(key, (what, number)) == (what, number)


def note_turn(left: int, mode: str, value: int) -> Any:
    called_with("turn", left)
    assert value == left
    return recorded_call(left - 1, mode) if left else "end"


@cascade.task
async def async_part(number: int) -> int:
    called_with("part", number)
    return number


@cascade.task
async def async_turn(left: int, value: int) -> Any:
    return note_turn(left, "async", value)


@cascade.task(mode="inline")
def inline_part(number: int) -> int:
    called_with("part", number)
    return number


@cascade.task(mode="inline")
def inline_turn(left: int, value: int) -> Any:
    return note_turn(left, "inline", value)


RECORDED: dict[str, tuple[Any, Any]] = {
    "async": (async_part, async_turn),
    "inline": (inline_part, inline_turn),
}


def recorded_call(left: int, mode: str) -> Any:
    part, turn = RECORDED[mode]
    return turn(left, part(left))


@pytest.mark.needs("trio")
@pytest.mark.parametrize("mode", ["async", "inline"])
@pytest.mark.parametrize("moment", [between_turns, as_it_stops])
def test_a_loop_that_was_interrupted_goes_on_with_what_it_had(
    mode: str, moment: Callable[[int], Callable[[FrameType, str], bool]], tmp_path: Path
) -> None:
    CALLED.clear()
    settings: Any = {"state": f"sqlite:///{tmp_path / 'runs.db'}", "run_id": "night"}

    async def main() -> Any:
        return await cascade.run(recorded_call(11, mode), **settings)

    interrupt, before = Interrupt(moment(12)), sys.gettrace()
    sys.settrace(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            anyio.run(main, backend="trio")
    finally:
        sys.settrace(before)
    assert interrupt.has_come
    assert anyio.run(main, backend="trio") == "end"
    assert len(CALLED) == 24


@pytest.mark.needs("trio")
@pytest.mark.parametrize("mode", ["async", "inline"])
def test_what_had_ended_before_an_interrupt_is_counted(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[cascade.Run[Any]] = []
    monkeypatch.setenv("CASCADE_FULL_TRACEBACK", "0")

    async def main() -> None:
        async with cascade.Engine() as engine, engine.start(Wide(mode, double, 2).call(20)) as run:
            runs.append(run)
            await run.result()

    before = sys.gettrace()
    sys.settrace(Interrupt(between_turns(11)))
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            anyio.run(main, backend="trio")
    finally:
        sys.settrace(before)
    assert runs[0].status().counts["succeeded"] == 30
    assert not [entry for entry in caught.traceback if "turns of" in str(entry.path)]


async def test_what_fails_between_two_turns_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause waits for threads that are about to call a function: one that has given up is none."""
    is_crossing: list[bool] = []
    drive = TurnSteps.drive

    def looked_at(self: TurnSteps, *args: Any) -> Any:
        try:
            return drive(self, *args)
        except MemoryError:
            is_crossing.append(self.is_crossing)
            raise

    def is_plain(run_context: object, value: Any) -> bool:
        if value == [3]:
            raise MemoryError
        return True

    monkeypatch.setattr(TurnSteps, "drive", looked_at)
    monkeypatch.setattr(turn_codes, "is_plain", is_plain)

    def turn(left: int, value: list[int]) -> Any:
        return turns(left - 1, [left - 1])

    turns = task_in("thread", turn)
    with pytest.raises(MemoryError):
        await cascade.run(turns(10, [10]))
    assert is_crossing == [False]


# -- what is seen from outside ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [0, 1, 3])
async def test_who_looks_while_a_thread_is_in_a_node_sees_all_that_has_ended(parts: int, schedule: Any) -> None:
    is_in, go_on, ended = threading.Event(), threading.Event(), 0

    def part(number: int) -> int:
        nonlocal ended
        ended += 1
        return number

    def turn(left: int, *values: int) -> Any:
        nonlocal ended
        if left == 20:
            is_in.set()
            assert go_on.wait(30)
        ended += 1
        return call(left - 1) if left else "end"

    parts_task, turns = task_in("thread", part), task_in("thread", turn)

    def call(left: int) -> Any:
        return turns(left, *[parts_task(left) for _ in range(parts)])

    async with cascade.Engine(schedule=schedule) as engine, engine.start(call(200)) as run:
        await anyio.to_thread.run_sync(is_in.wait)
        counts = run.status().counts
        assert (counts["succeeded"], counts["pending"]) == (ended, 1)
        assert ended == 180 * (parts + 1) + parts
        go_on.set()
        assert await run.result() == "end"
    assert run.status().counts["succeeded"] == 201 * (parts + 1)


@pytest.mark.parametrize("mode", MODES)
async def test_the_present_turn_never_seems_to_be_one_of_before(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[TurnSteps] = []
    seen: list[int] = []
    drive, end = TurnSteps.drive, LaneAttempts.end

    def driven(self: TurnSteps, *args: Any) -> Any:
        steps.append(self)
        return drive(self, *args)

    def ended(self: LaneAttempts) -> None:
        end(self)
        if steps:
            seen.append(steps[-1].present_number())

    monkeypatch.setattr(TurnSteps, "drive", driven)
    monkeypatch.setattr(LaneAttempts, "end", ended)
    assert await cascade.run(Wide(mode, double, 1).call(30)) == "end"
    assert seen == sorted(seen)
    assert seen[-1] == 32
