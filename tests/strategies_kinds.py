"""Strategies for declared types, with values of theirs and with values that may be of none."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import types
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, Final, Literal, TypedDict, Union, get_args, get_origin

import attrs
from hypothesis import strategies as st
from kinds import Spot

Strategy = st.SearchStrategy


class Colour(enum.Enum):
    """Members whose names are each other's values, and one with a value of another class."""

    RED = "BLUE"
    BLUE = "RED"
    GREEN = 3


@attrs.frozen
class Host:
    """An attrs class with a private field and a default."""

    name: str
    _port: int = 80


@dataclasses.dataclass
class Plan:
    """A dataclass with records and dates in it."""

    hosts: list[Host]
    day: datetime.date
    limit: int | None = None


class Options(TypedDict):
    """A TypedDict."""

    depth: int
    names: list[str]


Typed = tuple[Any, Any]  # a kind, and a value of it

_text: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_floats: Final = st.floats(allow_nan=False)
_SCALARS: Final[dict[Any, Strategy[Any]]] = {
    bool: st.booleans(),
    int: st.integers(),
    float: _floats,
    str: _text,
    bytes: st.binary(max_size=8),
    Decimal: st.decimals(allow_nan=False),
    Fraction: st.fractions(),
    datetime.date: st.dates(),
    datetime.datetime: st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
    datetime.time: st.times(),
    datetime.timedelta: st.timedeltas(),
    PurePosixPath: _text.map(PurePosixPath),
    complex: st.complex_numbers(allow_nan=False),
    Colour: st.sampled_from(Colour),
    Literal["a", "b,c", 3, True]: st.sampled_from(["a", "b,c", 3, True]),
    Host: st.builds(Host, name=_text, port=st.integers()),
    Plan: st.builds(
        Plan,
        st.lists(st.builds(Host, _text, st.integers()), max_size=2),
        st.dates(),
        st.none() | st.integers(),
    ),
    Options: st.fixed_dictionaries({"depth": st.integers(), "names": st.lists(_text, max_size=2)}),
    Spot: st.builds(Spot, st.integers(), _floats),
}
_HASHABLE: Final = (bool, int, str, bytes, Fraction, datetime.date, PurePosixPath, Colour)


def _one(kind: Any) -> Strategy[Typed]:
    return st.tuples(st.just(kind), _SCALARS[kind])


@st.composite
def _collections(draw: st.DrawFn, items: Strategy[Typed]) -> Typed:
    sort = draw(st.sampled_from(["list", "tuple", "places", "set", "dict", "optional"]))
    if sort == "places":
        pairs = draw(st.lists(items, min_size=1, max_size=3))
        return tuple[tuple(kind for kind, _ in pairs)], tuple(value for _, value in pairs)  # type: ignore[misc]
    if sort == "set":
        kind = draw(st.sampled_from(_HASHABLE))
        return frozenset[kind], frozenset(draw(st.lists(_SCALARS[kind], max_size=3)))  # type: ignore[valid-type]
    if sort == "dict":
        key, (kind, value) = draw(st.sampled_from(_HASHABLE)), draw(items)
        return dict[key, kind], dict.fromkeys(draw(st.lists(_SCALARS[key], max_size=2)), value)  # type: ignore[valid-type]
    kind, value = draw(items)
    if sort == "optional":
        # What takes every text takes "none" too.
        return (kind, value) if kind in (str, bytes, PurePosixPath) else (kind | None, value)
    several = [value] * draw(st.integers(0, 3))
    return (list[kind], several) if sort == "list" else (tuple[kind, ...], tuple(several))  # type: ignore[valid-type]


def typed_values() -> Strategy[Typed]:
    """A kind, and a value of it, nested a little."""
    scalars = st.sampled_from(list(_SCALARS)).flatmap(_one)
    return st.recursive(scalars, _collections, max_leaves=4)


def raw_values() -> Strategy[Any]:
    """What may be given for an input: text of all sorts, and plain data."""
    words = st.sampled_from([
        "", "1", "-1", "1.5", "true", "none", "null", "1,2", "a,b", "[1, 2]", '["a"]', '{"a": 1}', "RED", "nan",
        "PT5S", "2026-11-21", "[", "{", '{"name": "x", "port": 1}', '{"hosts": [], "day": "2026-11-21"}', "[[1]]",
        "1_0", " 1 ",
    ])  # fmt: skip
    atoms = (
        st.none() | st.booleans() | st.integers() | _floats | words | _text | st.dates() | st.sampled_from(Colour)
    )
    return st.recursive(
        atoms,
        lambda parts: st.lists(parts, max_size=3) | st.dictionaries(_text | words, parts, max_size=3),
        max_leaves=4,
    )


def is_of(value: Any, kind: Any) -> bool:
    """Whether *value* is one of *kind*: written anew, and not with what converts."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(is_of(value, part) for part in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is dict:
        return type(value) is dict and all(
            is_of(key, arguments[0]) and is_of(item, arguments[1]) for key, item in value.items()
        )
    if origin is tuple and arguments[-1] is not Ellipsis:
        return type(value) is tuple and len(value) == len(arguments) and all(map(is_of, value, arguments))
    if origin is not None:
        return type(value) is origin and all(is_of(item, arguments[0]) for item in value)
    if kind is Options:
        return (
            type(value) is dict
            and value.keys() == {"depth", "names"}
            and is_of(value["depth"], int)
            and is_of(value["names"], list[str])
        )
    if kind is datetime.date:
        return type(value) is datetime.date
    return type(value) is kind if kind in (int, float, bool) else isinstance(value, kind)
