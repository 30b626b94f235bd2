"""Random flows with races in them, held against all that may come of them; and nothing is left of any."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from life import finished, unfinished
from virtual_time import pass_time

import cascade
from cascade.testing import record_events, simulate, virtual_backends

EXAMPLES = max(settings().max_examples, 200)


class BoomError(Exception):
    """What a failing call raises."""


@dataclass(frozen=True)
class Leaf:
    """A call without inputs: what comes of it, after how long, and whether it claims what there is one of."""

    number: int
    fate: str
    pause: float
    claims: bool


@dataclass(frozen=True)
class Step:
    """A call that gives what it is given: the nodes with these numbers."""

    number: int
    inputs: tuple[int, ...]
    claims: bool


@dataclass(frozen=True)
class Racing:
    """A race between the nodes with these numbers."""

    number: int
    inputs: tuple[int, ...]


Described = Leaf | Step | Racing
FATES = ("gives", "gives", "gives", "fails", "skipped", "waits", "asks", "maps")


@st.composite
def described(draw: st.DrawFn) -> tuple[Described, ...]:
    """Nodes, each of which may use those before it; the last one is the target."""
    nodes: list[Described] = []
    for number in range(draw(st.integers(2, 9))):
        kind = draw(st.sampled_from(("leaf", "race", "step", "race"))) if number > 1 else "leaf"
        if kind == "leaf":
            fate, pause = draw(st.sampled_from(FATES)), draw(st.sampled_from((0.0, 0.0, 1.0, 2.0)))
            nodes.append(Leaf(number, fate, pause, draw(st.booleans())))
            continue
        inputs = tuple(draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=3)))
        nodes.append(Racing(number, inputs) if kind == "race" else Step(number, inputs, draw(st.booleans())))
    return tuple(nodes)


def possible(nodes: tuple[Described, ...]) -> list[set[Any]]:
    """For each node all that may come of it: a value in a tuple, "failed" or "skipped"."""
    found: list[set[Any]] = []
    for node in nodes:
        if isinstance(node, Leaf):
            found.append({node.fate} if node.fate in ("failed", "skipped") else _of_leaf(node))
            continue
        combined = itertools.product(*(found[index] for index in node.inputs))
        if isinstance(node, Step):
            found.append({_of_step(inputs) for inputs in combined})
            continue
        values = {outcome for index in node.inputs for outcome in found[index] if isinstance(outcome, tuple)}
        without = (inputs for inputs in combined if not any(isinstance(outcome, tuple) for outcome in inputs))
        found.append(values | {"failed" if "failed" in inputs else "skipped" for inputs in without})
    return found


def _of_leaf(leaf: Leaf) -> set[Any]:
    match leaf.fate:
        case "fails":
            return {"failed"}
        case "maps":
            return {((leaf.number, leaf.number),)}
        case _:
            return {(leaf.number,)}


def _of_step(inputs: tuple[Any, ...]) -> Any:
    if "failed" in inputs:
        return "failed"
    if "skipped" in inputs:
        return "skipped"
    return (tuple(outcome[0] for outcome in inputs),)


def built(nodes: tuple[Described, ...]) -> Any:
    made: list[Any] = []
    for node in nodes:
        inputs = [] if isinstance(node, Leaf) else [made[index] for index in node.inputs]
        if isinstance(node, Racing):
            made.append(cascade.race(*inputs))
            continue
        lazy = _leaf(node) if isinstance(node, Leaf) else step(*inputs)
        made.append(lazy.with_constraints(gpu=1) if node.claims else lazy)
    return made[-1]


def _leaf(leaf: Leaf) -> Any:
    match leaf.fate:
        case "fails":
            return fails(leaf.pause)
        case "skipped":
            return gives(leaf.number, leaf.pause).run_if(False)
        case "waits":
            return gives(leaf.number, 100.0)
        case "asks":
            return asks(leaf.number, leaf.pause)
        case "maps":
            return step(gives.partial(pause=leaf.pause).map(number=[leaf.number, leaf.number]))
        case _:
            return gives(leaf.number, leaf.pause)


@cascade.task
async def gives(number: int, pause: float) -> int:
    await pass_time(pause)
    return number


@cascade.task
async def fails(pause: float) -> int:
    await pass_time(pause)
    raise BoomError


@cascade.task
async def asks(number: int, pause: float) -> Any:
    return [cascade.race(gives(number, pause), gives(number, 50.0)), number][0]


@cascade.task(mode="inline")
def step(*values: Any) -> Any:
    return tuple(values) if len(values) > 1 or not isinstance(values[0], list) else tuple(values[0])


def outcome_of(error: BaseException | None, value: Any) -> Any:
    if isinstance(error, (BoomError, cascade.RaceFailed)):
        return "failed"
    if isinstance(error, cascade.DependencyMissingError):
        return "skipped"
    assert error is None
    return (value,)


async def _run_and_look(nodes: tuple[Described, ...], schedule: Any) -> Any:
    """How a run of the flow ends; nothing is held and nobody works for it after that."""
    error: BaseException | None = None
    value: Any = None
    before = len(anyio.get_running_tasks())
    async with cascade.Engine(schedule=schedule, system_resources={"gpu": 1}) as engine:
        with record_events(engine) as recorded:
            try:
                value = await engine.run(built(nodes))
            except Exception as raised:
                error = raised
        assert not engine._admission.pool.held
    assert len(anyio.get_running_tasks()) == before
    assert not unfinished(recorded)
    last = finished(recorded)
    cancelled = [end for end in recorded.of(cascade.TaskExecutionFinished) if end.status == "Cancelled"]
    if error is None:
        assert last.failures == ()
        assert last.counts["pending"] == 0
        assert {end.reason for end in cancelled} <= {"RaceLost"}
    return outcome_of(error, value)


@pytest.mark.parametrize("backend", virtual_backends(), ids=lambda backend: backend[0])
@settings(max_examples=EXAMPLES)
@given(nodes=described(), schedule=st.sampled_from(("stages", "eager")))
def test_what_comes_of_a_race_is_what_may_come_of_it_and_nothing_is_left(
    backend: Any, nodes: tuple[Described, ...], schedule: Any
) -> None:
    name, options = backend
    found = anyio.run(_run_and_look, nodes, schedule, backend=name, backend_options=options)
    assert found in possible(nodes)[-1]


@settings(max_examples=EXAMPLES)
@given(nodes=described(), schedule=st.sampled_from(("stages", "eager")), seed=st.integers(0, 1000))
def test_in_a_simulation_the_seed_decides_and_nothing_else(
    nodes: tuple[Described, ...], schedule: Any, seed: int
) -> None:
    how: dict[str, Any] = {"schedule": schedule, "system_resources": {"gpu": 1}, "seed": seed}
    record = simulate(built(nodes), **how)
    assert outcome_of(record.error, record.value) in possible(nodes)[-1]
    assert str(simulate(built(nodes), **how).trace) == str(record.trace)
