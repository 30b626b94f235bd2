"""Large plain data in runs: looked through once, beside others, and neither copied nor kept."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from life import turns_beside
from looks import Visits, noted_visits, rows

import cascade
from cascade.model.calls.callee import Mode
from cascade.runtime.foundation import fairness
from cascade.runtime.scheduling.lanes import thread_lane

SIZE = 3000


visits = noted_visits


@cascade.task
async def on_loop(x: Any) -> Any:
    return x


@cascade.task(mode="inline")
def inline(x: Any) -> Any:
    return x


@cascade.task
def in_thread(x: Any) -> Any:
    return x


@cascade.task(timeout=60)
async def with_policy(x: Any) -> Any:
    return x


TASKS = [on_loop, inline, in_thread, with_policy]
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


# -- once ------------------------------------------------------------------------------------------------------


@every_task
async def test_a_result_that_is_handed_on_is_looked_through_once(
    task: cascade.Task[Any, Any], visits: Visits, schedule: Any
) -> None:
    data = rows(SIZE)

    @cascade.task
    async def source() -> Any:
        return data

    flow: Any = source()
    for _ in range(5):
        flow = task(flow)
    assert await cascade.run(flow, schedule=schedule) is data
    assert SIZE <= visits.total <= 1.2 * SIZE


@every_task
async def test_a_literal_argument_is_looked_through_once_for_all_calls(
    task: cascade.Task[Any, Any], visits: Visits, schedule: Any
) -> None:
    data = rows(SIZE)
    results = await cascade.run([task(data) for _ in range(20)], schedule=schedule)
    assert all(result is data for result in results)
    assert SIZE <= visits.total <= 1.2 * SIZE


@pytest.mark.parametrize("mode", ["inline", "thread"])
async def test_an_argument_of_a_loop_is_looked_through_once(mode: Mode, visits: Visits, schedule: Any) -> None:
    @cascade.task(mode=mode)
    def step(n: int, table: Any) -> Any:
        return step(n - 1, table) if n else table

    data = rows(SIZE)
    assert await cascade.run(step(50, data), schedule=schedule) is data
    assert SIZE <= visits.total <= 1.2 * SIZE


@pytest.mark.parametrize("is_own", [True, False], ids=["handed on", "from elsewhere"])
async def test_an_argument_of_a_loop_of_several_tasks_is_looked_through_once(
    is_own: bool, visits: Visits, schedule: Any
) -> None:
    data = rows(SIZE)

    @cascade.task(mode="inline")
    def step(n: int, table: Any, _: Any) -> Any:
        again = table if is_own else data
        return step(n - 1, again, [inline(again), inline(n)]) if n else again

    assert await cascade.run(step(20, data, None), schedule=schedule) is data
    assert SIZE <= visits.total <= 1.5 * SIZE


async def test_what_flows_in_place_are_given_is_looked_through_once(visits: Visits, schedule: Any) -> None:
    @cascade.task
    async def part(table: Any, n: int) -> Any:
        return [on_loop(table), n]

    data = rows(SIZE)
    results = await cascade.run([part(data, n) for n in range(10)], schedule=schedule)
    assert all(result[0] is data for result in results)
    assert SIZE <= visits.total <= 1.5 * SIZE


@every_task
async def test_values_that_nest_are_no_more_work_than_values_that_do_not(
    task: cascade.Task[Any, Any], visits: Visits, schedule: Any
) -> None:
    def nested(depth: int) -> Any:
        flow = task(0)
        for _ in range(depth):
            flow = task([flow])
        return flow

    work = []
    for depth in (150, 300):
        visits.clear()
        await cascade.run(nested(depth), schedule=schedule)
        work.append(visits.total / depth)
    assert work[1] < 1.5 * work[0] + 5


async def test_a_column_is_looked_through_as_a_whole_and_its_items_only_when_they_are_returned(
    visits: Visits, schedule: Any
) -> None:
    @cascade.task
    async def count(row: Any) -> int:
        return len(row)

    assert sum(await cascade.run(count.map(row=rows(SIZE)), schedule=schedule)) == SIZE
    assert SIZE <= visits.total <= 1.1 * SIZE
    visits.clear()
    data = rows(SIZE)
    results = await cascade.run(on_loop.map(x=data), schedule=schedule)
    assert all(result is row for result, row in zip(results, data, strict=True))
    assert visits.total <= 2.2 * SIZE


async def test_the_results_of_a_map_are_not_looked_through_again_as_a_whole(visits: Visits, schedule: Any) -> None:
    @cascade.task(mode="inline")
    def make(n: int) -> Any:
        return rows(200)

    flow = on_loop(make.map(n=range(10)))
    results = await cascade.run(flow, schedule=schedule)
    assert len(results) == 10
    assert 2000 <= visits.total <= 2500


@pytest.mark.parametrize("is_target", [True, False], ids=["target", "in the middle"])
@every_task
async def test_data_that_is_returned_beside_calls_is_looked_through_once(
    task: cascade.Task[Any, Any], is_target: bool, visits: Visits, schedule: Any
) -> None:
    data = rows(SIZE)
    flow = _returned(task, {"rows": data, "last": task(task(3))})
    result = await cascade.run(flow if is_target else on_loop(flow), schedule=schedule)
    assert (result["rows"] is data, result["last"]) == (True, 3)
    assert SIZE <= visits.total <= 1.2 * SIZE


async def test_a_cached_call_looks_once(visits: Visits) -> None:
    data = rows(SIZE)
    cache = cascade.cache.InputCache(cascade.cache.MemoryCacheStore())

    @cascade.task(cache=cache)
    async def load(n: int) -> Any:
        return data

    assert await cascade.run(load(1)) is data
    assert SIZE <= visits.total <= 1.2 * SIZE


# -- beside others ---------------------------------------------------------------------------------------------


def _given(task: cascade.Task[Any, Any], data: Any) -> Any:
    return task(data)


def _returned(task: cascade.Task[Any, Any], data: Any) -> Any:
    @cascade.task(mode=task.mode or "inline", timeout=60 if task is with_policy else None)
    def load() -> Any:
        return data

    return load()


@pytest.mark.parametrize("make", [_given, _returned])
@pytest.mark.parametrize("task", [inline, with_policy], ids=lambda task: task.name)
async def test_others_have_their_turn_while_data_is_looked_through(
    task: cascade.Task[Any, Any], make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fairness, "SLICE", 0)  # so that each pause counts, however quick the machine is
    flows = [make(task, data) for data in (rows(1), [rows(100) for _ in range(1000)])]
    few, many = [await turns_beside(partial(cascade.run, flow)) for flow in flows]
    assert many > few + 20


async def test_what_a_thread_returns_is_looked_through_in_that_thread(visits: Visits) -> None:
    data = rows(SIZE)

    @cascade.task
    def load() -> Any:
        return data

    await cascade.run(load())
    assert visits.total >= SIZE
    assert visits.on_this_thread() == 0


async def test_a_thread_lets_others_run_while_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    steps_back = 0

    def step_back(is_awaited: object) -> None:
        nonlocal steps_back
        steps_back += 1

    monkeypatch.setattr(thread_lane, "step_back", step_back)
    monkeypatch.setattr(thread_lane, "TURN", 1e-9)
    await cascade.run(_returned(in_thread, [rows(100) for _ in range(1000)]))
    assert steps_back > 20


# -- what is promised of data that changes ---------------------------------------------------------------------


@every_task
async def test_calls_that_a_task_adds_to_what_it_was_given_are_found(
    task: cascade.Task[Any, Any], schedule: Any
) -> None:
    @cascade.task
    def add(xs: list[Any]) -> Any:
        xs.append((1, task("added")))
        return xs

    for size in (0, 3, SIZE):
        results = await cascade.run(task(add(task(rows(size)))), schedule=schedule)
        assert results[-1] == (1, "added")


@pytest.mark.parametrize("mode", ["inline", "thread"])
async def test_calls_that_a_loop_adds_to_its_argument_are_found(mode: Mode, schedule: Any) -> None:
    @cascade.task(mode=mode)
    def step(n: int, found: list[Any], state: dict[str, Any]) -> Any:
        found.append((n, inline(n)))
        state["calls"].append([inline(-n)])
        return step(n - 1, found, state) if n else [found, state]

    for size in (0, SIZE):
        state = {"rows": rows(size), "calls": []}
        found, state = await cascade.run(step(5, rows(size), state), schedule=schedule)
        assert found[-6:] == [(n, n) for n in range(5, -1, -1)]
        assert state["calls"] == [[-n] for n in range(5, -1, -1)]


# -- neither copied nor kept -----------------------------------------------------------------------------------


class Heavy:
    """Something that can be watched going away."""


@every_task
async def test_a_large_result_is_let_go_of_after_its_last_consumer(
    task: cascade.Task[Any, Any], schedule: Any
) -> None:
    made: list[weakref.ref[Heavy]] = []

    @cascade.task
    async def source() -> Any:
        heavy = Heavy()
        made.append(weakref.ref(heavy))
        return [heavy, *rows(SIZE)]

    @cascade.task
    async def measure(x: Any) -> int:
        return len(x)

    @cascade.task
    async def until_gone(_: int) -> None:
        gc.collect()
        while made[0]() is not None:  # a thread may be about to let go of it
            await checkpoint()

    with anyio.fail_after(60):
        await cascade.run(until_gone(on_loop(measure(task(source())))), schedule=schedule)


async def test_large_arguments_of_a_turn_are_let_go_of_before_the_next_but_one(schedule: Any) -> None:
    made: list[weakref.ref[Heavy]] = []
    alive: list[int] = []

    @cascade.task(mode="inline")
    def turn(n: int, table: Any, _: Any) -> Any:
        del table
        gc.collect()
        alive.append(sum(ref() is not None for ref in made))
        heavy = Heavy()
        made.append(weakref.ref(heavy))
        return turn(n - 1, [heavy, *rows(SIZE)], [inline(n)]) if n else "end"

    assert await cascade.run(turn(6, None, None), schedule=schedule) == "end"
    assert max(alive) <= 1


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
async def test_nothing_is_remembered_when_a_run_has_ended(fails: bool, schedule: Any) -> None:
    @cascade.task
    async def last(*values: Any) -> Any:
        if fails:
            raise RuntimeError("last")
        return rows(SIZE)

    @cascade.task(mode="inline")
    def part(n: int) -> Any:
        return [inline(rows(SIZE)), n]

    flow = [last(in_thread(rows(SIZE)), inline.map(x=[rows(SIZE), rows(SIZE)]), part(1)), rows(SIZE)]
    async with cascade.start(flow, schedule=schedule, on_error="continue") as run:
        try:
            await run.result()
        except cascade.RunFailed:
            assert fails
    assert not run._lifetime.run_context.memory.hold.seen._entries


@pytest.mark.parametrize(
    "make", [lambda: rows(SIZE), lambda: {"a": (1, [2])}, lambda: {1, 2}], ids=["rows", "dict", "set"]
)
@every_task
async def test_plain_data_is_handed_on_as_it_is(
    task: cascade.Task[Any, Any], make: Callable[[], Any], schedule: Any
) -> None:
    data = make()
    results = await cascade.run([task(data), task(task(data)), task.map(x=[data])], schedule=schedule)
    assert results[0] is data
    assert results[1] is data
    assert results[2][0] is data


# -- parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [inline(1), [inline(1)], {"k": (cascade.Param("p"),)}], ids=["lazy", "list", "deeper"]
)
async def test_a_placeholder_is_no_value_of_a_parameter(given: Any) -> None:
    with pytest.raises(cascade.InputError, match=r"'p' is given a .* placeholder.*run it first"):
        await cascade.run(inline(cascade.Param("p", type=Any)), {"p": given})


async def test_a_placeholder_is_no_default_of_a_parameter() -> None:
    with pytest.raises(cascade.InputError, match="'p' is given"):
        await cascade.run(inline(cascade.Param("p", default=inline(1))))
