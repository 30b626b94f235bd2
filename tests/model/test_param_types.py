"""Types of Params and Envs: what text and other values are converted to, and what is refused."""

from __future__ import annotations

import collections.abc as abc
import datetime as dt
import json
import math
import typing
import uuid
from collections import OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kinds import (
    LITERAL_NONE,
    LITERAL_WORD,
    OLD_OPTIONAL,
    Celsius,
    Level,
    ListOf,
    Mode,
    Numbers,
    Pair,
    Picky,
    PickyMapping,
    Port,
    Rights,
    Row,
    Server,
    Spot,
    Tree,
    even,
)
from labels import label
from strategies_kinds import Colour, is_of, raw_values, typed_values

import cascade
from cascade.model.typed.convert import converted
from cascade.model.typed.kinds import Mismatch
from cascade.model.typed.written import written

Param = cascade.Param


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
        (Numbers, "1,2", [1, 2]),
        (ListOf[int], "1,2", [1, 2]),
        (ListOf[dt.date] | None, "2021-02-03", [dt.date(2021, 2, 3)]),
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
        (dict[list[int], int], '{"1,2": 3}'), (Picky, "1,2"), (list[Picky], "[[1]]"), (PickyMapping, "{}"),
        (ListOf[int], "x"), (type(None), "x"), (Row, '{"id": 1, "name": "a", "more": 1}'),
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
        (complex, 1.5, 1.5 + 0j),
        (dict[bytes, int], {b"a": 1}, {b"a": 1}),
        (dict[int, str], {1: "a", 2: "b"}, {1: "a", 2: "b"}),
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


def test_a_class_whose_own_test_of_instances_raises_is_refused() -> None:
    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            raise RuntimeError

    with pytest.raises(ValueError, match=r"^parameter 'x' must be Thing, not 5"):
        Param("x", type=Meta("Thing", (), {})).convert(5)


class TypeAliasType:
    """An alias that contains itself, as only the ``type`` statement of Python 3.12 makes one."""

    __name__ = "Nested"

    @property
    def __value__(self) -> Any:
        inner: Any = self
        return Union[int, list[inner]]  # noqa: UP007  # which has no operator for it


def test_an_alias_may_contain_itself() -> None:
    nested: Any = TypeAliasType()
    assert Param("x", type=nested).convert("[1, [2, []]]") == [1, [2, []]]
    assert Param("x", type=dict[str, nested]).convert({"a": [1]}) == {"a": [1]}
    assert repr(Param("x", type=dict[str, nested])) == "Param('x', type=dict[str, Nested])"
    with pytest.raises(ValueError, match=r"^parameter 'x' must be Nested"):
        Param("x", type=nested).convert('[1, ["a"]]')


@pytest.mark.parametrize("kind", ["Server", list["Server"], Optional["Server"], dict[str, list["Server"]]])
def test_a_class_named_in_quotes_cannot_be_looked_up(kind: Any) -> None:
    with pytest.raises(TypeError, match="type of Param 'x'"):
        Param("x", type=kind)


def test_quotes_in_literals_and_annotations_name_no_class() -> None:
    kind: Any = Annotated[Literal["Server"], "Server"]
    assert Param("x", type=kind).convert("Server") == "Server"


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


@given(st.integers() | st.floats(allow_nan=False), st.sampled_from([int, float, Decimal, int | None]))
def test_numbers_written_by_anybody_are_read(number: float, kind: Any) -> None:
    try:
        value = Param("x", type=kind).convert(str(number))
    except ValueError:
        assert isinstance(number, float)
    else:
        assert (value if isinstance(number, int) else float(value)) == number


def test_a_bounded_deque_stays_bounded() -> None:
    bounded = deque([1, 2], maxlen=3)
    taken = cascade.Param("x", type=deque[int]).convert(bounded)
    assert taken == bounded
    assert taken.maxlen == 3


def test_a_defaultdict_keeps_its_factory() -> None:
    taken = cascade.Param("x", type=defaultdict[str, int]).convert(defaultdict(int, a=1))
    assert taken == {"a": 1}
    assert taken["b"] == 0


def test_a_defaultdict_from_text_has_no_factory() -> None:
    taken = cascade.Param("x", type=defaultdict[str, int]).convert('{"a": 1}')
    assert taken == {"a": 1}
    with pytest.raises(KeyError):
        taken["b"]


def test_an_async_function_cannot_validate() -> None:
    async def check(value: object) -> None:
        raise ValueError

    with pytest.raises(TypeError, match="must be a sync function"):
        cascade.Param("x", type=int, validate=check)
