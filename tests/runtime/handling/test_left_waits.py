"""Who waits for a signal, or feeds another map, while somebody else is cut off: nobody hangs, nothing is left."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from life import until
from virtual_time import in_virtual_time, pass_time

import cascade
from cascade import Failed, MapFailed, TaskCancelledError, race, settled
from cascade.testing import record_events


@cascade.task
async def same(x: Any) -> Any:
    return x


@cascade.task
async def after(seconds: float, x: Any = None) -> float:
    await pass_time(seconds)
    return seconds


@cascade.task
async def asks(timeout: float | None = None) -> Any:
    return same(cascade.signal("word", int, timeout=timeout))


@cascade.task
async def breaks(x: int) -> int:
    await anyio.lowlevel.checkpoint()
    if x == 7:
        raise ValueError("seven")
    return x


WAITING: dict[str, Any] = {
    "a signal": lambda: cascade.signal("word", int),
    "a call": lambda: same(cascade.signal("word", int)),
    "a condition": lambda: same(1).run_if(cascade.signal("word", bool)),
    "a map": lambda: same.map(x=cascade.signal("word", list[int])),
    "a flow": asks,
    "a map of flows": lambda: asks.map(timeout=[None, None]),
}


@in_virtual_time
@pytest.mark.parametrize("kind", WAITING)
async def test_who_waits_for_a_signal_can_lose_a_race(kind: str, schedule: Any) -> None:
    with anyio.fail_after(50):
        assert await cascade.run(race(WAITING[kind](), after(0.01)), schedule=schedule) == 0.01


@pytest.mark.parametrize(("flow", "node"), [(WAITING["a signal"], "word"), (asks, "asks")])
async def test_who_waits_for_a_signal_can_be_cancelled(flow: Any, node: str, schedule: Any) -> None:
    with anyio.fail_after(50):
        async with cascade.start(settled(same(flow())), schedule=schedule) as run:
            await until(lambda: bool(run.status().waiting))
            assert run.cancel_node(node)
            outcome = await run.result()
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, TaskCancelledError)
    assert run.status().waiting == ()


async def test_nobody_waits_any_more_in_a_flow_that_was_cut_off(schedule: Any) -> None:
    doors = {"race": anyio.Event(), "end": anyio.Event()}

    @cascade.task
    async def held(door: str) -> str:
        await doors[door].wait()
        return door

    with anyio.fail_after(50):
        async with cascade.start([race(asks(30.0), held("race")), held("end")], schedule=schedule) as run:
            await until(lambda: bool(run.status().waiting))
            doors["race"].set()
            await until(lambda: not run.status().waiting)
            doors["end"].set()
            assert await run.result() == ["race", "end"]
    assert run.status().counts.get("failed", 0) == 0


@in_virtual_time
async def test_a_map_that_is_given_up_while_a_flow_waits_for_a_signal_ends_alone(schedule: Any) -> None:
    @cascade.task
    async def asks_or_breaks(x: int) -> Any:
        if x:
            return same(cascade.signal("word", int))
        await anyio.lowlevel.checkpoint()
        raise ValueError("none")

    mapped = asks_or_breaks.map(x=[1, 0]).with_errors("collect", min_success=2)
    with anyio.fail_after(50):
        outcome, other = await cascade.run([settled(mapped), after(0.05)], schedule=schedule)
    assert isinstance(outcome.error, MapFailed)
    assert other == 0.05


@pytest.mark.parametrize("limit", [2, None])
async def test_a_map_is_not_held_up_by_a_follower_that_was_given_up(limit: int | None, schedule: Any) -> None:
    source = same.map(x=range(1000))
    given_up = breaks.map(x=source).with_errors("collect", min_success=1000)
    if limit is not None:
        given_up = given_up.with_concurrency(limit)
    with anyio.fail_after(50):
        outcome, others = await cascade.run([settled(given_up), same.map(x=source)], schedule=schedule)
    assert isinstance(outcome.error, MapFailed)
    assert others == list(range(1000))


async def test_a_map_is_not_held_up_by_a_follower_that_was_cancelled(schedule: Any) -> None:
    source = same.map(x=range(1000))
    with anyio.fail_after(50):
        async with cascade.start(
            settled(after.map(seconds=[0.001] * 1000, x=source).with_concurrency(2)), schedule=schedule
        ) as run:
            await until(lambda: "after" in run.status().running)
            assert run.cancel_node("after")
            outcome = await run.result()
    assert isinstance(outcome.error, TaskCancelledError)


async def test_what_a_follower_that_has_ended_would_have_needed_is_let_go_of() -> None:
    class Big:
        alive = 0

        def __init__(self, x: int) -> None:
            self.x = x
            type(self).alive += 1

        def __del__(self) -> None:
            type(self).alive -= 1

    alive: list[int] = []

    @cascade.task
    async def big(x: int) -> Big:
        return Big(x)

    @cascade.task
    async def fails(page: Big) -> int:
        if page.x == 3:
            raise ValueError("three")
        await anyio.lowlevel.checkpoint()
        return page.x

    @cascade.task
    async def look(outcome: Any) -> str:
        alive.append(Big.alive)
        return type(outcome.error).__name__

    mapped = fails.map(page=big.map(x=range(500))).with_errors("collect", min_success=500)
    assert await cascade.run(look(settled(mapped)), schedule="eager") == "MapFailed"
    assert alive[0] < 300


async def test_nothing_is_called_of_a_map_that_was_given_up(schedule: Any) -> None:
    called: list[int] = []

    @cascade.task
    async def step(n: int) -> int:
        called.append(n)
        if n == 0:
            raise ValueError("none")
        return n

    mapped = step.map(n=range(5)).with_timeout(5).with_errors("collect", min_success=5)
    outcome = await cascade.run(settled(mapped), schedule=schedule)
    assert isinstance(outcome.error, MapFailed)
    assert set(called[called.index(0) + 1 :]) == set()


async def test_two_that_wait_for_one_signal_and_race_are_settled_once_each(schedule: Any) -> None:
    with anyio.fail_after(50):
        async with cascade.start(
            race(cascade.signal("word", int), same(cascade.signal("word", int))), schedule=schedule
        ) as run:
            await until(lambda: bool(run.status().waiting))
            await run.send("word", 3)
            assert await run.result() == 3
    counts = run.status().counts
    assert counts.get("pending", 0) == 0
    assert sum(counts.values()) == 3


@in_virtual_time
async def test_a_run_is_suspended_when_the_last_node_beside_a_waiting_flow_ends(schedule: Any) -> None:
    settings: Any = {"state": cascade.state.InMemoryStateBackend, "run_id": "r", "when_idle": "suspend"}
    with anyio.fail_after(50), pytest.raises(cascade.RunSuspended):
        await cascade.run([asks(), after(0.02)], schedule=schedule, **settings)


@pytest.mark.parametrize("length", [1, 2])
async def test_maps_that_only_a_losing_map_follows_are_cancelled_in_the_eager_schedule(length: int) -> None:
    stopped: list[int] = []
    followed = anyio.Event()

    @cascade.task
    async def first(x: int) -> int:
        try:
            await anyio.sleep_forever() if x else None
        except anyio.get_cancelled_exc_class():
            stopped.append(x)
            raise
        return x

    @cascade.task
    async def follow(x: int) -> int:
        followed.set()
        return x

    @cascade.task
    async def win() -> str:
        await followed.wait()
        return "won"

    last: Any = first.map(x=[0, 1, 2])
    for _ in range(length):
        last = follow.map(x=last)
    with anyio.fail_after(50), record_events(engine := cascade.Engine(schedule="eager")) as recorded:
        assert await engine.run(race(last, win())) == "won"
    assert sorted(stopped) == [1, 2]
    ends = {
        end.task_id: end.reason for end in recorded.of(cascade.TaskExecutionFinished) if end.task_id == "first"
    }
    assert ends == {"first": "RaceLost"}


async def test_a_map_that_somebody_else_wants_goes_on_in_the_eager_schedule_when_its_follower_loses() -> None:
    followed, lost = anyio.Event(), anyio.Event()

    @cascade.task
    async def first(x: int) -> int:
        if x:
            await lost.wait()
        return x

    @cascade.task
    async def follow(x: int) -> int:
        followed.set()
        try:
            await anyio.sleep_forever()
        finally:
            lost.set()
        return x

    @cascade.task
    async def win() -> str:
        await followed.wait()
        return "won"

    source = first.map(x=[0, 1, 2])
    with anyio.fail_after(50):
        found = await cascade.run([race(follow.map(x=source), win()), same(source)], schedule="eager")
    assert found == ["won", [0, 1, 2]]
