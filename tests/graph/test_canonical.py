"""The canonical hash: equal for equal values, different for different ones, and never a guess."""

from __future__ import annotations

import contextvars
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import math
import operator
import pathlib
import random
import re
import sys
import threading
import uuid
import weakref
import zoneinfo
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from digests import digest
from hypothesis import assume, given
from hypothesis import strategies as st
from labels import label
from strategies import (
    HOLES,
    Blueprint,
    Card,
    Crate,
    Point,
    Row,
    Shelf,
    Stamp,
    atoms,
    blueprints,
    holes_of,
    realise,
)

import cascade
from cascade.graph.canonical import NotDigestibleError, combine
from cascade.graph.identity import value_digest


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796  # an alias is the point
    BLUE = 2


class Number(enum.IntEnum):
    ONE = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class OtherRight(enum.Flag):
    READ = 1


@attrs.frozen
class OtherCrate:
    content: Any
    label: str = "crate"


@dataclasses.dataclass
class Defaulted:
    first: int = 1
    second: int = 2


def plus_one(x: int) -> int:
    return x + 1


def plus_two(x: int) -> int:
    return x + 2


def adder(number: int) -> Callable[[int], int]:
    return lambda x: x + number


def defaulting(number: int) -> Callable[[int], int]:
    def add(x: int, by: int = number) -> int:
        return x + by

    return add


def keyword_defaulting(number: int) -> Callable[[int], int]:
    def add(x: int, *, by: int = number) -> int:
        return x + by

    return add


@cascade.task
def one(x: Any = 1) -> Any:
    return x


@cascade.task
def two(x: Any = 1) -> Any:
    return x


# -- universal -------------------------------------------------------------------------------------------------


def spelling(value: Any) -> tuple[str, str]:
    return type(value).__qualname__, repr(value)


@given(blueprints(), st.lists(atoms(), min_size=HOLES, max_size=HOLES))
def test_equal_values_have_equal_hashes(blueprint: Blueprint, leaves: list[Any]) -> None:
    assume(all(leaf.__hash__ for leaf in leaves))
    assert digest(realise(blueprint, leaves)) == digest(realise(blueprint, leaves))


@given(blueprints(), atoms(), atoms(), st.integers(0, HOLES - 1))
def test_one_different_leaf_makes_the_hash_different(blueprint: Blueprint, a: Any, b: Any, place: int) -> None:
    assume(place in holes_of(blueprint) and spelling(a) != spelling(b))
    fillings: list[Any] = [f"leaf {number}" for number in range(HOLES)]
    first, second = ([*fillings[:place], leaf, *fillings[place + 1 :]] for leaf in (a, b))
    values = realise(blueprint, first), realise(blueprint, second)
    assume(spelling(values[0]) != spelling(values[1]))  # one of them may be in a set already
    assert digest(values[0]) != digest(values[1])


@given(st.dictionaries(atoms().filter(lambda a: a.__hash__ is not None), st.integers()), st.randoms())
def test_a_dict_is_hashed_by_content_not_by_order(items: dict[Any, int], chance: random.Random) -> None:
    shuffled = list(items.items())
    chance.shuffle(shuffled)
    assert digest(dict(shuffled)) == digest(items)


@given(st.lists(st.tuples(st.integers(), st.text(max_size=3)), unique=True), st.randoms())
def test_a_set_is_hashed_by_content_not_by_order(items: list[Any], chance: random.Random) -> None:
    shuffled = items.copy()
    chance.shuffle(shuffled)
    assert digest(set(shuffled)) == digest(set(items))


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_no_two_sequences_of_parts_share_an_encoding(a: list[bytes], b: list[bytes]) -> None:
    assert (combine("tag", a) == combine("tag", b)) is (a == b)


@given(st.integers(), st.integers())
def test_functions_that_close_over_different_values_differ(a: int, b: int) -> None:
    assert (digest(adder(a)) == digest(adder(b))) is (a == b)


# -- different -------------------------------------------------------------------------------------------------

DISTINCT: list[list[Any]] = [
    [1, True, 1.0, "1", b"1", 1 + 0j, decimal.Decimal(1), fractions.Fraction(1), Number.ONE, [1], (1,), {1}, None],
    [0, False, 0.0, "", b"", None, [], (), {}, set(), frozenset(), bytearray(), range(0)],
    [[1, 2], [2, 1], [[1], 2], [1, [2]], [[1, 2]], (1, 2), Row([1, 2]), Point(1, 2), {1, 2}, frozenset([1, 2])],
    [{"a": 1}, {"a": 2}, {"b": 1}, {1: "a"}, OrderedDict(a=1), [("a", 1)], {("a", 1)}],
    [["ab", "c"], ["a", "bc"], ["abc"], ["a", "b", "c"], ["", "abc"]],
    [{"a": {"b": 1}}, {"a": {}, "b": 1}, {"a": None, "b": 1}, {"a": "b", "b": 1}],
    [
        Crate(1),
        OtherCrate(1),
        Crate(1, "other"),
        Crate(2),
        Stamp(1),
        Card(1),
        Shelf(1),
        {"content": 1},
        (1, "crate"),
    ],
    [Colour.RED, Colour.BLUE, Number.ONE, Right.READ, OtherRight.READ, "RED", 1, Colour],
    [Right.READ, Right.WRITE, Right.READ | Right.WRITE],
    [math.inf, -math.inf, math.nan, 0.1, math.nextafter(0.1, 1), 0.5],
    [datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2), "2026-01-02"],
    [
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        datetime.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")),
        datetime.datetime(2026, 1, 2, 1, tzinfo=datetime.UTC),
        datetime.datetime(2026, 1, 2),
    ],
    [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a/b"), pathlib.PurePosixPath("a"), "a/b"],
    [re.compile("a"), re.compile("b"), re.compile("a", re.IGNORECASE), re.compile(b"a"), "a"],
    [uuid.UUID(int=1), uuid.UUID(int=2)],
    [int, float, Colour, Crate],
    [plus_one, plus_two, one, two, lambda x: x + 1, lambda x: x + 2],
    [functools.partial(plus_one), functools.partial(plus_one, 1), functools.partial(plus_one, x=1), plus_one],
    [functools.partial(plus_one, 1), functools.partial(plus_two, 1), functools.partial(plus_one, 2)],
    [range(3), range(1, 3), range(0, 3, 2), [0, 1, 2]],
    ["é", "e\u0301", "e"],
    ["\ud800", "\udfff", "?"],
    [cascade.Param("p"), cascade.Param("q"), cascade.Env("p"), cascade.inject("p"), "p"],
    [10**5000, 10**5000 + 1, 10**4000],
]


@pytest.mark.parametrize("values", DISTINCT, ids=lambda values: type(values[0]).__name__)
def test_different_values_have_different_hashes(values: list[Any]) -> None:
    hashes = [digest(value) for value in values]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("make", [adder, defaulting, keyword_defaulting])
def test_functions_of_one_source_differ_by_the_values_that_they_hold(make: Callable[[int], Any]) -> None:
    assert digest(make(1)) != digest(make(2))


@pytest.mark.parametrize("value", [Right(0), Right.READ & Right.WRITE, re.RegexFlag(0)], ids=label)
def test_a_flag_without_a_name_has_a_hash(value: Any) -> None:
    assert digest(value) != digest(Right.READ)


# -- equal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param(Colour.RED, Colour.CRIMSON, id="alias of an enum"),
        pytest.param({1: 2, 3: 4}, {3: 4, 1: 2}, id="dict in another order"),
        pytest.param(fractions.Fraction(2, 4), fractions.Fraction(1, 2), id="fraction"),
        pytest.param(Defaulted(), Defaulted(1, 2), id="defaults"),
        pytest.param(adder(1), adder(1), id="closures over equal values"),
        pytest.param("ab" + "c", "abc", id="text"),
        pytest.param(float("1e3"), 1000.0, id="float"),
    ],
)
def test_equal_spellings_have_equal_hashes(a: Any, b: Any) -> None:
    assert digest(a) == digest(b)


def test_sharing_makes_no_difference() -> None:
    shared = [1]
    assert digest([shared, shared]) == digest([[1], [1]])


# -- refused ---------------------------------------------------------------------------------------------------


class Stranger:
    def __repr__(self) -> str:
        return "always the same"

    def method(self) -> None: ...


class Zone(datetime.tzinfo):
    """Of a type that says nothing of itself."""

    def utcoffset(self, _: datetime.datetime | None, /) -> datetime.timedelta:
        return datetime.timedelta()

    def dst(self, _: datetime.datetime | None, /) -> None: ...

    def tzname(self, _: datetime.datetime | None, /) -> str:
        return "zone"


class Tagged(str):
    """A text with something unknown on it."""

    def __init__(self, _: str) -> None:
        self.owner = Stranger()


STRANGERS = [
    Stranger(), object(), Stranger().__repr__, operator.itemgetter(1), iter([1]), zip(), Tagged("x"), {}.keys(),
    datetime.datetime(2026, 1, 2, tzinfo=Zone()), threading.Lock(), weakref.ref(Stranger), sys.stdout,
    (number for number in range(3)), contextvars.ContextVar("x"), Stranger().method,
]  # fmt: skip


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda stranger: type(stranger).__name__)
@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: [v], lambda v: {"k": (v,)}, Crate, functools.partial(Point, 1)]
)
def test_a_value_of_unknown_type_is_refused(stranger: Any, wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(NotDigestibleError):
        digest(wrap(stranger))


@pytest.mark.parametrize(
    ("value", "path"),
    [
        pytest.param(Stranger(), "config", id="itself"),
        pytest.param([1, Stranger()], "config[1]", id="list"),
        pytest.param({"model": {"layers": [Stranger()]}}, "config['model']['layers'][0]", id="nested"),
        pytest.param(Crate((1, Stranger())), "config.content[1]", id="record"),
        pytest.param({Stranger()}, "config{...}", id="set"),
        pytest.param({Stranger(): 1}, "a key of config", id="key"),
        pytest.param({"k": {(1, Stranger()): 1}}, "a key of config['k'][1]", id="deep key"),
        pytest.param(functools.partial(Point, Stranger()), "config.args[0]", id="partial"),
    ],
)
def test_a_refusal_says_where_the_value_stands(value: Any, path: str) -> None:
    with pytest.raises(NotDigestibleError) as caught:
        value_digest(value, "config")
    assert caught.value.path == path


def test_a_refusal_names_the_type() -> None:
    with pytest.raises(NotDigestibleError, match=r"test_canonical\.Stranger, which has no canonical hash"):
        digest([Stranger()])


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotDigestibleError, match="contains itself"):
        digest(value)


def test_a_value_that_cannot_be_taken_apart_is_refused_with_the_reason() -> None:
    view = memoryview(b"x")
    view.release()
    with pytest.raises(NotDigestibleError, match="released") as caught:
        value_digest([view], "config")
    assert caught.value.path == "config[0]"


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(NotDigestibleError, match=r"cascade\.cache\.register_digest"):
        digest(Stranger())
