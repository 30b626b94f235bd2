"""All Hypothesis strategies: nested values, plain data and flows, each from a small description."""

from __future__ import annotations

import dataclasses
import datetime
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, Literal, NamedTuple

import attrs
from hypothesis import strategies as st

import cascade

Strategy = st.SearchStrategy


# -- records ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Crate:
    """A frozen attrs class with slots."""

    content: Any
    label: str = "crate"


@attrs.define(slots=False)
class Shelf:
    """A mutable attrs class with a dict."""

    left: Any
    right: Any = None


@dataclasses.dataclass
class Card:
    """A plain dataclass."""

    front: Any
    back: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Stamp:
    """A frozen dataclass with slots."""

    motif: Any
    price: int = 1


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any = 0


class Row(list[Any]):
    """A subclass of list."""


def _keyed(items: list[Any]) -> dict[str, Any]:
    return {f"key {place}": item for place, item in enumerate(items)}


# -- nested values with holes ----------------------------------------------------------------------------------

Make = Callable[[list[Any]], Any]

_FROZEN: Final[dict[str, Make]] = {
    "tuple": tuple,
    "frozenset": frozenset,
    "point": lambda items: Point(items[0], tuple(items[1:])),
    "crate": lambda items: Crate(tuple(items)),
    "stamp": lambda items: Stamp(tuple(items)),
}
_CONTAINERS: Final[dict[str, Make]] = {
    **_FROZEN,
    "list": list,
    "row": Row,
    "dict": _keyed,
    "ordered": lambda items: OrderedDict(enumerate(items)),
    "counter": lambda items: Counter(_keyed(items)),
    "default": lambda items: defaultdict(list, _keyed(items)),
    "deque": lambda items: deque(items, maxlen=9),
    "view": lambda items: MappingProxyType(_keyed(items)),
    "chain": lambda items: ChainMap(_keyed(items[:1]), _keyed(items[1:])),
    "user dict": lambda items: UserDict(_keyed(items)),
    "user list": UserList,
    "namespace": lambda items: SimpleNamespace(content=items, first=items[0]),
    "shelf": lambda items: Shelf(items[0], items[1:]),
    "card": lambda items: Card(items[0], items[1:]),
}


@attrs.frozen
class Leaf:
    """A plain value."""

    value: Any


@attrs.frozen
class Hole:
    """The place of a value that is given later."""

    number: int


@attrs.frozen
class Holder:
    """A container of these parts."""

    kind: str
    parts: tuple[Blueprint, ...]


Blueprint = Leaf | Hole | Holder
HOLES: Final = 4


def realise(blueprint: Blueprint, fillings: Sequence[Any]) -> Any:
    """The nested value with *fillings* in its holes."""
    match blueprint:
        case Leaf(value=value):
            return value
        case Hole(number=number):
            return fillings[number]
        case Holder(kind=kind, parts=parts):
            return _CONTAINERS[kind]([realise(part, fillings) for part in parts])


def holes_of(blueprint: Blueprint) -> set[int]:
    """The numbers of its holes."""
    match blueprint:
        case Leaf():
            return set()
        case Hole(number=number):
            return {number}
        case Holder(parts=parts):
            return set().union(*map(holes_of, parts))


def atoms() -> Strategy[Any]:
    """Values without contents, which have one spelling each."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(max_size=8),
        st.binary(max_size=8),
        st.dates(),
        st.timedeltas(),
        st.fractions().map(Fraction),
        st.sampled_from([datetime.UTC, range(3), range(0, 9, 2), ...]),
    )


def _holders(kinds: Sequence[str], parts: Strategy[Blueprint]) -> Strategy[Blueprint]:
    return st.builds(Holder, st.sampled_from(kinds), st.lists(parts, min_size=1, max_size=4).map(tuple))


def blueprints() -> Strategy[Blueprint]:
    """Nested values with up to ``HOLES`` holes in them, of all containers that the walker knows."""
    ends: Strategy[Blueprint] = st.one_of(
        st.builds(Hole, st.integers(0, HOLES - 1)), st.builds(Leaf, atoms().filter(_is_hashable))
    )
    frozen = st.recursive(ends, lambda parts: _holders(list(_FROZEN), parts), max_leaves=6)
    open_kinds = [kind for kind in _CONTAINERS if kind != "frozenset"]
    return st.recursive(frozen, lambda parts: _holders(open_kinds, parts), max_leaves=8)


def _is_hashable(value: Any) -> bool:
    return value.__hash__ is not None


# -- flows -----------------------------------------------------------------------------------------------------

Link = Literal[
    "argument", "keyword", "nested", "set", "column", "condition", "order", "amount", "route", "selector"
]
LINKS: Final[tuple[Link, ...]] = (
    "argument", "keyword", "nested", "set", "column", "condition", "order", "amount", "route", "selector",
)  # fmt: skip
PLAIN_LINKS: Final = tuple(link for link in LINKS if link not in ("route", "selector"))


@cascade.task(mode="inline")
def work(*values: Any, extra: Any = None) -> Any:
    """A task that takes anything."""
    return values, extra


@cascade.task(mode="inline")
def item(x: Any = None, *values: Any, extra: Any = None) -> Any:
    """A task to be mapped."""
    return x, values, extra


@attrs.frozen
class Stop:
    """One call of a flow.

    Attributes:
        literal: Its plain argument.
        links: What it takes from earlier calls: in which way, and how many places back.
    """

    literal: int
    links: tuple[tuple[Link, int], ...]


@attrs.frozen
class Itinerary:
    """A flow as a list of calls, each of which takes from those before; the last ones are the target."""

    stops: tuple[Stop, ...]
    targets: int

    def lazies(self) -> list[Any]:
        """Each call as a lazy, or as a router if it chooses."""
        made: list[Any] = []
        for stop in self.stops:
            made.append(_made(stop, made))
        return made

    def target(self) -> list[Any]:
        """The flow."""
        return self.lazies()[-self.targets :]


def _made(stop: Stop, made: Sequence[Any]) -> Any:
    found: dict[Link, list[Any]] = {}
    for link, back in stop.links:
        if made:
            found.setdefault(link, []).append(made[-1 - back % len(made)])
    values = [stop.literal, *found.get("argument", [])]
    values += [[(source,)] for source in found.get("nested", [])]
    values += [{source, stop.literal} for source in found.get("set", [])]
    call = work(*values, extra=found.get("keyword", [None])[0])
    if "column" in found:
        call = item.partial(extra=values).map(x=found["column"])
    for condition in found.get("condition", []):
        call = call.run_if(condition)
    call = call.after(*[source for source in found.get("order", []) if isinstance(source, cascade.LazyResult)])
    if "amount" in found:
        call = call.with_constraints(gpu=found["amount"][0])
    if "route" in found or "selector" in found:
        routes = dict(enumerate([call, *found.get("route", [])]))
        return cascade.Router(found.get("selector", [0])[0], routes)
    return call


def itineraries(links: Sequence[Link] = LINKS) -> Strategy[Itinerary]:
    """Random flows of a few calls, with *links* between them."""
    link = st.tuples(st.sampled_from(links), st.integers(0, 8))
    stop = st.builds(Stop, st.integers(0, 3), st.lists(link, max_size=4).map(tuple))
    stops = st.lists(stop, min_size=1, max_size=12).map(tuple)
    return st.builds(Itinerary, stops, st.integers(1, 3))
