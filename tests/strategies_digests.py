"""Values of all kinds that have a digest, each from a small description: descriptions differ if values do."""

from __future__ import annotations

import collections
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import attrs
from hypothesis import strategies as st
from strategies import Card, Crate, Shelf, Stamp, Strategy

Make = Callable[[list[Any]], Any]


class Spot(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any


class Tagged(list[Any]):
    """A list with an attribute."""

    tag: Any = None


class Named(dict[str, Any]):
    """A dict with a slot."""

    __slots__ = ("owner",)
    owner: Any


class Refused(Exception):
    """An error with an attribute."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.first = args[0]


def _tagged(items: list[Any]) -> Tagged:
    made = Tagged(items[1:])
    made.tag = items[0]
    return made


def _named(items: list[Any]) -> Named:
    made = Named(rest=items[1:])
    made.owner = items[0]
    return made


def _fields(items: list[Any]) -> dict[str, Any]:
    return {f"key {place}": item for place, item in enumerate(items)}


_KINDS: Final[dict[str, Make]] = {
    "list": list,
    "tuple": tuple,
    "dict": _fields,
    "ordered": lambda items: collections.OrderedDict(enumerate(items)),
    "default": lambda items: collections.defaultdict(list, enumerate(items)),
    "deque": collections.deque,
    "bounded deque": lambda items: collections.deque(items, 9),
    "chain": lambda items: collections.ChainMap({0: items[0]}, dict(enumerate(items))),
    "partial with keywords": lambda items: partial(max, **_fields(items)),
    "user dict": lambda items: collections.UserDict(_fields(items)),
    "user list": collections.UserList,
    "namespace": lambda items: types.SimpleNamespace(items=items),
    "partial": lambda items: partial(max, *items, key=items[0]),
    "crate": lambda items: Crate(items),
    "shelf": lambda items: Shelf(items[0], items[1:]),
    "card": lambda items: Card(items[0], items[1:]),
    "stamp": lambda items: Stamp(items),
    "spot": lambda items: Spot(items[0], items[1:]),
    "tagged": _tagged,
    "named": _named,
    "error": lambda items: ValueError(*items),
    "refused": lambda items: Refused(*items),
    "slice": lambda items: slice(items[0], items[1:]),
}


@attrs.frozen
class Leaf:
    """A plain value, with its class: ``1`` and ``True`` are two."""

    value: Any
    kind: type = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "kind", type(self.value))


@attrs.frozen
class Made:
    """A container of these parts."""

    kind: str
    parts: tuple[Recipe, ...]


Recipe = Leaf | Made


def cooked(recipe: Recipe) -> Any:
    """The value, made anew."""
    if isinstance(recipe, Leaf):
        return recipe.value
    return _KINDS[recipe.kind]([cooked(part) for part in recipe.parts])


def spoiled(recipe: Recipe) -> Iterator[Recipe]:
    """Recipes that differ in one place: a leaf, the kind of a container, or the number of parts."""
    if isinstance(recipe, Leaf):
        yield Leaf(("another than", recipe.value))
        return
    kinds = list(_KINDS)
    yield attrs.evolve(recipe, kind=kinds[kinds.index(recipe.kind) - 1])
    yield attrs.evolve(recipe, parts=(*recipe.parts, Leaf("one more")))
    for place, part in enumerate(recipe.parts):
        for changed in spoiled(part):
            yield attrs.evolve(recipe, parts=(*recipe.parts[:place], changed, *recipe.parts[place + 1 :]))


def _leaves() -> Strategy[Recipe]:
    # No floats: zero is equal to minus zero, but they are two values.
    plain = st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.binary(max_size=20), st.dates(),
        st.times(), st.timedeltas(), st.uuids(), st.frozensets(st.integers(0, 9), max_size=3),
    )  # fmt: skip
    return plain.map(Leaf)


def recipes() -> Strategy[Recipe]:
    """Nested values of up to a dozen parts."""
    return st.recursive(
        _leaves(),
        lambda parts: st.builds(
            Made, st.sampled_from(list(_KINDS)), st.lists(parts, min_size=1, max_size=3).map(tuple)
        ),
        max_leaves=8,
    )
