"""Runs that are resumed after handled failures: what failed runs again, and what took that as a value."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from life import until

import cascade
from cascade import Failed, settled
from cascade.state import InMemoryStateBackend
from cascade.testing import Crash, FaultPlan, simulate

# How often each thing ran, and what fails. Tasks look it up here: what a task is bound to is part of its digest.
RAN: Counter[str] = Counter()
FAILING: set[str] = set()


@pytest.fixture(autouse=True)
def _nothing_has_run() -> None:
    RAN.clear()
    FAILING.clear()


def note(what: str) -> None:
    RAN[what] += 1
    if what in FAILING:
        raise ValueError(what)


@cascade.task
async def load(name: str) -> str:
    note(name)
    return name


@cascade.task
async def report(*outcomes: Any, name: str = "report") -> str:
    note(name)
    return ", ".join(shown(outcome) for outcome in outcomes)


@cascade.task
async def publish(text: str) -> str:
    note("publish")
    return text


@cascade.task
async def line(prefix: Any, name: str) -> str:
    note(f"line {name}")
    return f"{shown(prefix)} {name}"


def shown(outcome: Any) -> str:
    if isinstance(outcome, list):
        return f"[{' '.join(map(shown, outcome))}]"
    if isinstance(outcome, Failed):
        return f"no {outcome.error}"
    return str(outcome.value) if isinstance(outcome, cascade.Done) else str(outcome)


async def first_and_again(
    flow: Any, schedule: Any, fails: set[str], fails_again: set[str]
) -> tuple[str, list[str]]:
    """Run *flow*, of which ``publish`` fails; then what resuming it gives, and what that ran."""
    store = InMemoryStateBackend("night")
    FAILING.update(fails, {"publish"})
    with pytest.raises(ValueError, match="publish"):
        await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    RAN.clear()
    FAILING.clear()
    FAILING.update(fails_again)
    value = await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    return value, sorted(RAN)


@pytest.mark.parametrize("fails_again", [False, True])
async def test_what_failed_runs_again_with_what_took_the_failure(fails_again: bool, schedule: Any) -> None:
    flow = publish(report(settled(load("a")), settled(load("b"))))
    again = {"b"} if fails_again else set()
    value, ran = await first_and_again(flow, schedule, {"b"}, again)
    assert value == ("a, no b" if fails_again else "a, b")
    assert ran == ["b", "publish", "report"]


async def test_what_took_nothing_but_values_does_not_run_again(schedule: Any) -> None:
    flow = publish(report(settled(load("a")), settled(load("b").run_if(False))))
    value, ran = await first_and_again(flow, schedule, set(), set())
    assert ran == ["publish"]
    assert value.startswith("a, Skipped(")


@pytest.mark.parametrize("fails_again", [False, True])
async def test_an_alternative_that_was_taken_is_decided_anew(fails_again: bool, schedule: Any) -> None:
    flow = publish(report(load("a").or_else(load("b"))))
    value, ran = await first_and_again(flow, schedule, {"a"}, {"a"} if fails_again else set())
    assert value == ("b" if fails_again else "a")
    assert ran == ["a", "publish", "report"]


async def test_an_alternative_that_was_not_taken_is_not_decided_anew(schedule: Any) -> None:
    flow = publish(report(load("a").or_else(load("b"))))
    assert await first_and_again(flow, schedule, set(), set()) == ("a", ["publish"])


async def test_items_that_took_a_failure_run_again(schedule: Any) -> None:
    lines = line.partial(prefix=settled(load("a"))).map(name=["x", "y"])
    value, ran = await first_and_again(publish(report(lines)), schedule, {"a"}, set())
    assert value == "[a x a y]"
    assert ran == ["a", "line x", "line y", "publish", "report"]


async def test_a_router_that_is_settled_is_as_firm_as_its_route(schedule: Any) -> None:
    flow = publish(report(settled(cascade.Router(load("x"), {"x": load("a"), "y": load("b")}))))
    assert await first_and_again(flow, schedule, set(), set()) == ("a", ["publish"])
    value, ran = await first_and_again(flow, schedule, {"a"}, set())
    assert (value, ran) == ("a", ["a", "publish", "report"])


async def test_a_map_that_has_collected_failures_has_succeeded(schedule: Any) -> None:
    flow = publish(report(load.map(name=["a", "b"]).with_errors("collect")))
    assert await first_and_again(flow, schedule, {"b"}, set()) == ("[a no b]", ["publish"])


async def test_failed_items_of_a_map_that_was_cut_short_run_again(schedule: Any) -> None:
    store = InMemoryStateBackend("night")
    flow = load.map(name=["a", "b", "c"]).with_errors("collect", 3)
    FAILING.add("b")
    with pytest.raises(cascade.MapFailed):
        await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    RAN.clear()
    FAILING.clear()
    value = await cascade.run(flow, state=lambda _: store, run_id="night", schedule=schedule)
    assert value == ["a", "b", "c"]
    assert RAN["b"] == 1


@pytest.mark.parametrize("way", ["settled", "or_else", "column", "collected"])
@pytest.mark.parametrize("end", ["drained", "suspended"])
async def test_a_map_with_a_handled_failure_is_left_by_a_run_that_ends_early(
    end: str, way: str, schedule: Any
) -> None:
    @cascade.task
    async def load_later(name: str) -> Any:
        note(name)
        return [name, cascade.signal("go")] if name == "c" else name

    def flow() -> Any:
        mapped = load_later.map(name=["a", "b", "c", "d"]).with_concurrency(1)
        ways: dict[str, Callable[[], Any]] = {
            "settled": lambda: settled(mapped),
            "or_else": lambda: mapped.or_else("other"),
            "column": lambda: value_of.map(outcome=settled(mapped)),
            "collected": lambda: mapped.with_errors("collect"),
        }
        return ways[way]()

    @cascade.task
    async def value_of(outcome: Any) -> Any:
        return None if isinstance(outcome, Failed) else outcome.value

    store = InMemoryStateBackend("night")
    as_run: Any = {"state": lambda _: store, "run_id": "night", "schedule": schedule}
    FAILING.add("b")
    if end == "suspended":
        with pytest.raises(cascade.RunSuspended):
            await cascade.run(flow(), when_idle="suspend", **as_run)
    else:
        async with cascade.start(flow(), **as_run) as run:
            await until(lambda: run.status().waiting != ())
            run.drain()
            with pytest.raises(cascade.RunCancelled, match="drained"):
                await run.result()
    assert RAN == {"a": 1, "b": 1, "c": 1}
    FAILING.clear()
    async with cascade.start(flow(), **as_run) as run:
        await until(lambda: run.status().waiting != ())
        await run.send("go", "on")
        value = await run.result()
    assert (value.value if way == "settled" else value) == ["a", "b", ["c", "on"], "d"]


@pytest.mark.parametrize(
    "change",
    [lambda call: settled(call), lambda call: call.or_else(1), lambda call: call.or_else(1, on=KeyError)],
    ids=["settled", "or else", "or else on"],
)
async def test_an_outcome_and_a_value_are_different_content(change: Any, schedule: Any) -> None:
    """The record of what took one is not taken for the other."""
    store = InMemoryStateBackend("night")
    FAILING.add("publish")
    with pytest.raises(ValueError, match="publish"):
        await cascade.run(
            publish(report(load("a"))), state=lambda _: store, run_id="night", schedule=schedule, on_change="error"
        )
    FAILING.clear()
    with pytest.raises(cascade.FlowChangedError, match="report"):
        await cascade.run(
            publish(report(change(load("a")))), state=lambda _: store, run_id="night", schedule=schedule
        )


async def test_what_a_map_does_with_failures_is_part_of_its_content(schedule: Any) -> None:
    store = InMemoryStateBackend("night")
    mapped = load.map(name=["a"])
    FAILING.add("publish")
    with pytest.raises(ValueError, match="publish"):
        await cascade.run(publish(report(mapped)), state=lambda _: store, run_id="night", schedule=schedule)
    FAILING.clear()
    for other in (mapped.with_errors("collect"), mapped.with_errors("collect", 1)):
        with pytest.raises(cascade.FlowChangedError, match="load"):
            await cascade.run(publish(report(other)), state=lambda _: store, run_id="night", schedule=schedule)


# -- crashes ---------------------------------------------------------------------------------------------------


def handling() -> Any:
    first = report(settled(load("a")), load("b").or_else(load("c")), name="first")
    lines = line.partial(prefix=settled(load("a"))).map(name=["x", "y"]).with_errors("collect")
    return report(first, lines, settled(report(load("b"), name="second")))


@pytest.mark.parametrize("durability", ["task", "exit"])
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_run_with_handled_failures_goes_on_from_a_crash_at_any_write(
    when: Any, durability: Any, schedule: Any
) -> None:
    FAILING.update({"a", "b", "line y"})
    as_run: Any = {"durability": durability, "schedule": schedule, "run_id": "run"}
    expected = simulate(handling()).result()
    assert expected == "no a, c, [no a x no line y], no b"
    for at in itertools.count(1):
        store = InMemoryStateBackend("run")
        crash = FaultPlan(store=Crash(at, when))
        first = simulate(handling(), state=lambda _, store=store: store, faults=crash, **as_run)
        if not first.has_crashed:
            assert first.result() == expected
            return
        second = simulate(handling(), state=lambda _, store=store: store, **as_run)
        assert second.result() == expected
