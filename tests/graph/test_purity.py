"""Calls of pure tasks: one node if everything about them is equal, and only then."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import cascade
from cascade.graph.build import build


@cascade.task(pure=True, mode="inline")
def pure(x: Any = None, y: Any = None) -> Any:
    return x() if callable(x) else x


@cascade.task(pure=True, mode="inline")
def other(x: Any = None, y: Any = None) -> Any:
    return x


@cascade.task(pure=True, mode="inline")
def every(*xs: Any, **more: Any) -> Any:
    return xs, more


@cascade.task(mode="inline")
def impure(x: Any = None) -> Any:
    return x


def giving(value: Any) -> Callable[[], Any]:
    return lambda: value


def giving_by_default(value: Any) -> Callable[[], Any]:
    def give(it: Any = value) -> Any:
        return it

    return give


def nodes(flow: Any, task: Any = pure) -> int:
    return sum(node.task is task for node in build(flow).calls())


SHARED = impure(1)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: pure(1), id="number"),
        pytest.param(lambda: pure([1, {"a": (2,)}]), id="nested data"),
        pytest.param(lambda: pure({1, 2}), id="set"),
        pytest.param(lambda: pure(SHARED), id="upstream call"),
        pytest.param(lambda: pure([SHARED]), id="nested upstream call"),
        pytest.param(lambda: pure(cascade.Param("p")), id="param"),
        pytest.param(lambda: pure(cascade.inject("r")), id="injection"),
        pytest.param(lambda: pure.map(x=[1, 2]), id="map"),
        pytest.param(lambda: pure(1).run_if(SHARED), id="condition"),
        pytest.param(lambda: pure(1).after(SHARED), id="predecessor"),
        pytest.param(lambda: pure(1).with_retry(3), id="retry"),
        pytest.param(lambda: pure(1).with_constraints(gpu=0.5), id="amount"),
        pytest.param(lambda: pure(len.__doc__), id="text"),
        pytest.param(lambda: pure(functools.partial(giving, 1)), id="partial"),
    ],
)
def test_equal_calls_are_one_node(make: Callable[[], Any]) -> None:
    assert nodes([make(), impure([make()])]) == 1


def test_equal_calls_are_one_node_all_the_way_up() -> None:
    assert len(build([pure(other(pure(1))), pure(other(pure(1)))]).nodes) == 3


async def test_equal_calls_run_once_and_all_have_the_value(schedule: Any) -> None:
    ran: list[int] = []

    @cascade.task(pure=True, mode="inline")
    def note(x: int) -> int:
        ran.append(x)
        return x

    values = await cascade.run([note(1), note(1), note(2)], schedule=schedule)
    assert (values, sorted(ran)) == ([1, 1, 2], [1, 2])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(pure(1), pure(2), id="argument"),
        pytest.param(pure(1), pure(True), id="type"),
        pytest.param(pure(1), pure(1.0), id="type of number"),
        pytest.param(pure(0.0), pure(-0.0), id="sign of zero"),
        pytest.param(pure(1), pure(y=1), id="parameter"),
        pytest.param(pure([1]), pure((1,)), id="container"),
        pytest.param(pure(SHARED), pure(impure(1)), id="upstream call"),
        pytest.param(pure([SHARED, 1]), pure([SHARED, 2]), id="literal beside a call"),
        pytest.param(pure([SHARED, 1]), pure([1, SHARED]), id="place of a call"),
        pytest.param(pure(cascade.Param("p")), pure(cascade.Param("q")), id="param"),
        pytest.param(pure(1), pure(1).run_if(True), id="condition or none"),
        pytest.param(pure(1).run_if(True), pure(1).run_if(False), id="condition"),
        pytest.param(pure(1).run_if(SHARED), pure(1).run_if(impure(2)), id="condition upstream"),
        pytest.param(pure(1).run_if(SHARED), pure(1).run_if(SHARED, on_skip="skip"), id="on_skip"),
        pytest.param(pure(1), pure(1).after(SHARED), id="predecessor"),
        pytest.param(pure(1), pure(1).with_retry(2), id="retry"),
        pytest.param(pure(1), pure(1).with_timeout(2), id="timeout"),
        pytest.param(pure(1).with_constraints(gpu=1), pure(1).with_constraints(gpu=2), id="amount"),
        pytest.param(pure(1).with_constraints(gpu=1), pure(1).with_constraints(cpu=1), id="resource"),
        pytest.param(pure.map(x=[1]), pure([1]), id="map or call"),
        pytest.param(pure.map(x=[1]), pure.map(x=[2]), id="column"),
        pytest.param(pure.map(x=[1]), pure.map(x=[1]).with_concurrency(1), id="concurrency"),
        pytest.param(pure(giving(1)), pure(giving(2)), id="function that closes over another value"),
        pytest.param(pure(giving_by_default(1)), pure(giving_by_default(2)), id="function with another default"),
        pytest.param(pure(object()), pure(object()), id="values of unknown type"),
    ],
)
def test_calls_that_differ_are_two_nodes(first: Any, second: Any) -> None:
    assert nodes([first, second]) == 2


class Quiet:
    """Says nothing of what it is."""

    def __init__(self, is_true: bool) -> None:
        self.is_true = is_true

    def __bool__(self) -> bool:
        return self.is_true

    def __repr__(self) -> str:
        return "quiet"


def test_conditions_that_look_alike_are_not_taken_for_equal() -> None:
    assert nodes([pure(1).run_if(Quiet(True)), pure(1).run_if(Quiet(False))]) == 2


def test_a_further_keyword_is_not_taken_for_a_further_argument() -> None:
    assert nodes([every(1, 2), every(1, more=2)], every) == 2


async def test_a_function_that_closes_over_another_value_gives_its_own() -> None:
    assert await cascade.run([pure(giving(1)), pure(giving(2))]) == [1, 2]


@pytest.mark.parametrize(
    "argument",
    [
        pytest.param([cascade.Env("A", "a"), cascade.Env("A", "a")], id="variable"),
        pytest.param([cascade.Param("p", "a"), (cascade.Param("p", "a"),)], id="param"),
        pytest.param({"k": cascade.inject("r"), "l": cascade.inject("r")}, id="injection"),
    ],
)
def test_an_input_that_is_written_twice_in_an_argument_can_be_built(argument: Any) -> None:
    assert nodes(pure(argument)) == 1


def test_two_tasks_of_one_function_are_not_taken_for_each_other() -> None:
    again = cascade.task(pure=True, name="pure")(pure.func)
    assert len(build([pure(1), again(1)]).nodes) == 2


def test_an_argument_that_changed_between_two_calls_counts_as_it_is_when_the_flow_is_built() -> None:
    shared = [1]
    first = pure(shared)
    shared.append(2)
    assert nodes([first, pure(shared), pure([1, 2])]) == 1


def test_an_impure_call_upstream_keeps_pure_calls_apart() -> None:
    assert nodes([pure(impure(1)), pure(impure(1))]) == 2
