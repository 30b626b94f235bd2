"""Params and Envs: resolved, converted and checked before the first task of the flow they stand in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from labels import label
from observed import observe
from plain_tasks import give

import cascade

Param, Env, Router = cascade.Param, cascade.Env, cascade.Router


@cascade.task
def in_thread(*values: Any, **named: Any) -> Any:
    return values, named


async def test_a_parameter_given_to_run_stands_wherever_it_is_written(schedule: Any) -> None:
    n = Param("n", type=int)
    flow = [n, in_thread(n, [n, {"k": (n,)}], named=n), give({n})]
    value = await cascade.run(flow, {"n": 3}, schedule=schedule)
    assert value == [3, ((3, [3, {"k": (3,)}]), {"named": 3}), {3}]


@pytest.mark.parametrize(
    ("make", "given", "expected"),
    [
        (lambda p: give("ran").run_if(p), {"p": 1}, "ran"),
        (lambda p: Router(p, {2: "two", 1: give("one")}), {"p": 1}, "one"),
        (lambda p: Router("k", {"k": p}), {"p": 1}, 1),
        (lambda p: give.map(value=[p, 2]), {"p": 1}, [1, 2]),
        (lambda p: give("claimed").with_constraints(gpu=p), {"p": 1}, "claimed"),
    ],
    ids=["condition", "selector", "route", "column", "claim"],
)
async def test_a_parameter_may_steer_a_flow(
    make: Callable[[Any], Any], given: dict[str, Any], expected: Any, schedule: Any
) -> None:
    flow = make(Param("p", type=int))
    assert await cascade.run(flow, given, schedule=schedule, system_resources={"gpu": 1}) == expected


async def test_a_parameter_may_be_a_whole_column(schedule: Any) -> None:
    flow = give.map(value=Param("xs", type=list))
    assert await cascade.run(flow, {"xs": [1, 2]}, schedule=schedule) == [1, 2]


async def test_the_default_is_used_if_nothing_is_given(schedule: Any) -> None:
    assert await cascade.run(give(Param("n", default=7)), schedule=schedule) == 7
    assert await cascade.run(give(Param("n", default=None)), schedule=schedule) is None


@pytest.mark.parametrize(
    ("param", "given", "expected"),
    [
        (Param("p", default=5), 0, 0),
        (Param("p", default=True), False, False),
        (Param("p", default="text"), "", ""),
        (Param("p", type=int), "12", 12),
        (Param("p", type=float), 2, 2.0),
        (Param("p", default=1.5), "2.5", 2.5),
        (Param("p", type=bool), "No", False),
        (Param("p", type=bool), "on", True),
        (Param("p", type=lambda text: text.split(",")), "a,b", ["a", "b"]),
        (Param("p"), "12", "12"),
    ],
    ids=label,
)
async def test_what_is_given_is_converted_and_beats_the_default(
    param: Any, given: Any, expected: Any, schedule: Any
) -> None:
    value = await cascade.run(give(param), {"p": given}, schedule=schedule)
    assert (type(value), value) == (type(expected), expected)


async def test_one_parameter_in_many_places_is_converted_once(schedule: Any) -> None:
    calls: list[str] = []

    def convert(text: str) -> str:
        calls.append(text)
        return text.upper()

    p = Param("p", type=convert)
    assert await cascade.run([p, give(p), in_thread([p])], {"p": "a"}, schedule=schedule) == [
        "A",
        "A",
        ((["A"],), {}),
    ]
    assert calls == ["a"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["'n'"]),
        ({"n": "three"}, ["'n'", "int", "'three'"]),
        ({"n": 1.5}, ["'n'", "int", "1.5"]),
        ({"n": True}, ["'n'", "int", "True"]),
        ({"n": None}, ["'n'", "int", "None"]),
        ({"n": 1, "m": 2}, ["'m'", "'n'"]),
    ],
    ids=["missing", "malformed", "fraction", "truth value", "None", "unknown"],
)
async def test_a_bad_input_is_named_and_nothing_runs(
    given: dict[str, Any], words: list[str], schedule: Any
) -> None:
    seen = await observe([give(0), in_thread(Param("n", type=int))], given, schedule=schedule)
    assert isinstance(seen.error, cascade.InputError)
    (problem,) = seen.error.problems
    assert all(word in problem for word in words)
    assert seen.started == []


async def test_everything_that_is_wrong_is_listed_in_one_error(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CASCADE_TEST_UNSET", raising=False)
    flow = [
        give(Param("missing")),
        give([Param("bad", type=int)]),
        give.map(value=Param("worse", type=bool)),
        Router(Param("lost"), {"a": give(Env("CASCADE_TEST_UNSET"))}),
        give(1).run_if(Param("gone")),
    ]
    params = {"bad": "x", "worse": "maybe", "stranger": 1}
    seen = await observe(flow, params, schedule=schedule)
    assert isinstance(seen.error, cascade.InputError)
    wrong = ["missing", "bad", "worse", "lost", "CASCADE_TEST_UNSET", "gone", "stranger"]
    assert len(seen.error.problems) == len(wrong)
    assert all(any(repr(name) in problem for problem in seen.error.problems) for name in wrong)
    assert all(repr(name) in str(seen.error) for name in wrong)


async def test_an_input_behind_a_route_that_is_not_taken_is_checked_too(schedule: Any) -> None:
    flow = Router(give("a"), {"a": give(1), "b": give(Param("n"))})
    seen = await observe(flow, schedule=schedule)
    assert isinstance(seen.error, cascade.InputError)
    assert seen.started == []


@pytest.mark.parametrize("params", [["n"], "n", 5, {1: 2}], ids=label)
async def test_params_must_be_a_mapping_from_names(params: Any, schedule: Any) -> None:
    seen = await observe(give(1), params, schedule=schedule)
    assert isinstance(seen.error, cascade.InputError)
    assert seen.started == []


async def test_a_parameter_that_no_flow_can_know_is_an_error_also_for_a_plain_value(schedule: Any) -> None:
    with pytest.raises(cascade.InputError, match="'n'"):
        await cascade.run(5, {"n": 1}, schedule=schedule)


# -- environment -----------------------------------------------------------------------------------------------


async def test_an_environment_variable_is_read_when_the_run_starts(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = give([Env("CASCADE_TEST", default="none")])
    monkeypatch.delenv("CASCADE_TEST", raising=False)
    assert await cascade.run(flow, schedule=schedule) == ["none"]
    monkeypatch.setenv("CASCADE_TEST", "")
    assert await cascade.run(flow, schedule=schedule) == [""]
    monkeypatch.setenv("CASCADE_TEST", "12")
    assert await cascade.run(flow, schedule=schedule) == ["12"]


async def test_the_default_of_an_environment_variable_may_be_none(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CASCADE_TEST", raising=False)
    assert await cascade.run([Env("CASCADE_TEST", default=None)], schedule=schedule) == [None]


async def test_an_environment_variable_keeps_its_value_for_the_whole_flow(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_TEST", "before")

    @cascade.task(mode="inline")
    def change() -> None:
        monkeypatch.setenv("CASCADE_TEST", "after")

    assert await cascade.run(give(Env("CASCADE_TEST")).after(change()), schedule=schedule) == "before"


# -- flows that grow -------------------------------------------------------------------------------------------


@cascade.task(mode="inline")
def grow(value: Any = None) -> Any:
    return give([Param("later", type=int), value])


@cascade.task(mode="inline")
def grow_twice() -> Any:
    return grow(Param("sooner", default=0))


# What may be around a call, and what around its value then.
PLACES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "tail call": (lambda lazy: lazy, lambda value: value),
    "middle of a flow": (give, lambda value: value),
    "column of a map": (lambda lazy: give.map(value=[lazy]), lambda value: [value]),
    "inside an argument": (lambda lazy: give([lazy]), lambda value: [value]),
    "member of a target": (lambda lazy: {"k": lazy}, lambda value: {"k": value}),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_flow_that_a_task_returns_gets_the_parameters_of_the_run(place: str, schedule: Any) -> None:
    around, expected = PLACES[place]
    value = await cascade.run(around(grow_twice()), {"later": "4", "sooner": 2}, schedule=schedule)
    assert value == expected([4, 2])


@pytest.mark.parametrize("place", PLACES)
async def test_an_input_that_a_later_flow_lacks_fails_before_the_first_task_of_that_flow(
    place: str, schedule: Any
) -> None:
    around, _ = PLACES[place]
    seen = await observe(around(grow(1)), schedule=schedule)
    assert isinstance(seen.error, cascade.InputError)
    assert "'later'" in str(seen.error)
    assert seen.started == ["grow"]


async def test_a_parameter_that_nothing_asks_for_is_fine_if_the_flow_can_grow(schedule: Any) -> None:
    assert await cascade.run(grow(1), {"later": 1, "never": 2}, schedule=schedule) == [1, 1]


async def test_a_task_may_return_a_parameter_that_only_it_knows(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def ask() -> Any:
        return Param("p", type=int)

    assert await cascade.run([ask()], {"p": "3"}, schedule=schedule) == [3]
