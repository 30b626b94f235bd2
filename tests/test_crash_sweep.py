"""Durable state in simulation: the process ends at every write to the store, and the next run goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from oracle import meanings
from pairs import SCHEDULES, each_once
from virtual_time import pass_time

import cascade
from cascade.state import InMemoryStateBackend
from cascade.testing import Crash, FaultPlan, RandomFlow, Simulation, flows, simulate
from cascade.testing.descriptions import calls_within

pytestmark = pytest.mark.needs("trio")
Moment = Literal["before", "during", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "during", "after")

calls: list[str] = []


@cascade.task
async def step(name: str, *values: Any) -> str:
    calls.append(name)
    await pass_time(1)
    return f"{name}({', '.join(map(str, values))})"


@cascade.task
def sync_step(name: str, *values: Any) -> str:
    calls.append(name)
    return f"{name}({', '.join(map(str, values))})"


@cascade.task
def never() -> bool:
    calls.append("never")
    return False


@cascade.task
async def down(n: int) -> Any:
    calls.append(f"down {n}")
    await pass_time(0.1)
    return down(n - 1) if n else "landed"


@cascade.task
async def expand(name: str) -> Any:
    calls.append(name)
    return [step(f"{name}.{part}") for part in "xy"]


def chain() -> Any:
    return step("c", sync_step("b", step("a")))


def choice() -> Any:
    selector = step("s")
    return step("t", cascade.Router(selector, {"s()": sync_step("yes"), "other": step("no")}))


def skips() -> Any:
    return step("last", step("if", step("before")).run_if(never()))


def mixed() -> Any:
    mapped = step.partial().map(name=["m1", "m2", "m3"])
    return sync_step("all", mapped, expand("e"), choice())


def chained() -> Any:
    """Maps that follow each other."""
    first = step.partial().map(name=["m1", "m2", "m3"])
    return [sync_step.map(name=step.map(name=first)), step("all", first)]


def raced() -> Any:
    late = step("third", step("second", step("first")))
    return step("last", step("use", cascade.race(late, step("quick"), late)), step("x"))


held: set[str] = set()


@cascade.task
async def take(name: str, *_: Any) -> str:
    held.add(cascade.current().idempotency_key)
    await pass_time(1)
    return cascade.current().idempotency_key


@cascade.task
async def give_back(key: str) -> None:
    calls.append(key)
    await pass_time(1)
    held.discard(key)


@cascade.task
async def refuse(*_: Any) -> None:
    raise ValueError("refused")


@cascade.task
async def take_in_turns(left: int, *_: Any) -> Any:
    return take_in_turns(left - 1, take("turn").with_undo(give_back)) if left else refuse()


def refused() -> Any:
    several = take.map(name=["a", "b"]).with_undo(give_back)
    return refuse(several, take("last", take("first").with_undo(give_back)).with_undo(give_back))


FLOWS: dict[str, Callable[[], Any]] = {
    "chain": chain,
    "choice": choice,
    "skips": skips,
    "mixed": mixed,
    "chained": chained,
    "raced": raced,
    "loop": lambda: down(12),
    "after a loop": lambda: step("end", mixed()),
}


def played(flow: Any, store: InMemoryStateBackend, at: int | None, when: Moment, **as_run: Any) -> Simulation:
    """One process: it ends at write *at*, or not before its time."""
    faults = FaultPlan() if at is None else FaultPlan(store=Crash(at, when))
    return simulate(flow, state=lambda _: store, run_id="run", faults=faults, **as_run)


def sweep(make: Callable[[], Any], when: Moment, **as_run: Any) -> int:
    """Crash at the first, second, ... write, and go on; returns how many writes there are."""
    expected = simulate(make()).result()
    for at in itertools.count(1):
        store = InMemoryStateBackend("run")
        calls.clear()
        first = played(make(), store, at, when, **as_run)
        if not first.has_crashed:
            assert first.result() == expected
            return at - 1
        recorded = dict(store._results)
        calls.clear()
        second = played(make(), store, None, when, **as_run)
        assert second.result() == expected, (at, when)
        named = {name for name in calls if not name.startswith("down")}
        assert named.isdisjoint(value.partition("(")[0] for value in recorded.values() if isinstance(value, str))
    raise AssertionError


@each_once("durability, schedule", {"task": "task", "stage": "stage", "exit": "exit"}, SCHEDULES)
@pytest.mark.parametrize("when", MOMENTS)
@pytest.mark.parametrize("name", FLOWS)
def test_a_run_goes_on_from_a_crash_at_any_write(name: str, when: Moment, durability: Any, schedule: Any) -> None:
    # A simulation is the same on both; each has its share.
    backend_name = "trio" if when == "during" else "asyncio"
    settings_of_run = {"loop_record": (3, 100.0)} if name == "loop" else {}
    writes = sweep(
        FLOWS[name], when, durability=durability, schedule=schedule, backend=backend_name, **settings_of_run
    )
    assert writes >= 1


def test_several_crashes_in_a_row_do_not_matter(schedule: Any, backend_name: Any) -> None:
    expected = simulate(mixed()).result()
    store = InMemoryStateBackend("run")
    # The first write may be of skips that are decided anew each time; the second is of something new.
    crashes = -1
    has_crashed = True
    while has_crashed:
        crashes += 1
        assert crashes < 100
        simulation = played(mixed(), store, 2, "after", schedule=schedule, backend=backend_name, durability="task")
        has_crashed = simulation.has_crashed
    assert simulation.result() == expected
    assert crashes >= 2


@pytest.mark.parametrize("make", [refused, lambda: take_in_turns(3)], ids=["graph", "loop"])
@pytest.mark.parametrize("when", MOMENTS)
def test_a_crash_at_any_write_leaves_nothing_that_is_not_undone(
    make: Callable[[], Any], when: Moment, schedule: Any
) -> None:
    for at in itertools.count(1):
        held.clear()
        store = InMemoryStateBackend("run")
        as_run: Any = {"schedule": schedule, "durability": "task", "loop_record": (2, 100.0)}
        first = played(make(), store, at, when, **as_run)
        marks = [name for name in store._results if name.startswith("~undone:") and name != "~undone:0"]
        undone = {f"run/{store._results[name][1]}" for name in marks}
        calls.clear()
        second = played(make(), store, None, when, **as_run)
        assert repr(second.error) == "ValueError('refused')", at
        assert not held, at
        # What was recorded as undone is not undone again; when its node runs again, that has another key.
        assert undone.isdisjoint(calls), at
        if not first.has_crashed:
            assert at > 4
            return


@settings(max_examples=max(settings().max_examples, 200))
@given(flow=flows(), at=st.integers(1, 6), when=st.sampled_from(MOMENTS), seed=st.integers(0, 10_000))
def test_a_random_flow_gives_the_same_after_a_crash(flow: RandomFlow, at: int, when: Moment, seed: int) -> None:
    note(repr(flow))
    as_run: Any = {**flow.settings, "seed": seed, "durability": "task"}
    meant = [*meanings(flow.description)]
    if any(meaning.errors for meaning in meant):
        return  # what failed runs again: whether it fails again is up to the flow
    store = InMemoryStateBackend("run")
    last = played(flow.build(), store, at, when, signals=flow.signals, **as_run)
    if last.has_crashed:
        # What was waited for before counts, so this is sent while there is time.
        signals = {name: (0.0, value) for name, (_, value) in flow.signals.items()}
        last = played(flow.build(), store, None, when, signals=signals, **as_run)
    assert repr(last.result()) in {repr(meaning.value) for meaning in meant}


FAULTS = st.builds(FaultPlan, fail=st.sampled_from([0.1, 0.3]), cancel=st.sampled_from([0, 0, 0.5]))


@given(
    flow=flows(),
    plans=st.lists(FAULTS, min_size=1, max_size=3),
    seed=st.integers(0, 10_000),
    on_error=st.sampled_from(["first", "continue"]),
    durability=st.sampled_from(["task", "stage", "exit"]),
)
def test_a_random_flow_gives_the_same_after_faults_and_cancellations(
    flow: RandomFlow, plans: list[FaultPlan], seed: int, on_error: Any, durability: Any
) -> None:
    note(repr(flow))
    meant = [*meanings(flow.description)]
    if any(meaning.errors for meaning in meant) or any(call.collects for call in calls_within(flow.description)):
        return  # a map that has collected failures has succeeded, and does not run again
    store, moments = InMemoryStateBackend("run"), flow.signals
    as_run: Any = {**flow.settings, "on_error": on_error, "durability": durability, "run_id": "run"}
    for number, plan in enumerate((*plans, FaultPlan())):
        last = simulate(
            flow.build(), state=lambda _: store, faults=plan, signals=moments, seed=seed + number, **as_run
        )
        if last.error is None and plan.fail:
            return  # some of it may be made of failures that were handled
        moments = {name: (0.0, value) for name, (_, value) in flow.signals.items()}
    assert repr(last.result()) in {repr(meaning.value) for meaning in meant}
