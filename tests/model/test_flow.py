"""Routers, sequences, pipelines and gathered values, as they are made."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import pytest
from labels import label

import cascade
from cascade.testing import record_events


@cascade.task(mode="inline")
def echo(x: Any = None, y: Any = None) -> Any:
    return x if y is None else (x, y)


@cascade.task
async def slow(x: Any = None) -> Any:
    return x


# -- Router ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("routes", [[1, 2], "ab", None, 5, {1, 2}, echo()], ids=label)
def test_the_routes_of_a_router_are_a_mapping(routes: Any) -> None:
    with pytest.raises(TypeError, match="routes"):
        cascade.Router(1, routes)


def test_a_router_that_cannot_choose_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="without routes"):
        cascade.Router(1, {})


async def test_a_router_may_have_nothing_but_a_default() -> None:
    assert await cascade.run(cascade.Router(1, {}, default="default")) == "default"


@pytest.mark.parametrize("default", [None, False, 0], ids=label)
async def test_a_default_may_be_nothing(default: Any) -> None:
    assert await cascade.run(cascade.Router(1, {2: echo()}, default=default)) is default


@pytest.mark.parametrize("key", [None, False, 0, "", (1, 2), frozenset([1]), 1.5], ids=label)
async def test_any_hashable_value_may_be_a_key(schedule: Any, key: Any) -> None:
    router = cascade.Router(echo(key), {key: echo("chosen"), "other": echo("not chosen")})
    assert await cascade.run(router, schedule=schedule) == "chosen"


@pytest.mark.parametrize(
    ("router", "expected"),
    [
        pytest.param(cascade.Router(1, {1: 5}), 5, id="plain value"),
        pytest.param(cascade.Router(1, {1: [echo(1), (echo(2),)]}), [1, (2,)], id="container"),
        pytest.param(cascade.Router(1, {1: cascade.Router(2, {2: echo(3)})}), 3, id="router"),
        pytest.param(cascade.Router(cascade.Router(1, {1: 2}), {2: echo(3)}), 3, id="router that selects"),
        pytest.param(cascade.Router(1, {1: echo.map(x=[1, 2])}), [1, 2], id="map"),
    ],
)
@pytest.mark.parametrize("wrap", [False, True], ids=["target", "argument"])
async def test_a_route_may_be_anything(schedule: Any, router: Any, expected: Any, wrap: bool) -> None:
    assert await cascade.run(echo(router) if wrap else router, schedule=schedule) == expected


async def test_the_routes_of_a_router_are_chosen_anew_in_each_run() -> None:
    flow = cascade.Router(cascade.Param("key"), {"a": echo(1), "b": echo(2)})
    assert [await cascade.run(flow, {"key": key}) for key in "ab"] == [1, 2]


# -- sequence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [[echo(), 5], [None], [echo], ["ab"], [[echo()]]], ids=label)
def test_members_of_a_sequence_are_lazies(members: Any) -> None:
    with pytest.raises(TypeError, match="members of a sequence"):
        cascade.sequence(members)


@pytest.mark.parametrize("members", [5, None, echo()], ids=label)
def test_a_sequence_is_made_from_an_iterable(members: Any) -> None:
    with pytest.raises(TypeError):
        cascade.sequence(members)


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        cascade.sequence([])


def test_a_sequence_with_one_call_twice_is_a_cycle() -> None:
    call = echo()
    with pytest.raises(cascade.GraphError, match="cycle"):
        cascade.plan(cascade.sequence([call, echo(), call]))


async def test_a_sequence_gives_the_value_of_its_last_member(schedule: Any) -> None:
    assert await cascade.run(cascade.sequence([echo(1), slow(2), echo(3)]), schedule=schedule) == 3


async def test_members_of_a_sequence_run_one_after_another(schedule: Any) -> None:
    order: list[int] = []

    @cascade.task
    async def note(number: int) -> None:
        order.append(number)

    await cascade.run(cascade.sequence(note(number) for number in range(5)), schedule=schedule)
    assert order == [0, 1, 2, 3, 4]


def test_only_the_members_themselves_are_ordered() -> None:
    flow = cascade.sequence([echo(echo("a")), echo(echo("b"))])
    assert [len(stage) for stage in cascade.plan(flow).stages] == [2, 1, 1]


async def test_a_sequence_may_hold_maps_and_sequences(schedule: Any) -> None:
    inner = cascade.sequence([echo(1), echo.map(x=[1, 2])])
    assert await cascade.run(cascade.sequence([inner, echo.map(x=[3])]), schedule=schedule) == [3]


async def test_a_sequence_leaves_its_members_as_they_were() -> None:
    first, second = echo(1), echo(2)
    cascade.sequence([first, second])
    assert cascade.plan(second).stages == (("echo",),)


# -- pipeline --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [5, None, "echo", echo()], ids=label)
def test_steps_of_a_pipeline_are_callable(step: Any) -> None:
    with pytest.raises(TypeError, match="steps of a pipeline"):
        cascade.pipeline(1, [echo, step])


def _twice(lazy: Any) -> Any:
    return echo(lazy, lazy)


@pytest.mark.parametrize(
    ("initial", "steps", "expected"),
    [
        pytest.param(1, [echo, slow], 1, id="tasks"),
        pytest.param(1, [echo.partial(y=2), echo.partial(y=3)], ((1, 2), 3), id="partials"),
        pytest.param(echo(1), [_twice, _twice], ((1, 1), (1, 1)), id="functions"),
        pytest.param(1, [functools.partial(echo, y=5)], (1, 5), id="functools.partial"),
        pytest.param(1, [lambda lazy: echo.map(x=[lazy, lazy]), echo], [1, 1], id="map"),
        pytest.param(1, iter([echo]), 1, id="iterator"),
        pytest.param(cascade.Router(1, {1: echo(5)}), [echo], 5, id="router"),
        pytest.param(1, [], 1, id="no steps"),
    ],
)
async def test_a_pipeline_passes_a_value_through_its_steps(
    initial: Any, steps: Iterable[Any], expected: Any
) -> None:
    assert await cascade.run(cascade.pipeline(initial, steps)) == expected


async def test_a_step_runs_once_however_often_the_next_one_uses_it() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(cascade.pipeline(1, [echo, _twice]))
        assert len(recorded.of(cascade.TaskExecutionFinished)) == 2


# -- gather ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lazies", "expected"),
    [
        pytest.param((echo(1), slow(2)), (1, 2), id="lazies"),
        pytest.param((), (), id="nothing"),
        pytest.param((5, [echo(1)], None), (5, [1], None), id="values and containers"),
        pytest.param((cascade.Router(1, {1: echo(3)}), echo.map(x=[1])), (3, [1]), id="routers and maps"),
    ],
)
async def test_gather_gives_a_tuple(schedule: Any, lazies: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert await cascade.run(cascade.gather(*lazies), schedule=schedule) == expected


async def test_gathered_values_can_be_passed_on(schedule: Any) -> None:
    assert await cascade.run(echo(cascade.gather(echo(1), echo(2))), schedule=schedule) == (1, 2)
