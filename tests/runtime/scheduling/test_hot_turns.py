"""Turns of loops that are made in straight-line code."""

from __future__ import annotations

import logging
import math
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from strategies_runtime import leaves
from virtual_time import pass_time

import cascade
from cascade.api import recorded_run
from cascade.runtime.scheduling.turns.turn_steps import TurnSteps
from cascade.testing import record_events, virtual_backends

MODES = ["async", "thread", "inline"]


def is_in_code() -> bool:
    """Whether the function that calls this is called by straight-line code."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is TurnSteps.drive.__code__:
            return True
    return False


def task_in(mode: str, func: Callable[..., Any], name: str = "") -> Any:
    """A task that runs *func* in this way."""
    name = name or func.__name__
    if mode != "async":
        return cascade.task(mode=cast("Any", mode), name=name, version="1")(func)

    async def on_the_loop(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return cascade.task(name=name, version="1")(on_the_loop)


class Wide:
    """A loop that counts down, with some parts in each turn."""

    def __init__(self, mode: str, part: Callable[[int], Any], parts: int = 3) -> None:
        self.part, self.turn, self.parts = task_in(mode, part, "part"), task_in(mode, self._turn, "turn"), parts
        self.in_code: list[int] = []
        self.values: list[Any] = []

    def _turn(self, left: int, values: list[Any]) -> Any:
        if is_in_code():
            self.in_code.append(left)
        self.values = values
        return self.call(left - 1) if left else "end"

    def call(self, left: int) -> Any:
        """The turns that are left."""
        return self.turn(left, [self.part(left) for _ in range(self.parts)])


def double(number: int) -> int:
    return 2 * number


# -- what is made in code --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("parts", [0, 1, 20])
async def test_turns_of_a_known_shape_are_made_in_code(mode: str, parts: int, schedule: Any) -> None:
    loop = Wide(mode, double, parts)
    assert await cascade.run(loop.call(30), schedule=schedule) == "end"
    assert loop.in_code == [*range(28, -1, -1)]
    assert loop.values == [0] * parts


@pytest.mark.parametrize("mode", MODES)
async def test_turns_of_alternating_shapes_are_made_in_code(mode: str, schedule: Any) -> None:
    in_code = 0

    def left(number: int, *parts: Any) -> Any:
        nonlocal in_code
        in_code += is_in_code()
        return call(number - 1) if number else parts

    one, two = (task_in(mode, left, name) for name in ("one", "two"))

    def call(number: int) -> Any:
        task = one if number % 2 else two
        return task(number, *[one(0) for _ in range(number % 3)])

    assert await cascade.run(call(60), schedule=schedule) == ()
    # Each of the six shapes is met twice before there is code for it.
    assert in_code > 40 + 20


async def test_turns_that_alternate_between_places_run_where_they_belong(schedule: Any) -> None:
    places: dict[str, set[int]] = {mode: set() for mode in MODES}

    def turn(left: int, mode: str) -> Any:
        places[mode].add(threading.get_ident())
        return call(left - 1) if left else "end"

    turns = {mode: task_in(mode, turn, mode) for mode in MODES}

    def call(left: int) -> Any:
        mode = MODES[left // 4 % 3]
        return turns[mode](left, mode)

    assert await cascade.run(call(60), schedule=schedule) == "end"
    assert places["async"] == places["inline"] == {threading.get_ident()}
    assert threading.get_ident() not in places["thread"]


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_given_and_taken_is_as_ever(mode: str) -> None:
    seen: list[Any] = []

    def part(number: int, *, name: str = "", data: Any = ()) -> Any:
        return iter([number, name, *data])

    def turn(left: int, one: Any, pair: Any, *, again: Any, named: Any) -> Any:
        seen.append((list(one), [list(item) for item in pair], list(again), named))
        return call(left - 1) if left else "end"

    parts, turns = task_in(mode, part), task_in(mode, turn)

    def call(left: int) -> Any:
        one, two = parts(left, name="a"), parts(left, data=[1, {"b": 2}], name="c")
        return turns(left, one, (one, two), again=two, named={"left": left})

    assert await cascade.run(call(6)) == "end"
    assert seen == [
        # One consumer reads an iterator once, however often it is given it.
        ([n, "a"], [[], [n, "c", 1, {"b": 2}]], [], {"left": n})
        for n in range(6, -1, -1)
    ]


@pytest.mark.parametrize("mode", MODES)
async def test_several_nodes_can_read_an_iterator_that_they_are_given(mode: str) -> None:
    seen: list[Any] = []

    def part(number: int) -> Any:
        return iter(range(number))

    def reader(values: Any) -> list[int]:
        return list(values)

    def turn(left: int, values: Any, one: list[int], two: list[int]) -> Any:
        seen.append((list(values), one, two))
        return call(left - 1) if left else "end"

    parts, readers, turns = (task_in(mode, func) for func in (part, reader, turn))

    def call(left: int) -> Any:
        values = parts(left)
        return turns(left, values, readers(values), readers(values))

    assert await cascade.run(call(6)) == "end"
    assert seen == [([*range(n)],) * 3 for n in range(6, -1, -1)]


async def test_a_call_in_two_places_is_not_two_calls() -> None:
    calls = 0

    def part(_: int) -> int:
        nonlocal calls
        calls += 1
        return calls

    def turn(left: int, one: int, two: int) -> Any:
        return call(left - 1) if left else (one, two)

    parts, turns = task_in("inline", part), task_in("inline", turn)

    def call(left: int) -> Any:
        one = parts(left)
        return turns(left, one, one if left % 2 else parts(left))

    assert await cascade.run(call(9)) == (14, 15)


# -- as on the general path ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_nodes_know_who_they_are(mode: str) -> None:
    seen: list[cascade.TaskContext] = []

    def part(_: int) -> None:
        seen.append(cascade.current())

    loop = Wide(mode, part, 2)
    await cascade.run(loop.call(9), run_id="night")
    assert [here.node_id for here in seen[:2]] == ["part", "part#2"] * 1
    assert {here.node_id for here in seen} == {"part", "part#2"}
    keys = [here.idempotency_key for here in seen]
    assert keys[:4] == ["night/part", "night/part#2", "night/part@2", "night/part#2@2"]
    assert keys[-1] == "night/part#2@10"
    assert len(set(keys)) == 20


async def test_who_a_node_was_is_not_who_the_next_one_is() -> None:
    contexts: list[Any] = []

    def part(number: int) -> None:
        if contexts:
            with pytest.raises(RuntimeError, match="for code that runs in a task"):
                contexts.pop().run(cascade.current)
        assert cascade.current().node_id.startswith("part")
        contexts.append(copy_context())

    await cascade.run(Wide("inline", part).call(9))
    with pytest.raises(RuntimeError, match="for code that runs in a task"):
        contexts.pop().run(cascade.current)


@pytest.mark.parametrize("mode", MODES)
async def test_each_node_has_context_variables_of_its_own(mode: str) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="default")
    seen = set()

    def part(_: int) -> None:
        seen.add(variable.get())
        variable.set("set by a node")

    variable.set("set by the caller")
    await cascade.run(Wide(mode, part).call(9))
    assert seen == {"set by the caller"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("on_error", ["first", "continue"])
async def test_a_failure_is_that_of_its_node(mode: str, on_error: Any, schedule: Any) -> None:
    def part(number: int) -> int:
        return 12 // number

    with pytest.raises((ZeroDivisionError, cascade.RunFailed)) as caught:
        await cascade.run(Wide(mode, part).call(9), on_error=on_error, run_id="night", schedule=schedule)
    error = caught.value
    if isinstance(error, cascade.RunFailed):
        assert len(error.exceptions) == 3
        error = error.exceptions[0]
    assert any("'part" in note and "night" in note for note in error.__notes__)


async def test_the_traceback_of_a_node_ends_in_its_function() -> None:
    def part(number: int) -> float:
        return 12 / number

    with pytest.raises(ZeroDivisionError) as caught:
        await cascade.run(Wide("inline", part).call(9))
    shown = "".join(traceback.format_exception(caught.value))
    assert "return 12 / number" in shown
    assert "<turns of" not in shown


async def test_the_code_is_shown_when_the_log_is_asked_for_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "cascade.turns"):
        await cascade.run(Wide("inline", double).call(9))
    (record,) = caplog.records
    assert "code for the turns of 'turn'" in record.getMessage()
    assert "v0 = context.run(F" in record.getMessage()


async def test_no_code_is_written_for_shapes_that_hardly_ever_come_up(caplog: pytest.LogCaptureFixture) -> None:
    one = task_in("inline", double, "one")

    def left(number: int, *_: int) -> Any:
        return call(number - 1) if number else "end"

    turn = task_in("inline", left, "turn")

    def call(number: int) -> Any:
        return turn(number, *[one(0) for _ in range(number % 40)])

    with caplog.at_level(logging.DEBUG, "cascade.turns"):
        assert await cascade.run(call(160)) == "end"
    assert 1 <= len(caplog.records) <= 12


async def test_a_sync_function_that_gives_a_coroutine_is_awaited(schedule: Any) -> None:
    async def later(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number

    loop = Wide("inline", lambda number: later(number))
    assert await cascade.run(loop.call(5), schedule=schedule) == "end"
    assert loop.values == [0, 0, 0]


async def test_a_coroutine_of_a_thread_holds_no_thread_any_more(schedule: Any) -> None:
    @cascade.task
    def inner(number: int) -> int:
        return number

    async def nested(number: int) -> int:
        assert cascade.current().node_id.startswith("part")
        return await engine.run(inner(number))

    loop = Wide("thread", lambda number: nested(number) if number < 5 else number)
    async with cascade.Engine(max_threads=1, schedule=schedule) as engine:
        assert await engine.run(loop.call(9)) == "end"
    assert loop.values == [0, 0, 0]


async def test_a_target_that_gives_a_coroutine_is_awaited() -> None:
    async def later(left: int) -> Any:
        await anyio.lowlevel.checkpoint()
        return turn(left - 1) if left else "end"

    turn = cascade.task(mode="inline", name="turn")(lambda left: later(left))
    assert await cascade.run(turn(9)) == "end"


# -- what waits, and who changes something ---------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "options"), virtual_backends())
def test_nodes_that_wait_do_so_at_once(backend: str, options: dict[str, Any]) -> None:
    @cascade.task
    async def nap(seconds: float) -> None:
        await pass_time(seconds)

    @cascade.task
    async def turn(left: int, _: Any) -> Any:
        return turn(left - 1, [nap(1.0) for _ in range(20)]) if left else None

    async def main() -> float:
        began = anyio.current_time()
        await cascade.run(turn(20, []))
        return anyio.current_time() - began

    assert anyio.run(main, backend=backend, backend_options=options) == pytest.approx(20.0)


@pytest.mark.parametrize("mode", ["async", "inline"])
async def test_who_begins_to_listen_is_told_of_all_that_follows(mode: str) -> None:
    with ExitStack() as stack:
        engine = cascade.Engine()
        heard: list[Any] = []

        def part(number: int) -> int:
            if number == 50 and not heard:
                heard.append(stack.enter_context(record_events(engine)))
            return number

        async with engine:
            await engine.run(Wide(mode, part).call(100))
    (recorded,) = heard
    assert {"TaskExecutionFinished", "StageStarted"} <= set(recorded.names())
    assert sum(event.task_name == "turn" for event in recorded.of(cascade.TaskExecutionFinished)) == 51


@pytest.mark.parametrize("mode", MODES)
async def test_no_node_starts_after_a_pause(mode: str) -> None:
    """A pause from inside, from another thread or task: what is told of it last is the last to have started."""
    paused, started_late = threading.Event(), []
    calls = 0

    def part(number: int) -> int:
        nonlocal calls
        calls += 1
        if paused.is_set():
            started_late.append(number)
        return number

    loop = Wide(mode, part, 20)
    async with cascade.Engine() as engine, engine.start(loop.call(10**9)) as run:
        for _ in range(50):
            before = calls
            while calls < before + 100:
                await anyio.lowlevel.checkpoint()
            await engine.control.pause()
            paused.set()
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            paused.clear()
            await engine.control.resume()
        run.cancel()
    assert started_late == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_loop_of_many_nodes_lets_others_run_and_can_be_cancelled(mode: str, schedule: Any) -> None:
    loop, steps = Wide(mode, double, 20), 0
    with anyio.fail_after(60):
        async with cascade.start(loop.call(10**9), schedule=schedule) as run:
            while steps < 50:
                steps += 1
                await anyio.lowlevel.checkpoint()
            run.cancel()
    assert run.status().state == "Cancelled"


# -- memory and state ------------------------------------------------------------------------------------------


class Load:
    """Something to refer to weakly."""


@pytest.mark.parametrize("mode", MODES)
async def test_what_nobody_needs_is_let_go_of(mode: str) -> None:
    loads: list[weakref.ref[Load]] = []

    def part(number: int) -> Load:
        alive = [reference for reference in loads if reference() is not None]
        assert len(alive) <= 2 * 3 + 1, "values of turns before are kept"
        load = Load()
        loads.append(weakref.ref(load))
        return load

    def turn(left: int, first: Load, values: list[Load]) -> Any:
        return call(left - 1, values[0]) if left else None

    parts, turns = task_in(mode, part), task_in(mode, turn)

    def call(left: int, load: Any) -> Any:
        return turns(left, load, [parts(left) for _ in range(3)])

    await cascade.run(call(30, Load()))
    assert len(loads) == 31 * 3


# Module level, so that turns can be recorded: tasks are pickled by their names.
MADE: list[int] = []


def note_part(number: int) -> int:
    MADE.append(number)
    if number == 40 and len(MADE) < 200:
        raise OSError("out of order")
    return number


@cascade.task
async def async_part(number: int) -> int:
    return note_part(number)


@cascade.task
async def async_turn(left: int, _: list[int]) -> Any:
    return recorded_call(left - 1, "async") if left else "end"


@cascade.task
def thread_part(number: int) -> int:
    return note_part(number)


@cascade.task
def thread_turn(left: int, _: list[int]) -> Any:
    return recorded_call(left - 1, "thread") if left else "end"


@cascade.task(mode="inline")
def inline_part(number: int) -> int:
    return note_part(number)


@cascade.task(mode="inline")
def inline_turn(left: int, _: list[int]) -> Any:
    return recorded_call(left - 1, "inline") if left else "end"


RECORDED: dict[str, tuple[Any, Any]] = {
    "async": (async_part, async_turn),
    "thread": (thread_part, thread_turn),
    "inline": (inline_part, inline_turn),
}


def recorded_call(left: int, mode: str) -> Any:
    part, turn = RECORDED[mode]
    return turn(left, [part(left) for _ in range(3)])


@pytest.mark.parametrize("mode", MODES)
async def test_a_turn_is_recorded_now_and_then_and_the_loop_goes_on_from_it(mode: str, tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path / 'runs.db'}?shared=on"
    MADE.clear()
    settings: Any = {"state": state, "run_id": "night", "loop_record": (10, 3600.0)}
    with pytest.raises(OSError, match="out of order"):
        await cascade.run(recorded_call(100, mode), **settings)
    before = len(MADE)
    MADE.extend([0] * 200)
    assert await cascade.run(recorded_call(100, mode), **settings) == "end"
    again = MADE[before + 200 :]
    assert max(again) == 40  # a loop that failed goes on in that very turn
    assert again.count(39) == 3
    assert (await recorded_run(state, "night")).status == "succeeded"


async def test_values_are_recorded_that_were_made_in_code(tmp_path: Path) -> None:
    """The turn that fails has nodes that were made in code before, and are not made again."""
    state = f"sqlite:///{tmp_path / 'runs.db'}?shared=on"
    calls: list[str] = []
    is_broken = True

    def first(number: int) -> str:
        calls.append("first")
        return f"first {number}"

    def second(value: str) -> str:
        calls.append("second")
        if is_broken and value == "first 5":
            raise OSError(value)
        return value.upper()

    def turn(left: int, value: str) -> Any:
        return call(left - 1) if left else value

    firsts, seconds, turns = (task_in("inline", func) for func in (first, second, turn))

    def call(left: int) -> Any:
        return turns(left, seconds(firsts(left)))

    with pytest.raises(OSError, match="first 5"):
        await cascade.run(call(20), state=state, run_id="night")
    is_broken = False
    calls.clear()
    assert await cascade.run(call(20), state=state, run_id="night") == "FIRST 0"
    assert calls[:2] == ["second", "first"]


async def test_a_rule_counts_a_node_that_waits_in_a_turn_made_in_code() -> None:
    waits, go_on, order = anyio.Event(), anyio.Event(), []

    @cascade.task
    async def part(number: int) -> int:
        if number == 5:
            waits.set()
            await go_on.wait()
            order.append("part")
        return number

    @cascade.task
    async def turn(left: int, _: Any) -> Any:
        return turn(left - 1, part(left)) if left else "end"

    @cascade.task
    async def other() -> None:
        order.append("other")

    async with cascade.Engine() as engine, engine.start(turn(9, 0)) as run:
        await waits.wait()
        await engine.control.limit(concurrency=1)
        async with engine.start(other()) as beside:
            while not beside.explain():
                await anyio.lowlevel.checkpoint()
            go_on.set()
            assert await run.result() == "end"
    assert order == ["part", "other"]


async def test_who_looks_at_the_run_sees_the_node_that_runs_in_a_thread() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def part(number: int) -> int:
        if number == 5:
            begun.set()
            assert go_on.wait(60)
        return number

    async with cascade.start(Wide("thread", part).call(9)) as run:
        try:
            while not begun.is_set():
                await anyio.lowlevel.checkpoint()
            seen = run.status()
            assert seen.running == ("part",)
            assert seen.counts["pending"] == 4
            assert {why.node_id for why in run.explain()} == {"part#2", "part#3", "turn"}
        finally:
            go_on.set()
        assert await run.result() == "end"
    assert run.status().counts == {"pending": 0, "succeeded": 40, "skipped": 0, "failed": 0, "cancelled": 0}


@pytest.mark.parametrize("mode", ["async", "inline"])
async def test_a_loop_that_is_cancelled_in_the_middle_of_a_turn_has_counted_what_has_ended(mode: str) -> None:
    def part(number: int) -> int:
        calls.append(number)
        if calls.count(5) == 2:
            run.cancel()
        return number

    calls: list[int] = []
    async with cascade.start(Wide(mode, part).call(9)) as run:
        pass
    counts = run.status().counts
    assert counts["succeeded"] + counts["cancelled"] == 4 * 4 + 2
    assert counts["pending"] == 2


# -- neighbours ------------------------------------------------------------------------------------------------


async def test_a_loop_in_a_thread_ends_when_it_is_cancelled() -> None:
    begun, last = threading.Event(), 10**6

    def part(number: int) -> int:
        nonlocal last
        last = number
        if number == 10**6 - 100:
            begun.set()
        return number

    def turn(left: int, _: int) -> Any:
        return call(left - 1) if left else "end"

    parts, turns = task_in("thread", part), task_in("thread", turn)

    def call(left: int) -> Any:
        return turns(left, parts(left))

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                while not begun.is_set():
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

            group.start_soon(cancel)
            await cascade.run(call(10**6))
    assert scope.cancelled_caught
    assert last > 0


async def test_sync_nodes_of_one_stage_may_wait_for_each_other() -> None:
    barrier = threading.Barrier(2, timeout=30)

    def meet(number: int) -> int:
        barrier.wait()
        return number

    assert await cascade.run(Wide("thread", meet, 2).call(6)) == "end"


class Meeting:
    """A loop in threads: in one turn, which is made in code, a part waits until the last part has been called."""

    def __init__(self, gives: Callable[[], Any], at: int = 5) -> None:
        self.gives, self.at, self.is_met, self.in_code = gives, at, threading.Event(), False
        self.loop = Wide("thread", self.part, 4)
        self.calls: list[int] = []

    def part(self, number: int) -> Any:
        if number != self.at:
            return number
        self.calls.append(number)
        if len(self.calls) == 2:
            self.in_code = is_in_code()
            assert self.is_met.wait(30)
            return self.gives()
        if len(self.calls) == 4:
            self.is_met.set()
        return number


async def coroutine_of(value: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return value


@pytest.mark.parametrize(
    "gives",
    [
        lambda: 7,
        lambda: iter([7]),
        lambda: coroutine_of(7),
        lambda: task_in("thread", lambda: 7, "seven")(),
        lambda: [task_in("inline", lambda: 7, "seven")()],
    ],
    ids=["value", "iterator", "coroutine", "flow", "list"],
)
async def test_others_go_on_with_a_turn_while_a_thread_is_stuck_in_one_of_its_nodes(
    gives: Callable[[], Any], schedule: Any
) -> None:
    meeting = Meeting(gives)
    seen: list[Any] = []
    turn = meeting.loop._turn

    def look(left: int, values: list[Any]) -> Any:
        if left == 5:
            seen.extend(next(iter(value)) if hasattr(value, "__iter__") else value for value in values)
        return turn(left, values)

    meeting.loop.turn = task_in("thread", look, "turn")
    assert await cascade.run(meeting.loop.call(10), schedule=schedule) == "end"
    assert meeting.in_code
    assert len(meeting.calls) == 4
    assert seen == [5, 7, 5, 5]
    assert meeting.loop.values == [0] * 4


@pytest.mark.parametrize("on_error", ["first", "group", "continue"])
@pytest.mark.parametrize("error", [LookupError, GeneratorExit])
async def test_a_node_in_which_a_thread_was_stuck_may_fail(error: type[BaseException], on_error: Any) -> None:
    def fail() -> Any:
        raise error("stuck")

    meeting = Meeting(fail)
    with pytest.raises((BaseExceptionGroup, LookupError, GeneratorExit)) as caught:
        await cascade.run(meeting.loop.call(10), on_error=on_error)
    assert meeting.in_code
    assert len(meeting.calls) == 4
    (failure,) = leaves(caught.value)
    assert isinstance(failure, error)
    assert any("'part#2'" in note for note in failure.__notes__)


async def test_a_loop_whose_thread_is_stuck_while_others_fail_waits_for_it() -> None:
    ended = False

    def last() -> int:
        nonlocal ended
        ended = True
        return 1

    meeting = Meeting(last)
    part = meeting.part

    def failing(number: int) -> Any:
        is_last = len(meeting.calls) == 3
        value = part(number)
        if is_last:
            raise LookupError("beside")
        return value

    meeting.loop.part = task_in("thread", failing, "part")
    with pytest.raises(LookupError, match="beside"):
        await cascade.run(meeting.loop.call(10))
    assert ended


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("turns", [0, 10])
async def test_a_node_may_raise_whatever_ends_generators(mode: str, turns: int) -> None:
    def part(number: int) -> int:
        if not number:
            raise GeneratorExit("from a node")
        return number

    with pytest.raises(GeneratorExit, match="from a node"):
        await cascade.run(Wide(mode, part, 2).call(turns), on_error="continue")


@pytest.mark.parametrize("name", ["OTHER", "BROTHER", "__debug__", "ﬁ", "self", "c0", "LEAVES", "turns"])
async def test_keywords_may_have_any_name(name: str) -> None:
    seen: list[dict[str, Any]] = []

    def turn(left: int, /, **named: Any) -> Any:
        seen.append(named)
        return turns(left - 1, **{name: left}) if left else "end"

    turns = task_in("inline", turn)
    assert await cascade.run(turns(6, **{name: 7})) == "end"
    assert seen == [{name: number} for number in range(7, 0, -1)]


async def test_who_a_node_was_is_nobody_once_somebody_listens() -> None:
    contexts: list[Any] = []
    streams: list[Any] = []

    def part(number: int) -> int:
        if number == 5:
            contexts.append(copy_context())
            streams.append(engine.subscribe(cascade.TaskExecutionStarted, policy="drop"))
        return number

    def turn(left: int, _: list[int]) -> Any:
        for context in contexts:
            with pytest.raises(RuntimeError, match="for code that runs in a task"):
                context.run(cascade.current)
        return call(left - 1) if left else "end"

    parts, turns = task_in("inline", part), task_in("inline", turn)

    def call(left: int) -> Any:
        return turns(left, [parts(left)])

    async with cascade.Engine() as engine:
        assert await engine.run(call(9)) == "end"
        for stream in streams:
            stream.close()
    with pytest.raises(RuntimeError, match="for code that runs in a task"):
        contexts[0].run(cascade.current)


async def test_an_async_task_may_give_a_coroutine_as_its_value() -> None:
    kinds: list[type] = []

    async def inner() -> int:
        return 1

    @cascade.task
    async def part(number: int) -> Any:
        if number % 2:
            await anyio.lowlevel.checkpoint()
        return inner()

    @cascade.task
    async def turn(left: int, value: Any) -> Any:
        kinds.append(type(value))
        await value
        return turn(left - 1, part(left)) if left else "end"

    assert await cascade.run(turn(9, part(0))) == "end"
    assert {kind.__name__ for kind in kinds} == {"coroutine"}


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_the_end_of_an_iterator_says_what_to_do(mode: str) -> None:
    def part(number: int) -> int:
        if number == 3:
            raise StopIteration(number)
        return number

    with pytest.raises(RuntimeError, match=r"give next\(\) a default"):
        await cascade.run(Wide(mode, part).call(9))


@pytest.mark.parametrize("turns", [999, 1000, 1001])
@pytest.mark.parametrize("mode", ["async", "inline"])
async def test_progress_tells_of_turns_that_have_been_made(mode: str, turns: int) -> None:
    engine = cascade.Engine()
    async with engine.subscribe(cascade.LoopProgress, cascade.RunFinished) as events:
        await engine.run(Wide(mode, double, 1).call(turns - 1))
        told = [event.turns async for event in events if isinstance(event, cascade.LoopProgress)]
    assert len(told) == (turns >= 1000)
    assert all(1000 <= number <= turns for number in told)


async def test_progress_is_told_of_turns_that_a_thread_made_before_it_was_stuck() -> None:
    meeting = Meeting(lambda: 7, at=500)
    engine = cascade.Engine()
    async with engine.subscribe(cascade.LoopProgress, cascade.RunFinished) as events:
        await engine.run(meeting.loop.call(3000))
        told = [event.turns async for event in events if isinstance(event, cascade.LoopProgress)]
    assert meeting.in_code
    assert [turns // 1000 for turns in told] == [1, 2, 3]


# -- what changes meanwhile --------------------------------------------------------------------------------------


async def test_no_node_starts_in_code_that_a_rule_holds_which_came_while_the_thread_waited_for_a_slot() -> None:
    begun, is_running, is_held, go_on = (threading.Event() for _ in range(4))
    late: list[int] = []

    def part(number: int) -> int:
        begun.set()
        if is_held.is_set():
            late.append(number)
        return number

    @cascade.task
    def other() -> None:
        is_running.set()
        go_on.wait(30)

    loop = Wide("thread", part)
    async with cascade.Engine(max_threads=1) as engine, engine.start(loop.call(10**9)) as run:
        while not begun.is_set() or not loop.in_code:
            await anyio.lowlevel.checkpoint()
        async with engine.start(other()) as between:
            while not is_running.is_set():
                await anyio.lowlevel.checkpoint()
            await engine.control.pause("task:part")
            is_held.set()
            go_on.set()
            await between.result()
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        is_held.clear()
        run.cancel()
    assert late == []


@pytest.mark.parametrize("mode", ["async", "thread"])
async def test_a_value_is_let_go_of_while_a_node_that_does_not_need_it_goes_on(mode: str) -> None:
    is_used, loads, was_gone = threading.Event(), list[weakref.ref[Load]](), list[bool]()

    def make(number: int) -> Load:
        load = Load()
        if number == 3:
            loads.append(weakref.ref(load))
        return load

    def use(number: int, load: Load) -> int:
        del load
        if number == 3:
            is_used.set()
        return number

    async def long(number: int, _: Load) -> int:
        while number == 3 and not (is_used.is_set() and loads[1]() is None):
            await anyio.lowlevel.checkpoint()
        was_gone.append(is_in_code())
        return number

    def long_in_thread(number: int, _: Load) -> int:
        wait = threading.Event().wait
        while number == 3 and not (is_used.is_set() and loads[1]() is None):
            wait(0.001)
        return number

    makes, uses = task_in(mode, make), task_in(mode, use)
    longs = cascade.task(long) if mode == "async" else task_in(mode, long_in_thread)

    def turn(left: int, *_: int) -> Any:
        return call(left - 1) if left else "end"

    turns = task_in(mode, turn)

    def call(left: int) -> Any:
        return turns(left, longs(left, makes(left)), uses(left, makes(left)))

    with anyio.fail_after(30):
        assert await cascade.run(call(6)) == "end"


@pytest.mark.parametrize("mode", MODES)
async def test_nodes_see_a_deadline_that_changes_while_the_loop_runs(mode: str) -> None:
    seen, scope = [], anyio.CancelScope()

    def part(number: int) -> int:
        seen.append(cascade.current().remaining())
        return number

    loop = Wide(mode, part, 2)
    with scope:
        async with cascade.start(loop.call(10**9)) as run:
            while not loop.in_code:
                await anyio.lowlevel.checkpoint()
            scope.deadline = anyio.current_time() + 500
            with anyio.fail_after(30):
                while seen[-1] > 500:
                    await anyio.lowlevel.checkpoint()
            run.cancel()
    assert seen[0] == math.inf


async def test_who_begins_to_listen_is_told_of_tail_calls_whose_shape_may_change() -> None:
    engine, told = cascade.Engine(), []

    @cascade.task
    async def part(number: int) -> int:
        return number

    @cascade.task
    async def turn(left: int, _: int) -> Any:
        return turn(left - 1, part(1) if left % 3 else part(2))

    async with engine, engine.start(turn(10**9, part(1))) as run:
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        async with engine.subscribe(cascade.StaticAnalysisWarning) as events:
            with anyio.fail_after(30):
                async for event in events:
                    told.append(event)
                    break
        run.cancel()
    assert [getattr(event, "task_name", "") for event in told] == ["turn"]


async def test_what_is_recorded_of_the_first_turn_of_a_nested_loop_is_not_made_again(tmp_path: Path) -> None:
    """Also if the shape of the loop is known by then from others like it."""
    state = f"sqlite:///{tmp_path / 'runs.db'}?shared=on"
    MADE.clear()
    flow = nest(0, nest(1, nest(2, nest(3, nest(4, 0)))))
    with pytest.raises(OSError, match="out of order"):
        await cascade.run(flow, state=state, run_id="night")
    assert MADE.count(104) == 1
    MADE.extend([0] * 200)
    await cascade.run(flow, state=state, run_id="night")
    assert MADE.count(104) == 1


@cascade.task(mode="inline")
def nest_helper(number: int) -> int:
    MADE.append(number)
    return number


@cascade.task(mode="inline")
def nest_inner(number: int, helped: int, left: int) -> Any:
    if number == 0 and left == 0 and len(MADE) < 200:
        raise OSError("out of order")
    return nest_inner(number, nest_helper(number), left - 1) if left else helped


@cascade.task(mode="task")
async def nest(number: int, _: Any) -> Any:
    return nest_inner(number, nest_helper(100 + number), 3)
