"""Runs that are resumed with maps that follow others item by item, and have taken failures as values."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from outcome_tasks import WAYS, collected, said

import cascade
from cascade import Failed, settled
from cascade.state import InMemoryStateBackend
from cascade.testing import Crash, FaultPlan, simulate

# How often each thing ran, and what fails. Tasks look it up here: what a task is bound to is part of its digest.
RAN: Counter[str] = Counter()
FAILING: set[str] = set()
# By what ends the run, the store which has to have all other items before.
LAST: dict[str, InMemoryStateBackend] = {}


@pytest.fixture(autouse=True)
def _nothing_has_run() -> None:
    RAN.clear()
    FAILING.clear()
    LAST.clear()


@cascade.task
async def load(name: str) -> str:
    if name in LAST:
        while not (await LAST[name].has_result("shout[0]") and await LAST[name].has_result("shout[1]")):
            await checkpoint()
        raise SystemExit(name)
    RAN[name] += 1
    if name in FAILING:
        raise ValueError(name)
    return name


@cascade.task
async def tell(x: Any) -> str:
    text = said(x)
    if isinstance(x, Failed):
        text = f"no {x.error}"
    elif isinstance(text, tuple):
        text = text[1]
    RAN[f"tell {str(text).removeprefix('no ')}"] += 1
    return str(text)


@cascade.task
async def shout(x: str) -> str:
    RAN[f"shout {x.removeprefix('no ')}"] += 1
    return x.upper()


@cascade.task
async def publish(x: Any) -> Any:
    RAN["publish"] += 1
    if "publish" in FAILING:
        raise ValueError("publish")
    return x


def told(way: Any) -> Any:
    return tell.map(x=way(load.map(name=["a", "b", "c"])))


async def test_after_a_settled_map_only_those_items_run_again_that_took_failures(schedule: Any) -> None:
    flow = publish(shout.map(x=told(settled)))
    store = InMemoryStateBackend("night")
    FAILING.update({"b", "publish"})
    with pytest.raises(ValueError, match="publish"):
        await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    RAN.clear()
    FAILING.clear()
    assert await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule) == ["A", "B", "C"]
    assert Counter(["b", "tell b", "shout b", "publish"]) == RAN


async def test_whoever_needs_all_outcomes_as_well_runs_again_as_a_whole(schedule: Any) -> None:
    @cascade.task
    async def both(x: Any, whole: Any) -> str:
        RAN["both"] += 1
        return type(whole).__name__

    mapped = load.map(name=["a", "b"])
    flow = publish(both.partial(whole=settled(mapped)).map(x=settled(mapped)))
    store = InMemoryStateBackend("night")
    FAILING.update({"b", "publish"})
    with pytest.raises(ValueError, match="publish"):
        await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    FAILING.clear()
    value = await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    assert value == ["Done", "Done"]
    assert RAN["both"] == 4


async def test_after_a_map_that_has_collected_failures_nothing_runs_again(schedule: Any) -> None:
    flow = publish(shout.map(x=told(collected)))
    store = InMemoryStateBackend("night")
    FAILING.update({"b", "publish"})
    with pytest.raises(ValueError, match="publish"):
        await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    RAN.clear()
    FAILING.clear()
    value = await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    assert value == ["A", "NO B", "C"]
    assert Counter(["publish"]) == RAN


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resumed_in", ["stages", "eager"])
async def test_a_run_that_ended_between_items_goes_on_with_the_others(way: Any, resumed_in: Any) -> None:
    flow = publish(shout.map(x=told(way)))
    store = InMemoryStateBackend("night")
    FAILING.add("b")
    LAST["c"] = store
    with pytest.raises(SystemExit):
        await cascade.run(flow, state=lambda _: store, run_id="night", schedule="eager", durability="task")
    assert Counter(["a", "b", "tell a", "tell b", "shout a", "shout b"]) == RAN
    RAN.clear()
    FAILING.clear()
    LAST.clear()
    value = await cascade.run(flow, state=lambda _: store, run_id="night", schedule=resumed_in)
    assert value == ["A", "B", "C"]
    again = [f"{what}{name}" for name in "bc" for what in ("", "tell ", "shout ")]
    assert Counter([*again, "publish"]) == RAN


@pytest.mark.parametrize("recovers", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("durability", ["task", "exit"])
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_run_goes_on_from_a_crash_at_any_write(
    when: Any, durability: Any, way: Any, recovers: bool, schedule: Any
) -> None:
    def flow() -> Any:
        mapped = load.map(name=["a", "b", "c"])
        return publish([shout.map(x=tell.map(x=way(mapped))), settled(mapped)])

    as_run: Any = {"durability": durability, "schedule": schedule, "run_id": "run"}
    for at in itertools.count(1):
        store = InMemoryStateBackend("run")
        FAILING.add("b")
        first = simulate(
            flow(), state=lambda _, store=store: store, faults=FaultPlan(store=Crash(at, when)), **as_run
        )
        if not first.has_crashed:
            assert first.result()[0] == ["A", "NO B", "C"]
            return
        if recovers:
            FAILING.clear()
        shouted, outcome = simulate(flow(), state=lambda _, store=store: store, **as_run).result()
        if isinstance(outcome, Failed) or isinstance(outcome.unwrap()[1], Failed):
            assert shouted == ["A", "NO B", "C"]
        else:
            assert recovers
            assert shouted == ["A", "B", "C"]
