"""Types of Params and Envs: what text and other values are converted to, and what is refused."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime as dt
import enum
import importlib
import json
import math
import operator
import types
import typing
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from labels import label
from strategies_kinds import Colour, Host, Plan, is_of, raw_values, typed_values

import cascade
from cascade.model.typed.convert import converted
from cascade.model.typed.kinds import Mismatch
from cascade.model.typed.written import written

Param = cascade.Param
T = TypeVar("T")
Port = NewType("Port", int)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "quick"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Server:
    host: str
    port: int = attrs.field(default=80, converter=int)
    tags: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.port < 0:
            raise ValueError("ports begin at 0")


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Pair(Generic[T]):
    left: T
    right: T


class Row(TypedDict):
    id: int
    name: str


class Spot(NamedTuple):
    x: int
    y: float


class Celsius:
    def __init__(self, text: str) -> None:
        self.degrees = float(text.removesuffix("C"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and self.degrees == other.degrees

    def __hash__(self) -> int:
        return hash(self.degrees)


def even(text: str) -> int:
    if int(text) % 2:
        raise ValueError(f"{text} is odd")
    return int(text)


LITERAL_NONE: Any = Literal[Level.LOW, None]  # noqa: PYI061
LITERAL_WORD: Any = Literal["none", None]  # noqa: PYI061
OLD_OPTIONAL: Any = Optional[int]  # noqa: UP045  # the old way to write it means the same


# -- text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (int, " 7 ", 7),
        (float, "1e3", 1000.0),
        (bool, " OFF ", False),
        (complex, "1+2j", 1 + 2j),
        (bytes, "grün", "grün".encode()),
        (Decimal, "1.10", Decimal("1.10")),
        (Fraction, "1/3", Fraction(1, 3)),
        (Path, "a/b", Path("a/b")),
        (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
        (Celsius, "21C", Celsius("21")),
        (dt.date, "2021-02-03", dt.date(2021, 2, 3)),
        (dt.datetime, "2021-02-03T04:05Z", dt.datetime(2021, 2, 3, 4, 5, tzinfo=dt.UTC)),
        (dt.time, "04:05", dt.time(4, 5)),
        (dt.timedelta, "P1DT2H", dt.timedelta(days=1, hours=2)),
        (dt.timedelta, "pt1.5s", dt.timedelta(seconds=1.5)),
        (dt.timedelta, "-P2W", -dt.timedelta(weeks=2)),
        (Colour, "RED", Colour.RED),
        (Colour, "3", Colour.GREEN),
        (Level, "LOW", Level.LOW),
        (Level, "2", Level.HIGH),
        (Mode, "quick", Mode.FAST),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], "2", 2),
        (LITERAL_NONE, "LOW", Level.LOW),
        (LITERAL_WORD, "none", "none"),
        (OLD_OPTIONAL, "3", 3),
        (int | None, "3", 3),
        (int | None, "None", None),
        (str | None, "none", "none"),
        (int | str, "3", 3),
        (str | int, "3", 3),
        (str | int, "three", "three"),
        (int | float, "3", 3),
        (float | int, "3", 3.0),
        (dt.date | str, "2021-02-03", dt.date(2021, 2, 3)),
        (Path | int, "3", 3),
        (int | list[int], "3,4", [3, 4]),
        (Port, "80", 80),
        (Annotated[int, "of a port"], "80", 80),
        (dt.date.fromisoformat, "2021-02-03", dt.date(2021, 2, 3)),
        (json.loads, '{"a": [1]}', {"a": [1]}),
        (even, "4", 4),
        (lambda text: text.split("-"), "a-b", ["a", "b"]),
        (list[int], "1,2, 3", [1, 2, 3]),
        (list[int], "[1, 2]", [1, 2]),
        (list[int], "1", [1]),
        (list[int], "", []),
        (list[str], "a,b", ["a", "b"]),
        (list[str], '["a,b", "c"]', ["a,b", "c"]),
        (list[bool], "yes,no", [True, False]),
        (list[dt.date], "2021-02-03", [dt.date(2021, 2, 3)]),
        (list[dt.date], '["2021-02-03"]', [dt.date(2021, 2, 3)]),
        (list[Path], "a, b", [Path("a"), Path("b")]),
        (list[Colour], "RED,3", [Colour.RED, Colour.GREEN]),
        (list[list[int]], "[[1], []]", [[1], []]),
        (list[int | None], "1,none", [1, None]),
        (list, "1,2,3", [1, 2, 3]),
        (list, "1,2.5", [1.0, 2.5]),
        (list, "ab,c", ["ab", "c"]),
        (list, "[1, null]", [1, None]),
        (tuple, "a,b", ("a", "b")),
        (set, "1,1", {1}),
        (tuple[int, ...], "1,2", (1, 2)),
        (tuple[int, str], "1,2", (1, "2")),
        (tuple[int, str], '[1, "a,b"]', (1, "a,b")),
        (set[int], "1,2,1", {1, 2}),
        (frozenset[str], "a", frozenset({"a"})),
        (deque[int], "1,2", deque([1, 2])),
        (abc.Sequence[int], "1,2", [1, 2]),
        (abc.Set[int], "1,2", {1, 2}),
        (dict, '{"a": 1}', {"a": 1}),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (dict[int, dt.date], '{"1": "2021-02-03"}', {1: dt.date(2021, 2, 3)}),
        (abc.Mapping[str, list[int]], '{"a": [1]}', {"a": [1]}),
        (Server, '{"host": "a"}', Server("a")),
        (Server, '{"host": "a", "port": "81", "tags": ["x"]}', Server("a", 81, ("x",))),
        (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree("a", [Tree("b")])),
        (Pair[dt.date], '{"left": "2021-02-03", "right": "2021-02-03"}', Pair(*[dt.date(2021, 2, 3)] * 2)),
        (list[Server], '[{"host": "a"}]', [Server("a")]),
        (Server | None, "null", None),
        (Server | Tree, '{"name": "a"}', Tree("a")),
        (Row, '{"id": 1, "name": "a"}', {"id": 1, "name": "a"}),
        (Spot, "[1, 2]", Spot(1, 2.0)),
        (Spot, '{"x": 1, "y": 2}', Spot(1, 2.0)),
        (Any, "1", "1"),
        (object, "1", "1"),
    ],
    ids=label,
)  # fmt: skip
def test_text_is_converted(kind: Any, text: str, expected: Any) -> None:
    value = Param("x", type=kind).convert(text)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "3.0"), (int, ""), (int, "9" * 5000), (float, "x"), (bool, "2"),
        (dt.date, "2021-02-03T04:05"), (dt.date, "tomorrow"), (dt.timedelta, "5"), (dt.timedelta, "P"),
        (dt.timedelta, "P999999999999D"), (Decimal, "x"), (Fraction, "1/0"), (uuid.UUID, "x"), (complex, "x"),
        (Colour, "red"), (Literal["a"], "b"), (Literal[1], "1.0"), (OLD_OPTIONAL, "x"), (int | float, "x"),
        (list, "ab"), (tuple, "ab"), (set, "ab"), (list[int], "1,x"), (list[int], "1,"), (list[int], "[1, "),
        (list[int], '["1"]'), (list[list[int]], "1,2"), (tuple[int, str], "1"), (tuple[int, str], "[1]"),
        (set[Any], "[[1]]"), (dict, "a=1"), (dict, "[1]"), (dict[str, int], '{"a": "1"}'), (Server, "{}"),
        (Server, '{"host": 1}'), (Server, '{"host": "a", "colour": 1}'), (Server, '{"host": "a", "port": -1}'),
        (Server, "a"), (Tree, '{"name": "a", "children": [{}]}'), (Row, '{"id": 1}'), (Spot, "[1]"),
        (Spot, '{"x": 1, "z": 2}'), (Spot, "[1, 2, 3]"), (even, "3"), (lambda text: {}[text], "missing"),
        (type(None), "x"), (Row, '{"id": 1, "name": "a", "more": 1}'),
        (list[Any], "[" * 100_000), (abc.Callable[[], int], "print"), (type, "int"), (bytearray, "x"),
    ],
    ids=lambda value: label(value)[:40],
)  # fmt: skip
def test_text_that_means_nothing_is_refused(kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"^parameter 'x' must be"):
        Param("x", type=kind).convert(text)


@given(typed_values())
@example((Colour, Colour.BLUE))
@example((list[Colour], [Colour.BLUE]))
def test_a_value_written_as_text_comes_back(typed: tuple[Any, Any]) -> None:
    kind, value = typed
    text = written(value)
    again = converted(text, kind)
    assert again == value
    assert is_of(again, kind)
    assert converted(written(again), kind) == value


# -- other values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 7, 7),
        (float, 2, 2.0),
        (float, 10**400, None),
        (Decimal, 1, Decimal(1)),
        (Decimal, 1.1, Decimal("1.1")),
        (Fraction, 0.1, Fraction(1, 10)),
        (int | float, 2, 2),
        (float | int, 2, 2),
        (float | str, 2, 2.0),
        (OLD_OPTIONAL, None, None),
        (list[int], [1], [1]),
        (list[float], [1], [1.0]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, ...], (1, 2), (1, 2)),
        (set[int], [1, 1], {1}),
        (frozenset, [1], frozenset({1})),
        (abc.Sequence[int], (1, 2), (1, 2)),
        (abc.Sequence[int], range(2), [0, 1]),
        (abc.Iterable[int], {1}, {1}),
        (list[dt.date], ["2021-02-03", dt.date(2021, 2, 4)], [dt.date(2021, 2, 3), dt.date(2021, 2, 4)]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (dict, OrderedDict(a=1), OrderedDict(a=1)),
        (OrderedDict[str, int], {"a": 1}, OrderedDict(a=1)),
        (Server, {"host": "a", "tags": ["x"]}, Server("a", tags=("x",))),
        (Server, Server("a"), Server("a")),
        (list[Server], [Server("a"), {"host": "b"}], [Server("a"), Server("b")]),
        (Tree, {"name": "a", "children": [Tree("b")]}, Tree("a", [Tree("b")])),
        (Colour, Colour.RED, Colour.RED),
        (Colour, 3, Colour.GREEN),
        (Mode, Mode.FAST, Mode.FAST),
        (Rights, Rights.READ | Rights.WRITE, Rights.READ | Rights.WRITE),
        (Rights, 3, Rights.READ | Rights.WRITE),
        (Literal[1], 1, 1),
        (abc.Callable[[], int], even, even),
        (type, int, int),
        (even, 3, 3),
        (Any, None, None),
    ],
    ids=label,
)
def test_a_value_of_the_type_is_taken(kind: Any, value: Any, expected: Any) -> None:
    if expected is None and value is not None:
        with pytest.raises(ValueError, match="too large"):
            Param("x", type=kind).convert(value)
        return
    found = Param("x", type=kind).convert(value)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 3.0), (int, True), (int, None), (int, Decimal(3)), (float, True), (float, b"x"),
        (float, Fraction(1, 2)), (bool, 1), (str, 5), (bytes, [1]), (Decimal, True), (Fraction, math.inf),
        (dt.date, dt.datetime(2021, 2, 3)), (dt.datetime, dt.date(2021, 2, 3)), (dt.timedelta, 5), (Path, 5),
        (list, (1,)), (list[int], [1, "a"]), (list[int], ["1"]), (list[int], {1: 2}), (tuple, {1}), (set, (1,)),
        (abc.Sequence[str], b"ab"), (dict, [("a", 1)]), (dict[str, int], {"a": None}), (dict[int, int], {"x": 1}),
        (Server, Tree("a")), (Server, ["a"]), (Server, {"host": None}), (Row, {"id": "1", "name": "a"}),
        (Colour, 4), (Colour, Level.LOW), (Level, True), (Level, 1.0), (Rights, 8), (Literal[1], True),
        (Literal["a"], 1), (int | None, b"x"), (even, b"4"), (abc.Callable[[], int], 5), (type(None), 0),
    ],
    ids=label,
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^parameter 'x' must be"):
        Param("x", type=kind).convert(value)


def test_a_protocol_that_python_cannot_check_is_refused() -> None:
    class Sized(typing.Protocol):
        size: int

    with pytest.raises(ValueError, match="Python cannot tell"):
        Param("x", type=Sized).convert(5)


@given(typed_values(), raw_values())
def test_every_value_is_of_the_type_or_is_refused(typed: tuple[Any, Any], raw: Any) -> None:
    kind, value = typed
    assert is_of(converted(value, kind), kind)
    try:
        found = converted(raw, kind)
    except Mismatch:
        return
    assert is_of(found, kind)


@given(typed_values(), raw_values())
def test_whatever_is_wrong_is_said_in_one_line_that_names_the_parameter(typed: tuple[Any, Any], raw: Any) -> None:
    try:
        Param("x", type=typed[0]).convert(raw)
    except ValueError as error:
        said = str(error)
    else:
        return
    assert said.startswith("parameter 'x' must be ")
    assert said.isprintable()


def test_a_container_is_a_new_one_so_that_tasks_cannot_change_what_was_given() -> None:
    given, default = [1], Param("x", default=[1])
    assert Param("x", type=list[int]).convert(given) is not given
    assert default.resolved_default() is not default.resolved_default()


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


# -- libraries -------------------------------------------------------------------------------------------------


@pytest.mark.needs("numpy")
@pytest.mark.parametrize(
    ("kind", "make", "expected"),
    [
        (int, lambda np: np.int64(3), None),
        (int, lambda np: np.uint8(3), None),
        (bool, lambda np: np.True_, None),
        (float, lambda np: np.float64(3), None),
        (float, lambda np: np.float32(3), 3.0),
        (float, lambda np: np.int8(3), 3.0),
        (str, lambda np: np.str_("a"), None),
        (int, lambda np: np.str_("3"), 3),
        (list[int], lambda np: [np.int64(1), 2], [1, 2]),
        (Decimal, lambda np: np.float64(0.1), Decimal("0.1")),
    ],
)
def test_numbers_of_numpy_are_numbers(kind: Any, make: Callable[[Any], Any], expected: Any) -> None:
    given = make(importlib.import_module("numpy"))
    value = Param("x", type=kind).convert(given)
    if expected is None:
        assert value is given
    else:
        assert (type(value), value) == (type(expected), expected)


@pytest.mark.needs("numpy")
@pytest.mark.parametrize(("kind", "make"), [(int, "float64"), (bool, "int64"), (int, "bool_"), (float, "bool_")])
def test_a_number_of_numpy_of_another_kind_is_refused(kind: Any, make: str) -> None:
    with pytest.raises(ValueError, match="'x'"):
        Param("x", type=kind).convert(getattr(importlib.import_module("numpy"), make)(1))


@pytest.mark.needs("numpy", "pandas")
@pytest.mark.parametrize("make", ["array", "frame", "series", "NA", "record of an array"])
async def test_a_default_that_cannot_be_compared_is_taken_as_it_is(make: str) -> None:
    np, pd = importlib.import_module("numpy"), importlib.import_module("pandas")
    default = {
        "array": np.arange(3),
        "frame": pd.DataFrame({"a": [1, 2]}),
        "series": pd.Series([1, 2]),
        "NA": pd.NA,
        "record of an array": Host(np.arange(3)),
    }[make]
    values = await cascade.run([Param("x", default), Param("x", default), Param("x", default)])
    assert all(value is default for value in values)


@pytest.mark.needs("numpy")
async def test_a_function_from_text_takes_other_values_as_they_are() -> None:
    np = importlib.import_module("numpy")
    array = np.arange(3)
    assert (await cascade.run(Param("x", type=np.asarray), {"x": array})) is array


@pytest.mark.needs("pydantic")
def test_pydantic_checks_what_is_its_own() -> None:
    pydantic = importlib.import_module("pydantic")
    Model = pydantic.create_model("Model", host=(str, ...), port=(int, 80))
    Small = Annotated[int, pydantic.Field(lt=10)]

    assert Param("x", type=Model).convert('{"host": "a"}') == Model(host="a")
    assert Param("x", type=Model).convert({"host": "a", "port": 1}) == Model(host="a", port=1)
    several, optional = types.GenericAlias(list, (Model,)), operator.or_(Model, None)
    assert Param("x", type=several).convert('[{"host": "a"}]') == [Model(host="a")]
    assert Param("x", type=optional).convert("none") is None
    assert Param("x", type=Small).convert("9") == 9
    assert Param("x", type=pydantic.SecretStr).convert("abc").get_secret_value() == "abc"
    for kind, text, why in [
        (Model, "{}", "host: Field required"),
        (Small, "10", "less than 10"),
        (Model, "x", ""),
    ]:
        with pytest.raises(ValueError, match=r"^parameter 'x' must be") as caught:
            Param("x", type=kind).convert(text)
        assert why in str(caught.value)


@given(st.integers() | st.floats(allow_nan=False), st.sampled_from([int, float, Decimal, int | None]))
def test_numbers_written_by_anybody_are_read(number: float, kind: Any) -> None:
    try:
        value = Param("x", type=kind).convert(str(number))
    except ValueError:
        assert isinstance(number, float)
    else:
        assert (value if isinstance(number, int) else float(value)) == number
