"""When items start that take how the items of other maps end, and what is let go of then."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed import observe
from outcome_tasks import WAYS, odd_ones_fail, said, slow, tell
from plain_tasks import give
from virtual_time import in_virtual_time

import cascade
from cascade import Done, Failed, settled
from cascade.runtime.scheduling.chains.supply import MOST_AHEAD
from cascade.testing import record_events, virtual_backends

run_eager = partial(cascade.run, schedule="eager")


# -- when items start ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [0, 1, None])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("said_of_it", ["plain", "retried", "limited", "heard", "recorded", "claiming"])
async def test_an_item_starts_when_the_one_above_has_ended_though_others_have_not(
    said_of_it: str, way: Any, fails: int | None
) -> None:
    told = anyio.Event()

    @cascade.task
    async def fetch(n: int) -> int:
        if n == 1:
            await told.wait()
        if n == fails:
            raise ValueError(n)
        return n

    @cascade.task
    async def store(x: Any) -> Any:
        told.set()
        return isinstance(x, Failed)

    settings: dict[str, Any] = {"recorded": {"state": "memory:"}, "claiming": {"system_resources": {"gpu": 4}}}
    first = fetch.map(n=[0, 1])
    if said_of_it == "retried":
        first = first.with_retry(2)
    last = store.map(x=way(first))
    if said_of_it == "limited":
        last = last.with_concurrency(1)
    if said_of_it == "claiming":
        last = last.with_constraints(gpu=1)
    engine = cascade.Engine(schedule="eager", **settings.get(said_of_it, {}))
    with anyio.fail_after(60):
        if said_of_it == "heard":
            with record_events(engine):
                assert await engine.run(last) == [fails == 0, fails == 1]
        else:
            assert await engine.run(last) == [fails == 0, fails == 1]


async def test_a_failed_item_starts_nothing_in_a_map_that_takes_values() -> None:
    begun, values = anyio.Event(), list[Any]()

    @cascade.task
    async def fetch(n: int) -> int:
        if n == 1:
            await begun.wait()
            raise ValueError(n)
        return n

    @cascade.task
    async def take(n: int) -> int:
        values.append(n)
        begun.set()
        return n

    mapped = fetch.map(n=[0, 1])
    with anyio.fail_after(60):
        outcome, told = await run_eager([settled(take.map(n=mapped)), tell.map(x=settled(mapped))])
    assert values == [0]
    assert said(outcome) == "ValueError 1 of fetch[1] (1), None"
    assert told == [("done", 0), "ValueError 1 of fetch[1] (1), 1"]


def order_of(flow: Any, backend: str, schedule: Any) -> list[tuple[str, str]]:
    """What began and ended in a simulated run, in order."""
    events: list[tuple[str, str]] = []

    async def main() -> None:
        engine = cascade.Engine(schedule=schedule)
        with record_events(engine) as recorded:
            await engine.run(flow)
        for event in recorded.of(cascade.NodeEvent):
            kinds = {cascade.TaskExecutionStarted: "began", cascade.TaskExecutionFinished: "ended"}
            if type(event) in kinds:
                events.append((kinds[type(event)], event.task_id))

    anyio.run(main, backend=backend, backend_options=dict(dict(virtual_backends())[backend]))
    return events


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("schedule", ["stages", "eager"])
@given(data=st.data())
def test_no_item_starts_before_its_input(data: st.DataObject, schedule: Any, backend: str) -> None:
    size = data.draw(st.integers(1, 6))
    flow: Any = range(size)
    for _ in range(3):
        pauses = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.2, 1.0]), min_size=size, max_size=size))
        fails = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
        way = data.draw(st.sampled_from(WAYS))
        flow = way(slow.map(n=flow, pause=pauses, fails=fails))
    events = order_of(tell.map(x=flow), backend, schedule)
    place = {event: number for number, event in enumerate(events)}
    levels = ["slow", "slow#2", "slow#3", "tell"]
    for above, below in pairwise(levels):
        for item in range(size):
            assert place["ended", f"{above}[{item}]"] < place["began", f"{below}[{item}]"]
        if schedule == "stages":
            assert place["ended", above] < place["began", below]


@in_virtual_time
async def test_rows_take_as_long_as_the_longest_row_whatever_fails() -> None:
    seconds = [[1.0, 5.0, 1.0, 3.0], [5.0, 1.0, 1.0, 3.0]]
    fails = [[False, True, True, False], [True, False, False, False]]
    for way in WAYS:
        first = slow.map(n=range(4), pause=seconds[0], fails=fails[0])
        flow = slow.map(n=way(first), pause=seconds[1], fails=fails[1])
        began = anyio.current_time()
        await run_eager(tell.map(x=way(flow)))
        assert anyio.current_time() - began < 6.5


async def test_in_stages_a_map_waits_for_all_outcomes() -> None:
    for way in WAYS:
        seen = await observe(tell.map(x=way(odd_ones_fail.map(n=range(3)))))
        items = [name for name in seen.started if name.endswith("]")]
        assert items == [f"{name}[{n}]" for name in ("odd_ones_fail", "tell") for n in range(3)]


# -- what is let go of -----------------------------------------------------------------------------------------


class Counted:
    """Knows how many of its kind there are."""

    alive = 0
    most = 0

    def __init__(self, n: int) -> None:
        self.n = n
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


class HoldingError(Exception):
    """Has a value with it, as tracebacks do."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.value = Counted(n)


def make(n: int) -> Counted:
    if n % 3 == 0:
        raise HoldingError(n)
    return Counted(n)


def number(x: Any) -> int:
    if isinstance(x, Failed):
        assert isinstance(x.error, HoldingError)
        return x.error.value.n
    counted: Counted = x.value if isinstance(x, Done) else x
    return counted.n


@pytest.mark.parametrize("mode", ["loop", "inline", "thread"])
@pytest.mark.parametrize("way", WAYS)
async def test_values_and_errors_are_let_go_of_after_their_last_follower(way: Any, mode: str) -> None:
    gc.collect()
    Counted.alive = Counted.most = 0
    size = 10 * MOST_AHEAD

    async def make_on_loop(n: int) -> Counted:
        return make(n)

    made: Any = cascade.task(make_on_loop) if mode == "loop" else cascade.task(mode=mode)(make)  # type: ignore[call-overload]
    flow = cascade.task(mode="inline")(number).map(x=way(made.map(n=range(size))))
    assert await run_eager(flow) == [*range(size)]
    assert Counted.most <= 5 * MOST_AHEAD
    gc.collect()
    assert Counted.alive == 0


@pytest.mark.parametrize("way", WAYS)
async def test_so_are_all_errors_of_a_flow_that_an_item_returned(way: Any) -> None:
    gc.collect()
    Counted.alive = Counted.most = 0
    size = 6 * MOST_AHEAD

    @cascade.task
    async def fail(n: int) -> None:
        raise HoldingError(n)

    @cascade.task
    async def ask(n: int) -> Any:
        if n % MOST_AHEAD == 0:
            gc.collect()  # tracebacks make circles
        return [fail(n), fail(n)]

    flow = cascade.task(mode="inline")(number).map(x=way(ask.map(n=range(size))))
    assert await run_eager(flow) == [*range(size)]
    assert Counted.most <= 8 * MOST_AHEAD
    gc.collect()
    assert Counted.alive == 0


async def test_a_map_with_too_many_failures_hands_the_values_over_that_its_follower_has_taken(
    schedule: Any,
) -> None:
    @cascade.task
    async def last_fails(n: int) -> int:
        if n == 3:
            await is_told.wait()
            raise ValueError(n)
        return n

    @cascade.task
    async def tell_of(x: int) -> None:
        told.append(x)
        if len(told) == 3:
            is_told.set()

    told: list[int] = []
    is_told = anyio.Event()
    if schedule == "stages":
        is_told.set()
    column = last_fails.map(n=range(4)).with_errors("collect", min_success=4)
    with pytest.raises(cascade.MapFailed) as raised:
        await cascade.run(tell_of.map(x=column), schedule=schedule)
    assert raised.value.results == {f"last_fails[{n}]": n for n in range(3)}


async def test_values_of_maps_with_too_many_failures_do_not_pile_up_in_a_loop(schedule: Any) -> None:
    gc.collect()
    Counted.alive = Counted.most = 0
    made = cascade.task(mode="inline")(make)

    @cascade.task
    async def turn(left: int, last: Any) -> Any:
        gc.collect()
        mapped = made.map(n=[1, 2, 3]).with_errors("collect", min_success=3)
        return turn(left - 1, settled(mapped)) if left else len(last.error.results)

    mapped = made.map(n=[1, 2, 3]).with_errors("collect", min_success=3)
    assert await cascade.run(turn(20, settled(mapped)), schedule=schedule) == 2
    assert Counted.most <= 3 * 3


async def test_outcomes_stay_if_somebody_wants_all(schedule: Any) -> None:
    mapped = odd_ones_fail.map(n=range(4))

    @cascade.task
    async def late(x: Any, _: Any) -> Any:
        return said(x)

    early = tell.map(x=settled(mapped))
    flow = [early, late.partial(_=early).map(x=settled(mapped)), settled(mapped)]
    first, second, whole = await cascade.run(flow, schedule=schedule)
    assert first == second
    assert len(first) == 4
    assert said(whole).startswith("ValueError 1")


@pytest.mark.parametrize("way", WAYS)
async def test_values_stay_if_somebody_wants_the_whole_list(way: Any, schedule: Any) -> None:
    column = way(odd_ones_fail.map(n=[0, 2, 4]))
    mapped = column.call if way is settled else column
    flow = [tell.map(x=column), tell.map(x=column), give(mapped), tell.map(x=settled(mapped))]
    told, again, whole, outcomes = await cascade.run(flow, schedule=schedule)
    assert whole == [0, 2, 4]
    assert outcomes == [("done", n) for n in whole]
    assert told == again == (outcomes if way is settled else whole)


async def test_outcomes_are_let_go_of_in_stages_too() -> None:
    values: list[Any] = []

    class Value: ...

    @cascade.task
    async def one(n: int) -> Any:
        value = Value()
        values.append(weakref.ref(value))
        return value

    @cascade.task
    async def use(x: Any) -> int:
        return isinstance(x, Done)

    @cascade.task
    async def look(_: Any) -> int:
        gc.collect()
        return sum(value() is not None for value in values)

    assert await cascade.run(look(use.map(x=settled(one.map(n=range(5)))))) == 0
