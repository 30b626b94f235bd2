"""Runs that fail and are resumed more than once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import attrs
import pytest

import cascade
from state.cleared import cleared
from state.stores import StoreUnderTest

# What has been called, and what fails. Tasks look it up here: what a task is bound to is part of its digest.
CALLED: list[str] = []
BROKEN: set[str] = set()
# What a contestant waits for.
HELD: dict[str, anyio.Event] = {}
nothing_has_run = cleared(CALLED, BROKEN, HELD)


def call(name: str, *values: Any) -> tuple[Any, ...]:
    CALLED.append(name)
    if name in BROKEN:
        raise ValueError(name)
    return (name, *values)


@cascade.task(version="1")
async def step(name: str, *values: Any) -> Any:
    return call(name, *values)


@cascade.task(version="1")
async def item(number: int, name: str) -> Any:
    return call(f"{name}[{number}]")


@cascade.task(version="1")
async def of_outcome(end: Any, name: str) -> Any:
    return call(name, type(end).__name__)


@cascade.task(version="1")
async def item_of_outcome(end: Any, number: int) -> Any:
    return call(f"follows[{number}]", type(end).__name__)


@cascade.task(version="1")
async def numbers_of(end: Any) -> list[str]:
    call("numbers")
    return [type(end).__name__, "last"]


@attrs.frozen
class Life:
    """A run that is executed again and again."""

    flow: Callable[[], Any]
    settings: dict[str, Any]

    async def fails(self, *broken: str, **settings: Any) -> list[str]:
        """What is called in an execution that fails, as these are broken."""
        with pytest.raises((ValueError, cascade.RunFailed, cascade.RaceFailed)):
            await self._run(*broken, **settings)
        return list(CALLED)

    async def ends(self) -> Any:
        """What it comes to where nothing is broken."""
        return await self._run()

    async def _run(self, *broken: str, **settings: Any) -> Any:
        CALLED.clear()
        BROKEN.clear()
        BROKEN.update(broken)
        return await cascade.run(self.flow(), **{**self.settings, **settings})


Live = Callable[..., Life]


@pytest.fixture
def live(store: StoreUnderTest, schedule: Any) -> Live:
    def begun(flow: Callable[[], Any], **settings: Any) -> Life:
        return Life(flow, {"state": store.state, "run_id": "night", "schedule": schedule, **settings})

    return begun


# -- what took a failure as a value ----------------------------------------------------------------------------


async def test_what_took_a_failure_as_a_value_does_not_come_back_once_that_has_succeeded(live: Live) -> None:
    def flow() -> Any:
        taken = step("taken", of_outcome(cascade.settled(step("source")), "outcome"))
        return step("end", taken)

    life = live(flow)
    assert await life.fails("source", "end") == ["source", "outcome", "taken", "end"]
    assert await life.fails("outcome") == ["source", "outcome"]  # so "taken" has not run again
    assert await life.ends() == ("end", ("taken", ("outcome", "Done")))
    assert CALLED == ["outcome", "taken", "end"]


async def test_an_item_that_took_a_failed_one_does_not_come_back_once_that_has_succeeded(live: Live) -> None:
    def flow() -> Any:
        source = item.partial(name="source").map(number=range(3))
        follows = item_of_outcome.map(end=cascade.settled(source), number=range(3))
        return step("end", follows)

    life = live(flow)
    await life.fails("source[1]", "source[2]", "end")
    assert CALLED[-1] == "end"
    calls = await life.fails("follows[1]")
    assert set(calls) <= {"source[1]", "source[2]", "follows[1]", "follows[2]"}  # what took the first item holds
    assert await life.ends() == ("end", [(f"follows[{number}]", "Done") for number in range(3)])
    assert "follows[0]" not in CALLED


async def test_no_item_comes_back_of_a_map_whose_columns_have_changed_since(live: Live) -> None:
    def flow() -> Any:
        columns = numbers_of(cascade.settled(step("source")))
        return step.map(name=columns)

    life = live(flow)
    await life.fails("source", "last")
    assert set(CALLED) == {"source", "numbers", "Failed", "last"}
    assert await life.fails("numbers") == ["source", "numbers"]
    assert await life.ends() == [("Done",), ("last",)]


# -- later turns of a loop -------------------------------------------------------------------------------------


@cascade.task(version="1")
async def turn_of(number: int, *_: Any) -> Any:
    call(f"turn {number}")
    return "end" if number == 3 else turn(number + 1)


@cascade.task(version="1")
async def goes_on() -> Any:
    return turn_of(1)


def turn(number: int) -> Any:
    return turn_of(number, cascade.settled(step(f"part {number}")))


@pytest.mark.parametrize("durability", ["task", "stage", "exit"])
@pytest.mark.parametrize("between", [1, 1000])
async def test_a_failure_in_one_turn_is_none_of_a_later_one(live: Live, durability: str, between: int) -> None:
    life = live(lambda: turn(1), durability=durability, loop_record=(between, 1000))
    assert await life.fails("part 1", "turn 2") == ["part 1", "turn 1", "part 2", "turn 2"]
    assert await life.fails("part 3", "turn 3") == ["turn 2", "part 3", "turn 3"]
    assert await life.ends() == "end"
    assert CALLED == ["part 3", "turn 3"]


# -- attempts --------------------------------------------------------------------------------------------------

STUCK: list[anyio.Event] = []
THRICE = cascade.Retry(max_attempts=3, delay=0)


@cascade.task(version="1", retry=THRICE)
async def stubborn(number: int) -> int:
    """Fails if it is broken; and then the second attempt hangs, if anybody waits for that."""
    name = f"attempt {cascade.current().attempt} at {number}"
    CALLED.append(name)
    if f"stubborn {number}" in BROKEN:
        if STUCK and cascade.current().attempt == 2:
            STUCK[0].set()
            await anyio.sleep_forever()
        raise ValueError(name)
    return number


async def cut_short(life: Life, broken: str) -> list[str]:
    """What is called in an execution that is cancelled in the midst of the second attempt."""
    CALLED.clear()
    BROKEN.add(broken)
    STUCK[:] = [anyio.Event()]
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: cascade.run(life.flow(), **life.settings))
        await STUCK[0].wait()
        group.cancel_scope.cancel()
    STUCK.clear()
    return list(CALLED)


@cascade.task(version="1")
async def twice(number: int, _: Any) -> Any:
    return "end" if number == 2 else twice(2, stubborn(2))


@cascade.task(version="1")
async def in_place(number: int) -> Any:
    return twice(number, stubborn(number))


async def test_attempts_in_a_later_turn_of_a_loop_count_each_time(live: Live) -> None:
    life = live(lambda: twice(1, step("first")), loop_record=(1000, 1000))
    assert await cut_short(life, "stubborn 2") == ["first", "attempt 1 at 2", "attempt 2 at 2"]
    assert await life.fails("stubborn 2") == ["attempt 2 at 2", "attempt 3 at 2"]
    assert await life.ends() == "end"
    assert CALLED == ["attempt 1 at 2"]  # what failed for good begins anew


async def test_attempts_in_a_later_turn_of_a_loop_in_a_node_are_none_of_the_first(
    live: Live, store: StoreUnderTest
) -> None:
    life = live(lambda: step("end", in_place(1)), durability="task")
    assert await cut_short(life, "stubborn 2") == ["attempt 1 at 1", "attempt 1 at 2", "attempt 2 at 2"]
    assert await store.open("night").has_result("in_place/stubborn")
    assert await life.fails("end") == ["attempt 1 at 2", "end"]
    assert await life.ends() == ("end", "end")


# -- what is shown ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["a node that is gone", "a turn that went on"])
async def test_a_run_that_has_succeeded_shows_no_failure_of_an_earlier_execution(
    durable: StoreUnderTest, schedule: Any, case: str
) -> None:
    settings: Any = {"state": durable.state, "run_id": "night", "schedule": schedule}
    flows = {
        "a node that is gone": ([step("here"), step("gone").after(step("before"))], [step("here")]),
        "a turn that went on": ([step("here"), goes_on()], [step("here"), goes_on()]),
    }
    first, then = flows[case]
    BROKEN.update(["gone", "turn 1"])
    with pytest.raises(ValueError, match=r"gone|turn 1"):
        await cascade.run(first, on_error="first", **settings)
    failed = await cascade.api.recorded_run(durable.state, "night")
    assert failed.counts["failed"] == 1
    BROKEN.clear()
    await cascade.run(then, on_change="recompute", **settings)
    succeeded = await cascade.api.recorded_run(durable.state, "night")
    listed = {run.run_id: run for run in await cascade.api.recorded_runs(durable.state)}["night"]
    assert succeeded.status == "succeeded"
    assert succeeded.counts == listed.counts == {"succeeded": len(succeeded.nodes)}
    assert {node.status for node in succeeded.nodes} == {"succeeded"}


# -- races -----------------------------------------------------------------------------------------------------


class Unstorable:
    """A value that no store takes."""

    def __reduce__(self) -> Any:
        raise TypeError("it has no pickle")


@cascade.task(version="1")
async def contestant(name: str) -> tuple[str, Unstorable]:
    if name in HELD:
        await HELD[name].wait()
    return call(name)[0], Unstorable()


@cascade.task(version="1")
async def backs(name: str, value: tuple[str, object], *_: object) -> str:
    return str(call(f"{name} backs {value[0]}")[0])


def raced() -> Any:
    winner = cascade.race(contestant("a"), contestant("b"))
    first = backs("first", winner)
    return step("end", first, backs("second", winner, first))


async def test_who_has_won_a_race_wins_it_again_if_the_store_does_not_have_its_value(
    durable: StoreUnderTest, schedule: Any
) -> None:
    life = Life(raced, {"state": durable.state, "run_id": "night", "schedule": schedule})
    HELD["b"] = anyio.Event()
    assert await life.fails("second backs a") == ["a", "first backs a", "second backs a"]
    HELD["a"] = HELD.pop("b")  # now the other one is faster
    HELD["a"].set()
    assert await life.ends() == ("end", "first backs a", "second backs a")
    assert CALLED == ["a", "second backs a", "end"]


async def test_a_winner_that_fails_when_its_value_is_wanted_again_leaves_the_race_open(
    durable: StoreUnderTest, schedule: Any
) -> None:
    life = Life(raced, {"state": durable.state, "run_id": "night", "schedule": schedule})
    HELD["b"] = anyio.Event()
    await life.fails("second backs a")
    HELD.clear()
    assert await life.fails("a") == ["a"]
    HELD["a"] = anyio.Event()
    assert await life.ends() == ("end", "first backs b", "second backs b")
