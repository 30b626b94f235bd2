"""Params and Envs: resolved, converted and validated before anything runs."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labels import label

import cascade
from cascade.testing import record_events


class Colour(enum.Enum):
    RED = "red"


@cascade.task(mode="inline")
def echo(*values: Any) -> Any:
    return values


# -- declaring -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", None, 5, b"name"], ids=label)
@pytest.mark.parametrize("kind", [cascade.Param, cascade.Env, cascade.inject])
def test_the_name_of_an_input_is_a_non_empty_string(kind: Callable[[Any], Any], name: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        kind(name)


@pytest.mark.parametrize("kind", ["int", 5, [int]], ids=label)
def test_the_type_of_a_param_is_callable(kind: Any) -> None:
    with pytest.raises(TypeError, match="limit"):
        cascade.Param("limit", type=kind)


@pytest.mark.parametrize("given", [cascade.Param("a"), cascade.Env("A"), cascade.inject("a")])
def test_an_input_is_frozen(given: Any) -> None:
    with pytest.raises(AttributeError):
        given.name = "b"


# -- converting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "raw", "expected"),
    [
        (cascade.Param("p"), "text", "text"),
        (cascade.Param("p", type=int), "7", 7),
        (cascade.Param("p", type=int), 7, 7),
        (cascade.Param("p", type=float), "1.5", 1.5),
        (cascade.Param("p", type=float), 2, 2.0),
        (cascade.Param("p", type=bytes), b"x", b"x"),
        (cascade.Param("p", type=pathlib.PurePath), "a/b", pathlib.PurePath("a/b")),
        (cascade.Param("p", type=Colour), "red", Colour.RED),
        (cascade.Param("p", type=Colour), Colour.RED, Colour.RED),
        (cascade.Param("p", type=Fraction), "1/3", Fraction(1, 3)),
        (cascade.Param("p", type=list), [1], [1]),
        (cascade.Param("p", type=Any), [1], [1]),
        (cascade.Param("p", type=Any), "1", "1"),
        (cascade.Param("p", type=str.upper), "x", "X"),
        (cascade.Param("p", type=lambda text: text.split(",")), "a,b", ["a", "b"]),
        (cascade.Param("p", 1), "7", 7),
        (cascade.Param("p", 1.5), "7", 7.0),
        (cascade.Param("p", False), "yes", True),
        (cascade.Param("p", None), "7", "7"),
        (cascade.Param("p", "a"), "7", "7"),
    ],
)
def test_a_value_is_converted_to_the_type(param: cascade.Param[Any], raw: Any, expected: Any) -> None:
    value = param.convert(raw)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize("word", ["true", "True", "YES", "on", "1", " true "])
def test_words_of_truth_are_true(word: str) -> None:
    assert cascade.Param("p", type=bool).convert(word) is True


@pytest.mark.parametrize("word", ["false", "False", "NO", "off", "0"])
def test_words_of_falsehood_are_false(word: str) -> None:
    assert cascade.Param("p", type=bool).convert(word) is False


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (int, "x"),
        (int, "1.5"),
        (int, 1.5),
        (int, True),
        (int, None),
        (float, "x"),
        (float, True),
        (float, b"1"),
        (bool, "maybe"),
        (bool, ""),
        (bool, 1),
        (bool, None),
        (str, 5),
        (str, b"x"),
        (Colour, "green"),
        (list, (1,)),
        (lambda text: {}[text], "missing"),
    ],
)
def test_a_value_of_another_meaning_is_refused_by_name(kind: Any, raw: Any) -> None:
    with pytest.raises(ValueError, match="'p'"):
        cascade.Param("p", type=kind).convert(raw)


@given(st.integers())
def test_text_of_a_number_is_that_number(number: int) -> None:
    assert cascade.Param("p", type=int).convert(str(number)) == number


# -- resolving -------------------------------------------------------------------------------------------------

P = cascade.Param("p", type=int)


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        pytest.param(P, 7, id="target"),
        pytest.param([P, {"p": P}], [7, {"p": 7}], id="in a target"),
        pytest.param(echo(P), (7,), id="argument"),
        pytest.param(echo([(P,)]), ([(7,)],), id="nested argument"),
        pytest.param(echo({P}), ({7},), id="in a set"),
        pytest.param(cascade.gather(P, 1), (7, 1), id="gathered"),
        pytest.param(echo(1).run_if(P), (1,), id="condition"),
        pytest.param(cascade.Router(P, {7: "seven"}), "seven", id="selector"),
        pytest.param(cascade.Router(1, {1: P}), 7, id="route"),
        pytest.param(echo(1).with_constraints(gpu=P), (1,), id="amount"),
    ],
)
async def test_a_param_may_stand_anywhere(flow: Any, expected: Any) -> None:
    assert await cascade.run(flow, {"p": "7"}, system_resources={"gpu": 10}) == expected


@pytest.mark.parametrize("default", [5, None, False, 0, ""], ids=label)
async def test_a_default_stands_in_for_a_missing_param(default: Any) -> None:
    assert await cascade.run(echo(cascade.Param("p", default))) == (default,)


async def test_a_given_value_goes_before_the_default() -> None:
    assert await cascade.run(cascade.Param("p", 5), {"p": 0}) == 0


async def test_one_environment_variable_may_stand_in_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_TEST", "x")
    assert await cascade.run(echo([cascade.Env("CASCADE_TEST"), (cascade.Env("CASCADE_TEST"),)])) == (
        ["x", ("x",)],
    )


@pytest.mark.parametrize("default", ["", "x", None], ids=label)
async def test_a_default_stands_in_for_an_unset_variable(monkeypatch: pytest.MonkeyPatch, default: Any) -> None:
    monkeypatch.delenv("CASCADE_TEST", raising=False)
    assert await cascade.run(cascade.Env("CASCADE_TEST", default)) == default


async def test_an_empty_variable_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_TEST", "")
    assert await cascade.run(cascade.Env("CASCADE_TEST", "default")) == ""


async def test_a_param_and_a_variable_may_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("p", "of the environment")
    assert await cascade.run([cascade.Param("p"), cascade.Env("p")], {"p": "given"}) == [
        "given",
        "of the environment",
    ]


# -- what is wrong is listed in one error, before anything runs ------------------------------------------------


def _all_wrong() -> Any:
    return [
        echo(cascade.Param("missing", type=int)),
        [cascade.Param("bad", type=int), cascade.Param("good", type=int)],
        cascade.Router(cascade.Env("CASCADE_UNSET"), {1: cascade.Param("nowhere")}),
        echo(1).run_if(cascade.Param("also_bad", type=float)),
    ]


GIVEN = {"bad": "x", "good": 1, "also_bad": "y", "stranger": 1}


@pytest.mark.parametrize("name", ["missing", "bad", "CASCADE_UNSET", "nowhere", "also_bad", "stranger"])
async def test_every_wrong_input_is_named_in_one_error(name: str) -> None:
    with pytest.raises(cascade.InputError, match=f"'{name}'"):
        await cascade.run(_all_wrong(), GIVEN)


async def test_there_is_one_problem_for_each_wrong_input() -> None:
    with pytest.raises(cascade.InputError) as caught:
        await cascade.run(_all_wrong(), GIVEN)
    assert len(caught.value.problems) == 6


async def test_no_task_starts_if_an_input_is_wrong(schedule: Any) -> None:
    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        with pytest.raises(cascade.InputError):
            await engine.run([echo(1), echo(P)], {"p": "x"})
        assert recorded.of(cascade.NodeEvent) == []


async def test_an_unused_route_needs_its_param_too() -> None:
    with pytest.raises(cascade.InputError, match="'p'"):
        await cascade.run(cascade.Router(1, {1: echo(1), 2: echo(P)}))


@pytest.mark.parametrize("other", [cascade.Param("p", type=str), cascade.Param("p", 5)], ids=["type", "default"])
@pytest.mark.parametrize(
    "combine", [lambda a, b: [a, b], lambda a, b: [echo(a), echo(b)], lambda a, b: echo([a, b])]
)
def test_two_params_of_one_name_must_agree(combine: Callable[..., Any], other: Any) -> None:
    with pytest.raises(cascade.GraphError, match="'p'"):
        cascade.plan(combine(P, other))


def test_two_variables_of_one_name_must_agree() -> None:
    with pytest.raises(cascade.GraphError, match="'CASCADE_TEST'"):
        cascade.plan([cascade.Env("CASCADE_TEST"), cascade.Env("CASCADE_TEST", "default")])


async def test_two_equal_params_of_one_name_are_one() -> None:
    assert await cascade.run([P, echo(cascade.Param("p", type=int, description="other words"))], {"p": 1}) == [
        1,
        (1,),
    ]


@pytest.mark.parametrize(
    "flow", [5, [1], echo(1), echo(P), [P]], ids=["value", "container", "call", "known", "target"]
)
async def test_a_parameter_that_the_flow_does_not_know_is_an_error(flow: Any) -> None:
    with pytest.raises(cascade.InputError, match="stranger"):
        await cascade.run(flow, {"p": 1, "stranger": 2})


async def test_an_unknown_parameter_is_answered_with_those_there_are() -> None:
    with pytest.raises(cascade.InputError, match=r"'stranger'.*'p'"):
        await cascade.run(echo(P), {"p": 1, "stranger": 2})
