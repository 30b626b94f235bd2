"""Tail calls: a target that returns a lazy is replaced by it, turn after turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from observed import observe
from own_cache import Memory
from plain_tasks import gathered, give

import cascade
from cascade.planning.solve import solve
from cascade.testing import record_events


@cascade.task(mode="inline")
def inline(n: int) -> Any:
    return inline(n - 1) if n else "end"


@cascade.task
def thread(n: int) -> Any:
    return thread(n - 1) if n else "end"


@cascade.task
async def on_loop(n: int) -> Any:
    return on_loop(n - 1) if n else "end"


@cascade.task(mode="inline")
def ping(n: int) -> Any:
    return pong(n - 1) if n else "ping"


@cascade.task
async def pong(n: int) -> Any:
    return pang(n - 1) if n else "pong"


@cascade.task(mode="inline")
def pang(n: int) -> Any:
    return ping(n - 1) if n else "pang"


@cascade.task(mode="inline")
def minus(n: int, m: int = 1) -> int:
    return n - m


@cascade.task(mode="inline")
def with_plan(n: int, *_: Any) -> Any:
    """Each turn is a flow of several nodes."""
    return with_plan(minus(n), gathered(give(n), give([n]))) if n else "end"


# -- replacement -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [inline, thread, on_loop], ids=lambda task: str(task.name))
@pytest.mark.parametrize("turns", [0, 1, 2, 40])
async def test_a_target_that_returns_a_call_is_replaced_by_it(task: Any, turns: int, schedule: Any) -> None:
    seen = await observe(task(turns), schedule=schedule)
    assert seen.value == "end"
    assert seen.started == [task.name] * (turns + 1)
    assert seen.last.counts["succeeded"] == turns + 1


@pytest.mark.parametrize(("turns", "expected"), [(0, "ping"), (1, "pong"), (2, "pang"), (31, "pong")])
async def test_tasks_may_take_turns(turns: int, expected: str, schedule: Any) -> None:
    seen = await observe(ping(turns), schedule=schedule)
    assert seen.value == expected
    assert seen.started == (["ping", "pong", "pang"] * (turns + 1))[: turns + 1]


async def test_a_turn_may_be_a_flow_of_many_nodes(schedule: Any) -> None:
    seen = await observe(with_plan(minus(4)), schedule=schedule)
    assert seen.value == "end"
    started = Counter(seen.started)
    assert started == {"with_plan": 4, "minus": 4, "give": 3, "give#2": 3, "gathered": 3}


async def test_turns_may_differ_in_everything(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def grow(values: list[int]) -> Any:
        if len(values) > 5:
            return values
        return grow([*values, *[give(len(values) + extra) for extra in range(len(values))]])

    assert await cascade.run(grow([0]), schedule=schedule) == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: give(None), None),
        (lambda: give(False), False),
        (lambda: [give(1), {"k": (give(2), 3)}], [1, {"k": (2, 3)}]),
        (lambda: cascade.gather(give(1), give(2)), (1, 2)),
        (lambda: cascade.sequence([give(1), give(2)]), 2),
        (lambda: give(2).after(give(1).run_if(False)), None),
        (lambda: give.map(value=[1, 2]), [1, 2]),
        (lambda: cascade.Router(give("a"), {"a": give(1), "b": give(2)}), 1),
        (lambda: cascade.Router(give("a"), {"a": inline(3), "b": give(2)}), "end"),
        (lambda: cascade.Router(give("?"), {"b": give(2)}, default=[inline(3)]), ["end"]),
        (lambda: cascade.Router("a", {"a": cascade.Router(give(1), {1: inline(2)})}), "end"),
        (lambda: cascade.Param("p", default=5), 5),
        (lambda: [inline(3), gathered(inline(2))], ["end", ("end",)]),
    ],
)
async def test_whatever_can_be_run_can_replace_the_target(
    make: Callable[[], Any], expected: Any, schedule: Any
) -> None:
    @cascade.task(mode="inline")
    def outer() -> Any:
        return make()

    assert await cascade.run(outer(), schedule=schedule) == expected


async def test_the_route_that_a_router_as_target_chooses_may_be_replaced_as_well(schedule: Any) -> None:
    flow = cascade.Router(give("a"), {"a": inline(3), "b": give("never")})
    seen = await observe(flow, schedule=schedule)
    assert seen.value == "end"
    assert seen.started == ["give", *["inline"] * 4]
    assert seen.skipped == {"give#2": "Pruned"}


async def test_a_resource_cannot_be_a_target(schedule: Any) -> None:
    turns = 0

    @cascade.resource
    def thing() -> Any:
        yield 1

    def count_turns(graph: Any) -> Any:
        nonlocal turns
        turns += 1
        if turns > 3:
            raise AssertionError("the run turns in circles")
        return solve(graph)

    seen = await observe(cascade.inject("thing"), schedule=schedule, providers=[thing], solver=count_turns)
    assert isinstance(seen.error, (cascade.CascadeError, TypeError))


# -- ids and events --------------------------------------------------------------------------------------------


async def test_each_turn_has_the_events_of_a_run_of_its_own(schedule: Any) -> None:
    seen = await observe(inline(2), schedule=schedule)
    nodes = [(type(event).__name__, event.task_id) for event in seen.recorded.of(cascade.NodeEvent)]
    assert nodes == [("TaskExecutionStarted", "inline"), ("TaskExecutionFinished", "inline")] * 3
    names = seen.recorded.names()
    assert names.count("RunStarted") == names.count("RunFinished") == 1
    assert names.count("StageStarted") == names.count("StageFinished") == (3 if schedule == "stages" else 0)


async def test_a_skip_in_a_later_turn_is_reported_and_judged_as_in_the_first(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def turn(n: int, _: Any = None) -> Any:
        step = gathered(give(n)).run_if(n % 2)
        return turn(minus(n), step) if n else give("never").run_if(False)

    seen = await observe(turn(4), schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    skips = [event.task_id for event in seen.recorded.of(cascade.TaskSkipped)]
    assert skips == ["gathered", "gathered", "give"]


async def test_without_listeners_to_nodes_turns_are_sampled(schedule: Any) -> None:
    engine = cascade.Engine(schedule=schedule)
    async with engine.subscribe(cascade.LoopProgress, cascade.RunFinished) as events:
        assert await engine.run(inline(2500)) == "end"
        received = [event async for event in events]
    *progress, last = received
    assert isinstance(last, cascade.RunFinished)
    assert last.counts["succeeded"] == 2501
    turns = [event.turns for event in progress if isinstance(event, cascade.LoopProgress)]
    assert turns
    assert turns == sorted(set(turns))
    assert turns[-1] <= 2501
    assert len(turns) < 100
    assert {event.task_name for event in progress if isinstance(event, cascade.LoopProgress)} == {"inline"}


async def test_the_progress_of_a_loop_names_the_task_of_its_turns(schedule: Any) -> None:
    @cascade.task(name="same", mode="inline")
    def turn(n: int, _: Any = None) -> Any:
        return turn(n - 1, helper()) if n else "end"

    @cascade.task(name="same", mode="inline")
    def helper() -> None:
        return None

    engine = cascade.Engine(schedule=schedule)
    async with engine.subscribe(cascade.LoopProgress) as events:
        await engine.run(turn(1100))
        assert {event.task_name async for event in events if isinstance(event, cascade.LoopProgress)} == {"same"}


async def test_with_a_listener_to_nodes_every_turn_is_told(schedule: Any) -> None:
    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        await engine.run(inline(1200))
    assert len(recorded.of(cascade.TaskExecutionStarted)) == 1201
    assert recorded.of(cascade.LoopProgress) == []


# -- policies --------------------------------------------------------------------------------------------------


async def test_a_retry_covers_the_function_and_not_what_replaces_it(schedule: Any) -> None:
    calls: Counter[str] = Counter()

    @cascade.task(retry=cascade.Retry(5))
    def first() -> Any:
        calls["first"] += 1
        if calls["first"] < 3:
            raise OSError
        return second()

    @cascade.task
    def second() -> None:
        calls["second"] += 1
        raise OSError("always")

    with pytest.raises(OSError, match="always"):
        await cascade.run(first(), schedule=schedule)
    assert calls == {"first": 3, "second": 1}


async def test_every_turn_is_retried_for_itself(schedule: Any) -> None:
    failed: set[int] = set()

    @cascade.task(retry=cascade.Retry(2))
    async def flaky(n: int) -> Any:
        if n not in failed:
            failed.add(n)
            raise OSError
        return flaky(n - 1) if n else "end"

    seen = await observe(flaky(5), schedule=schedule)
    assert seen.value == "end"
    assert len(seen.recorded.of(cascade.TaskRetrying)) == 6


async def test_the_claim_and_thread_of_a_turn_are_free_in_the_next(schedule: Any) -> None:
    @cascade.task(constraints={"gpu": 1})
    def claim(n: int) -> Any:
        return claim(n - 1) if n else "end"

    engine = cascade.Engine(schedule=schedule, system_resources={"gpu": 1}, max_threads=1)
    with anyio.fail_after(60):
        assert await engine.run(claim(5)) == "end"
    assert engine.capacity() == {"gpu": (0, 1)}


async def test_a_cache_keeps_the_final_value_for_every_call_on_the_way(schedule: Any) -> None:
    memory = Memory(lambda _, inputs: inputs["n"])

    @cascade.task(cache=memory, mode="inline")
    def remembered(n: int) -> Any:
        return remembered(n - 1) if n else ["end"]

    assert await cascade.run(remembered(3), schedule=schedule) == ["end"]
    assert memory.saved == {n: ["end"] for n in range(4)}
    seen = await observe(remembered(5), schedule=schedule)
    assert seen.value == ["end"]
    assert len(seen.started) == 2
    assert seen.skipped == {"remembered": "CacheHit"}


async def test_a_cached_call_whose_continuation_fails_is_not_kept(schedule: Any) -> None:
    memory = Memory(lambda _, inputs: inputs["n"])

    @cascade.task(cache=memory, mode="inline")
    def remembered(n: int) -> Any:
        if not n:
            raise OSError("end")
        return remembered(n - 1)

    with pytest.raises(OSError, match="end"):
        await cascade.run(remembered(3), schedule=schedule)
    assert memory.saved == {}


# -- failures and cancellation ---------------------------------------------------------------------------------


async def test_a_failure_in_a_later_turn_is_raised_as_it_is(schedule: Any) -> None:
    failure = ZeroDivisionError("turn")

    @cascade.task
    async def turn(n: int) -> Any:
        if not n:
            raise failure
        return turn(n - 1)

    seen = await observe(turn(10), schedule=schedule)
    assert seen.error is failure
    assert (failure.__cause__, failure.__context__) == (None, None)
    assert len(failure.__notes__) == 1
    assert seen.last.counts == {"pending": 0, "succeeded": 10, "skipped": 0, "failed": 1, "cancelled": 0}


@pytest.mark.parametrize("task", [inline, on_loop], ids=lambda task: str(task.name))
async def test_an_endless_loop_lets_others_run_and_can_be_cancelled(task: Any, schedule: Any) -> None:
    steps = 0
    with anyio.fail_after(60):
        async with cascade.start(task(-1), schedule=schedule) as run:
            while steps < 50:
                steps += 1
                await anyio.lowlevel.checkpoint()
            run.cancel()
    assert run.status().state == "Cancelled"


async def test_a_loop_ends_with_the_scope_around_it(schedule: Any) -> None:
    turns = 0

    @cascade.task(mode="inline")
    def endless(n: int) -> Any:
        nonlocal turns
        turns += 1
        if turns == 20:
            scope.cancel()
        return endless(n + 1)

    with anyio.fail_after(60), anyio.CancelScope() as scope:
        await cascade.run(endless(0), schedule=schedule)
    assert scope.cancelled_caught
    assert turns < 100_000  # a lane looks once a millisecond


async def test_what_a_loop_has_left_is_named_after_a_turn_that_cannot_be_followed(schedule: Any) -> None:
    @cascade.task(mode="task")  # not in a lane: each turn is a graph of its own, lent to the next of its shape
    async def turn(left: int, _: Any = None) -> Any:
        return turn(left - 1, give(left)) if left else {give(): "a lazy as a key"}

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(turn(3), schedule=schedule, on_error="continue")
    (error,) = caught.value.exceptions
    assert isinstance(error, cascade.GraphError)
    assert [*caught.value.results] == ["turn"]
