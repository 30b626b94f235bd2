"""Lanes tell of nodes in batches; nobody who looks at the run, or is told of it, notices."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import anyio
import attrs
import pytest

import cascade


@cascade.task(mode="inline")
def inline(value: Any) -> Any:
    return value


class Load:
    """Something to refer to weakly."""


async def test_threads_may_ask_where_the_run_is_while_a_lane_is_at_work(schedule: Any) -> None:
    counts: list[int] = []

    @cascade.task
    def ask(_: int) -> int:
        counts.append(handle.status().counts["succeeded"])
        return 1

    flow = [[inline(inline(number)) for number in range(300)], [ask(inline(number)) for number in range(100)]]
    async with cascade.start(flow, schedule=schedule) as run:
        handle = run
        assert await run.result() == [[*range(300)], [1] * 100]
    assert run.status().counts["succeeded"] == 800
    assert 0 <= min(counts) <= max(counts) <= 800


async def test_a_node_is_told_of_all_that_has_ended_before_it(schedule: Any) -> None:
    seen: list[int] = []

    @cascade.task(mode="inline")
    def ask(number: int) -> int:
        seen.append(handle.status().counts["succeeded"])
        return number

    async with cascade.start([ask(number) for number in range(50)], schedule=schedule) as run:
        handle = run
        await run.result()
    assert seen == [*range(50)]


@pytest.mark.parametrize("how", ["waits", "fails", "cancels"])
async def test_who_begins_to_listen_in_a_node_is_told_how_long_that_took(how: str, schedule: Any) -> None:
    told: list[Any] = []

    @cascade.task
    async def node() -> int:
        told.append(handle.subscribe(cascade.TaskExecutionFinished))
        if how == "waits":
            await anyio.lowlevel.checkpoint()
        if how == "cancels":
            handle.cancel()
        if how == "fails":
            raise LookupError
        return 1

    async with cascade.start([node(), inline(1)], schedule=schedule, on_error="continue") as run:
        handle = run
        with suppress(cascade.RunFailed, cascade.RunCancelled):
            await run.result()
    async with told[0] as events:
        found = [event async for event in events if event.task_id == "node"]
    assert all(0 <= event.duration < 60 for event in found)
    assert found


async def test_values_are_let_go_of_where_times_are_noted() -> None:
    loads: weakref.WeakSet[Load] = weakref.WeakSet()
    most = 0

    @cascade.task(mode="inline")
    def step(_: Any = None) -> Load:
        nonlocal most
        load = Load()
        loads.add(load)
        most = max(most, len(loads))
        return load

    @cascade.task(constraints={"gpu": 1})
    async def scarce() -> None:
        pass

    last = step()
    for _ in range(100):
        last = step(last)
    await cascade.run([last, scarce(), scarce()], schedule="eager", system_resources={"gpu": 1})
    assert most <= 3


@attrs.define
class Asking:
    """A record that asks where it is made."""

    value: Any
    where: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            self.where = cascade.current().node_id
        except RuntimeError:
            self.where = "nowhere"


@pytest.mark.parametrize("mode", ["inline", "thread"])
async def test_arguments_are_put_together_in_no_node(mode: Any, schedule: Any) -> None:
    @cascade.task(mode=mode)
    def where(asking: Asking) -> str:
        return asking.where

    assert (
        await cascade.run([where(Asking(inline(number))) for number in range(5)], schedule=schedule)
        == ["nowhere"] * 5
    )


@pytest.mark.parametrize("gives_way", [False, True], ids=["in one go", "gives way"])
@pytest.mark.parametrize("mode", ["inline", "async"])
async def test_what_an_async_node_was_given_is_gone_before_the_next_one_runs(
    mode: Any, gives_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    for module in ("hot_turns", "turn_code", "turn_steps"):
        clock = SimpleNamespace(perf_counter=lambda: now)
        monkeypatch.setattr(f"cascade.runtime.scheduling.turns.{module}.time", clock)
    loads: list[weakref.ref[Load]] = []
    alive: list[bool] = []

    @cascade.task(mode="inline")
    def make() -> Load:
        nonlocal now
        now += gives_way  # others have their turn before the load is used
        load = Load()
        loads.append(weakref.ref(load))
        return load

    @cascade.task
    async def use(_: Load) -> int:
        return 1

    def look(_: int) -> int:
        gc.collect()
        alive.append(loads[-1]() is not None)
        return 1

    async def look_async(number: int) -> int:
        return look(number)

    looks: Any = cascade.task(mode="inline")(look) if mode == "inline" else cascade.task(look_async)

    @cascade.task(mode="inline")
    def turn(left: int, _: int = 0) -> Any:
        return turn(left - 1, looks(use(make()))) if left else "end"

    assert await cascade.run(turn(6, looks(use(make())))) == "end"
    assert alive == [False] * 7
