"""Digests by kind of value: what tells two values of the standard library apart, and what does not."""

from __future__ import annotations

import array
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import math
import pathlib
import pickle
import re
import time
import types
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from digests import digest
from hypothesis import given
from labels import label
from strategies_digests import Recipe, cooked, recipes, spoiled

import cascade
from cascade.graph.canonical import NotDigestibleError
from cascade.graph.identity import value_digest

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


# -- classes that add something --------------------------------------------------------------------------------


class Word(str):
    """A text that may have attributes."""


class Count(int):
    """A number that may have attributes."""


class Share(float):
    """Likewise."""


class Money(decimal.Decimal):
    """Likewise."""


class Day(datetime.date):
    """A date that says nothing of itself."""

    def __repr__(self) -> str:
        return "day"

    __str__ = __repr__


class Moment(datetime.datetime):
    """A time that may have attributes."""


class Remote(pathlib.PurePosixPath):
    """A path with a slot."""

    __slots__ = ("host",)
    host: str


class Ratio(fractions.Fraction):
    """A fraction that may have attributes."""


class Rows(list[Any]):
    """A list that may have attributes."""


class Pair(tuple[Any, ...]):
    """A tuple that may have attributes."""


class Table(dict[str, Any]):
    """A dict that may have attributes."""


class Bag(frozenset[Any]):
    """A set that may have attributes."""


class Blob(bytes):
    """Bytes that may have attributes."""


class Queue(collections.deque[Any]):
    """A deque that may have attributes."""


class Odd(list[Any]):
    """A list that shows other items than it has."""

    def __iter__(self) -> Any:
        return iter([0])

    def __len__(self) -> int:
        return 1


class Problem(Exception):
    """An error that keeps something beside its arguments."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclasses.dataclass
class Job:
    """A record with a field that does not take part in its comparison."""

    priority: int
    payload: Any = dataclasses.field(default=None, compare=False)

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.priority


class NightJob(Job):
    """A record by inheritance only."""


@attrs.define(eq=False)
class Service:
    """A record that equals nothing but itself."""

    host: str
    port: int = attrs.field(default=80, eq=False)


class Colour(enum.Enum):
    """A class to be mistaken for another."""

    RED = 1


def with_unit(value: Any, unit: Any) -> Any:
    value.unit = unit
    return value


def with_host(path: str, host: str) -> Remote:
    remote = Remote(path)
    remote.host = host
    return remote


SUBCLASSES: list[tuple[Callable[[], Any], Any]] = [
    (lambda: Word("a"), "a"), (lambda: Count(1), 1), (lambda: Share(1.5), 1.5), (lambda: Blob(b"a"), b"a"),
    (lambda: Money("1"), decimal.Decimal(1)), (lambda: Day(2026, 1, 2), datetime.date(2026, 1, 2)),
    (lambda: Moment(2026, 1, 2), datetime.datetime(2026, 1, 2)), (lambda: Ratio(1, 2), fractions.Fraction(1, 2)),
    (lambda: Rows([1]), [1]), (lambda: Pair([1]), (1,)), (lambda: Table(a=1), {"a": 1}),
    (lambda: Bag([1]), frozenset([1])), (lambda: Queue([1]), collections.deque([1])),
    (lambda: Problem("a", 1), Exception("a")), (lambda: NightJob(1), Job(1)),
    (lambda: collections.UserDict(a=1), {"a": 1}), (lambda: collections.UserList([1]), [1]),
    (lambda: collections.Counter("a"), {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "plain"), SUBCLASSES, ids=lambda value: type(value).__name__)
def test_a_subclass_is_told_from_its_base_and_by_its_attributes(make: Callable[[], Any], plain: Any) -> None:
    assert digest(make()) == digest(make()) != digest(plain)
    with_km = digest(with_unit(make(), "km"))
    assert with_km == digest(with_unit(make(), "km")) != digest(with_unit(make(), "mi"))
    assert with_km != digest(make())


def test_the_slots_of_a_subclass_count() -> None:
    assert digest(with_host("/a", "x")) == digest(with_host("/a", "x"))
    assert digest(with_host("/a", "x")) != digest(with_host("/a", "y"))
    assert digest(with_host("/a", "x")) != digest(Remote("/a"))


def test_what_is_in_a_value_counts_and_not_what_its_class_shows() -> None:
    assert digest(Odd([1, 2])) != digest(Odd([3]))
    assert digest(Day(2026, 1, 2)) != digest(Day(2026, 1, 3))


def test_an_attribute_without_digest_is_named() -> None:
    with pytest.raises(NotDigestibleError) as caught:
        value_digest([with_unit(Rows([1]), object())], "rows")
    assert caught.value.path == "rows[0].unit"


# -- told apart ------------------------------------------------------------------------------------------------

TOLD_APART: list[list[Any]] = [
    # What `==` does not see, and a task can.
    [0.0, -0.0, math.nan],
    [0j, complex(-0.0, 0), complex(0, -0.0)],
    [decimal.Decimal(1), decimal.Decimal("1.0"), decimal.Decimal("NaN")],
    [
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime.datetime(2026, 10, 25, 2, 30, fold=1),
        datetime.datetime(2026, 10, 25, 2, 30),
        datetime.datetime(2026, 10, 25, 0, 30, tzinfo=datetime.UTC),
    ],
    [datetime.time(2), datetime.time(2, fold=1), datetime.time(2, tzinfo=datetime.UTC)],
    [datetime.UTC, datetime.timezone(datetime.timedelta(), "zero"), datetime.timezone(datetime.timedelta(1 / 24))],
    [datetime.timedelta(1), datetime.timedelta(2), 86_400],
    [Job(1, "a"), Job(1, "b"), Job(2, "a")],
    [Service("a"), Service("b"), Service("a", 81)],
    # Order, where it matters.
    [collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), {"a": 1, "b": 2}],
    [[1, 2], [2, 1]],
    # What containers have beside their contents.
    [collections.defaultdict(int, a=1), collections.defaultdict(str, a=1), collections.defaultdict(None, a=1)],
    [collections.deque([1]), collections.deque([1], 3), collections.deque([1], 4), collections.deque([2]), [1]],
    [collections.ChainMap({"a": 1}), collections.ChainMap({"a": 2}), collections.ChainMap({"a": 1}, {"a": 2})],
    [types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2}), {"a": 1}],
    [types.MappingProxyType(collections.OrderedDict(a=1)), types.MappingProxyType({"a": 1})],
    [types.SimpleNamespace(a=1), types.SimpleNamespace(a=2), types.SimpleNamespace(b=1), {"a": 1}],
    [collections.UserDict(a=1), collections.UserDict(a=2), collections.UserDict(b=1)],
    [collections.UserList([1]), collections.UserList([2]), collections.UserString("1")],
    [collections.Counter("ab"), collections.Counter("aab")],
    [time.gmtime(0), time.struct_time((*time.gmtime(0)[:9], "zone", 0)), time.gmtime(1), tuple(time.gmtime(0))],
    # Bytes, and views of them.
    [b"ab", bytearray(b"ab"), memoryview(b"ab"), memoryview(b"ba"), memoryview(b"ab").cast("c")],
    [array.array("i", [1]), array.array("h", [1]), array.array("i", [2]), [1]],
    # Numbers in between.
    [range(3), range(4), range(1, 3), range(0, 3, 2), range(0)],
    [slice(1), slice(2), slice(1, None), slice(None, 1, 2)],
    [uuid.UUID(int=1), uuid.UUID(int=2), 1],
    [re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a")],
    # Functions and what is bound to them.
    [functools.partial(max, 1), functools.partial(min, 1), functools.partial(max, 2), functools.partial(max, a=1)],
    [len, sum, "a".upper, "b".upper, "a".lower, str.upper, str.lower, bytes.upper],
    [Service("a").__eq__, Service("b").__eq__, Service.__eq__],
    [functools.lru_cache(lambda x: x), functools.lru_cache(lambda x: x + 1), lambda x: x],
    [math, re, "math"],
    # Exceptions.
    [ValueError(1), ValueError(2), TypeError(1), ValueError(1, 2), ValueError()],
    [Problem("a", 1), Problem("a", 2), Problem("b", 1)],
    [OSError(2, "no", "a"), OSError(2, "no", "b"), OSError(2, "no"), PermissionError(13, "no", "a")],
    [ImportError("a", name="x"), ImportError("a", name="y"), ImportError("a")],
    [ExceptionGroup("a", [ValueError(1)]), ExceptionGroup("a", [ValueError(2)]), ExceptionGroup("b", [OSError()])],
    # Calls that are given some arguments.
    [cascade.task(len).partial(), cascade.task(sum).partial(), 1],
]  # fmt: skip


@pytest.mark.parametrize("values", TOLD_APART, ids=lambda values: label(values[0])[:30])
def test_these_are_told_apart(values: list[Any]) -> None:
    found = [digest(value) for value in values]
    assert [values[place] for place, one in enumerate(found) if one in found[:place]] == []


# -- not told apart --------------------------------------------------------------------------------------------


def noted(error: Exception) -> Exception:
    error.add_note("raised in run 5")
    return error


def used(job: Job) -> Job:
    assert job.twice == 2
    return job


THE_SAME: list[tuple[Any, Any]] = [
    (math.nan, math.inf - math.inf),
    ([1.0, math.nan], [1.0, math.inf - math.inf]),
    (complex(math.nan, 1), complex(math.inf - math.inf, 1)),
    (range(0, 3, 2), range(0, 4, 2)),
    (range(0), range(5, 5)),
    (range(3, 4), range(3, 9, 6)),
    ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    (collections.defaultdict(int, a=1, b=2), collections.defaultdict(int, b=2, a=1)),
    (collections.Counter("ab"), collections.Counter("ba")),
    (types.MappingProxyType({"a": 1, "b": 2}), types.MappingProxyType({"b": 2, "a": 1})),
    (types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1)),
    (memoryview(b"abcd")[::2], memoryview(b"ac")[::1]),
    (fractions.Fraction(2, 4), fractions.Fraction(1, 2)),
    (noted(ValueError(1)), ValueError(1)),
    (used(Job(1)), Job(1)),
    (re.compile("a"), re.compile("a", re.UNICODE)),
]


@pytest.mark.parametrize(("a", "b"), THE_SAME, ids=lambda value: label(value)[:30])
def test_these_are_not_told_apart(a: Any, b: Any) -> None:
    assert digest(a) == digest(b)


def test_numbers_of_any_length_have_a_digest() -> None:
    huge = 10**5000
    assert digest(range(huge)) != digest(range(huge + 1))
    assert digest(fractions.Fraction(1, huge)) != digest(fractions.Fraction(1, huge + 1))
    assert digest(Count(huge)) != digest(Count(huge + 1))


def test_a_long_list_has_a_digest_of_its_own() -> None:
    long = list(range(50_000))
    found = {
        digest(long),
        digest(tuple(long)),
        digest([*long, 1]),
        digest([*long[:-1], None]),
        digest([*long, [1]]),
    }
    assert len(found) == 5
    assert digest(long) == digest(list(long))


def test_values_that_are_made_on_the_way_are_not_mistaken_for_each_other() -> None:
    views = [types.MappingProxyType({"n": number}) for number in range(200)]
    assert len({digest([view, views[0]]) for view in views}) == 200
    found = digest(views)
    assert found != digest([*views[:-1], views[0]])


# -- universal -------------------------------------------------------------------------------------------------


@given(recipes())
def test_values_made_alike_have_one_digest_also_after_copying(recipe: Recipe) -> None:
    found = digest(cooked(recipe))
    assert digest(cooked(recipe)) == found
    assert digest(copy.copy(cooked(recipe))) == found
    assert digest(copy.deepcopy(cooked(recipe))) == found
    assert digest(pickle.loads(pickle.dumps(cooked(recipe)))) == found


@given(recipes(), recipes())
def test_a_difference_anywhere_makes_another_digest(recipe: Recipe, other: Recipe) -> None:
    if recipe == other:
        assert digest(cooked(recipe)) == digest(cooked(other))
    else:
        assert digest(cooked(recipe)) != digest(cooked(other))
    for changed in spoiled(recipe):
        assert digest(cooked(changed)) != digest(cooked(recipe))
