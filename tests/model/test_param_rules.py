"""Params and Envs beyond their types: defaults, validation, messages, and two of one name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any, Literal

import pytest
from kinds import OLD_OPTIONAL, Level, Server, even
from labels import label
from strategies_kinds import Colour, Host, Plan

import cascade

Param = cascade.Param


# -- defaults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        (1, int), (1.5, float), (False, bool), ("a", str), (None, Any), (["a"], list[str]), ([1, 2], list[int]),
        ([], list), ([1, "a"], list), ([[1]], list), ((1,), tuple[int, ...]), ({1}, set[int]),
        (frozenset("a"), frozenset[str]), ({"a": 1}, dict), (dt.date(2020, 1, 1), dt.date), (Path("a"), Path),
        (PurePath("a"), PurePath), (Colour.RED, Colour), (Decimal(1), Decimal), (Host("a"), Host),
    ],
    ids=label,
)  # fmt: skip
def test_without_a_type_that_of_the_default_counts(default: Any, kind: Any) -> None:
    param: Any = Param("x", default)
    assert param.type == kind
    assert param.resolved_default() == default


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (None, 5, 5),
        (None, "5", "5"),
        (["a"], ["b", "c"], ["b", "c"]),
        (["a"], "1,2", ["1", "2"]),
        ([1], "2", [2]),
        (dt.date(2020, 1, 1), dt.date(2021, 1, 1), dt.date(2021, 1, 1)),
        (Path("a"), "b", Path("b")),
        (Colour.RED, "BLUE", Colour.BLUE),
        ({"a": 1}, {"b": 1}, {"b": 1}),
    ],
    ids=label,
)
def test_a_value_is_converted_to_the_type_of_the_default(default: Any, value: Any, expected: Any) -> None:
    assert Param("x", default).convert(value) == expected


async def test_a_default_goes_the_way_of_a_given_value() -> None:
    assert await cascade.run(Param("x", default="2021-02-03", type=dt.date)) == dt.date(2021, 2, 3)
    with pytest.raises(cascade.InputError, match=r"^the default of parameter 'x' must be int"):
        await cascade.run(Param("x", default=1.5, type=int))
    assert await cascade.run(Param("x", default=1.5, type=int), {"x": 3}) == 3


async def test_a_default_of_none_stands_for_itself_whatever_the_type() -> None:
    param: Any = Param("x", default=None, type=int, validate=lambda number: number > 0)
    assert await cascade.run(param) is None


# -- validate --------------------------------------------------------------------------------------------------


def is_positive(number: int) -> bool:
    return number > 0


def refuse_odd(number: int) -> None:
    if number % 2:
        raise ValueError("odd numbers bring bad luck")


@pytest.mark.parametrize(
    ("validate", "value", "why"),
    [
        (is_positive, -2, "parameter 'x' must not be -2: is_positive refuses it"),
        (is_positive, "-2", "parameter 'x' must not be '-2': is_positive refuses it"),
        (refuse_odd, "3", "parameter 'x' must not be '3': odd numbers bring bad luck"),
        (lambda number: 1 / number, 0, "parameter 'x' must not be 0: ZeroDivisionError: division by zero"),
        (lambda number: 0, 5, "parameter 'x' must not be 5: <lambda> refuses it"),
    ],
    ids=label,
)
async def test_validate_refuses_by_raising_or_by_something_false(
    validate: Callable[[int], object], value: Any, why: str
) -> None:
    with pytest.raises(cascade.InputError) as caught:
        await cascade.run(Param("x", type=int, validate=validate), {"x": value})
    assert caught.value.problems == (why,)


@pytest.mark.parametrize("validate", [is_positive, refuse_odd, lambda number: number], ids=label)
async def test_validate_accepts_by_something_true_or_none(validate: Callable[[int], object]) -> None:
    assert await cascade.run(Param("x", type=int, validate=validate), {"x": "2"}) == 2


async def test_validate_gets_the_default_too_and_never_none() -> None:
    with pytest.raises(
        cascade.InputError, match="the default of parameter 'x' must not be -1: is_positive refuses"
    ):
        await cascade.run(Param("x", default=-1, validate=is_positive))
    assert await cascade.run(Param("x", type=int | None, validate=is_positive), {"x": None}) is None


async def test_validate_is_called_after_the_conversion_and_once() -> None:
    seen: list[Any] = []
    param: Any = Param("x", type=dt.date, validate=seen.append)
    await cascade.run([param, param], {"x": "2021-02-03"})
    assert seen == [dt.date(2021, 2, 3)]


def test_validate_is_a_function() -> None:
    with pytest.raises(TypeError, match="validate of Param 'x'"):
        Param("x", type=int, validate=5)  # type: ignore[call-overload]  # that is the mistake


# -- environment variables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "text", "expected"),
    [
        (cascade.Env("CASCADE_TEST", type=int), "80", 80),
        (cascade.Env("CASCADE_TEST", 8080), "80", 80),
        (cascade.Env("CASCADE_TEST", type=list[str]), "a,b", ["a", "b"]),
        (cascade.Env("CASCADE_TEST", None), "80", "80"),
        (cascade.Env("CASCADE_TEST", type=bool), "on", True),
    ],
    ids=label,
)
async def test_an_environment_variable_has_a_type(
    monkeypatch: pytest.MonkeyPatch, env: Any, text: str, expected: Any
) -> None:
    monkeypatch.setenv("CASCADE_TEST", text)
    assert await cascade.run(env) == expected


async def test_a_bad_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_TEST", "eighty")
    with pytest.raises(cascade.InputError, match=r"^environment variable 'CASCADE_TEST' must be int .*'eighty'$"):
        await cascade.run(cascade.Env("CASCADE_TEST", type=int))


# -- messages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        (int, "many", "parameter 'x' must be int (a whole number, such as 3), not 'many'"),
        (int | None, "many", "parameter 'x' must be int | None (a whole number, such as 3), not 'many'"),
        (Literal["a", "b"], "c", "parameter 'x' must be 'a' or 'b', not 'c'"),
        (Level, "MID", "parameter 'x' must be Level (one of LOW, HIGH), not 'MID'"),
        (dt.date, "soon", "parameter 'x' must be date (YYYY-MM-DD, such as 2026-11-21), not 'soon'"),
        (
            list[int], "1,x",
            "parameter 'x' must be list[int] (1,2,3 or JSON, such as [1, 2, 3]), not '1,x': [1]: 'x' is not int",
        ),
        (
            Server, '{"hst": "a"}',
            ("""parameter 'x' must be Server (JSON, such as {"host": ..., "port": ..., "tags": ...}), """
             """not '{"hst": "a"}': host: it is missing; there is no field 'hst'"""),
        ),
        (
            Plan, '{"day": "2026-11-21", "hosts": [{"name": "a", "port": "x"}]}',
            ("""parameter 'x' must be Plan (JSON, such as {"hosts": ..., "day": ..., "limit": ...}), """
             """not '{"day": "2026-11-21", "hosts": [{"name": "a", "port": "x"}]}': """
             """hosts[0].port: 'x' is not int"""),
        ),
        (even, "3", "parameter 'x' must be even, not '3': 3 is odd"),
        (
            dict[str, int], '{"a": 1',
            ("""parameter 'x' must be dict[str, int] (JSON, such as {"a": 1}), not '{"a": 1': """
             """no JSON (Expecting ',' delimiter: line 1 column 8 (char 7))"""),
        ),
    ],
    ids=label,
)  # fmt: skip
async def test_a_problem_tells_the_type_the_value_and_how_to_say_it(kind: Any, value: Any, problem: str) -> None:
    with pytest.raises(cascade.InputError) as caught:
        await cascade.run(Param("x", type=kind), {"x": value})
    assert caught.value.problems == (problem,)


def test_what_was_given_is_cut_in_a_message() -> None:
    with pytest.raises(ValueError, match="must be int") as caught:
        Param("x", type=int).convert("y" * 1000)
    assert len(str(caught.value)) < 200


async def test_an_unknown_parameter_is_told_what_it_may_have_been() -> None:
    with pytest.raises(
        cascade.InputError, match=r"unknown parameter 'lmit' \(did you mean 'limit'\? the flow has: 'limit'\)"
    ):
        await cascade.run(Param("limit", 3), {"lmit": 4})


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        (Param("x"), "Param('x', type=str)"),
        (Param("x", default=[1]), "Param('x', default=[1], type=list[int])"),
        (Param("x", type=OLD_OPTIONAL), "Param('x', type=int | None)"),
        (Param("x", default="hunter2", secret=True), "Param('x', default=***, type=str, secret=True)"),
        (cascade.Env("X", 3), "Env('X', default=3, type=int)"),
    ],
    ids=label,
)
def test_an_input_is_shown_as_it_is_written(param: Any, expected: str) -> None:
    assert repr(param) == expected


# -- two of one name -------------------------------------------------------------------------------------------


class Odd:
    """Neither compared, nor shown, nor tested."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    __hash__ = None  # type: ignore[assignment]  # as of a class with __eq__ alone


NAN, ODD = float("nan"), Odd()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Param("x", type=list[int]),
        lambda: Param("x", type=OLD_OPTIONAL),
        lambda: Param("x", type=dt.date.fromisoformat),
        lambda: Param("x", default=float("nan")),
        lambda: Param("x", default=[1, {"a": 2}]),
        lambda: Param("x", default=ODD),
        lambda: Param("x", default=Host("a")),
        lambda: Param("x", type=int, validate=is_positive, secret=True),
        lambda: cascade.Env("x", default=3),
    ],
)
def test_two_inputs_that_say_the_same_are_one(make: Callable[[], Any]) -> None:
    assert len(cascade.plan([make(), make()]).graph.inputs) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Param("x", 1), Param("x", 2)),
        (Param("x", 1), Param("x", 1.0)),
        (Param("x", 1, type=float), Param("x", True, type=float)),
        (Param("x", type=list[int]), Param("x", type=list[str])),
        (Param("x", type=int), Param("x", type=int, validate=is_positive)),
        (Param("x", type=int), Param("x", type=int, secret=True)),
        (Param("x", default=Odd()), Param("x", default=Odd())),
        (Param("x", default=ODD), Param("x", default=5)),
        (cascade.Env("x"), cascade.Env("x", type=int)),
    ],
)
def test_two_inputs_that_differ_are_a_contradiction_and_nothing_else(one: Any, other: Any) -> None:
    with pytest.raises(cascade.GraphError, match="two inputs are called 'x' and differ"):
        cascade.plan([one, other])
