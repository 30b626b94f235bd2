"""The walker: what is found in nested values, and what is put in its place."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict, UserString, defaultdict
from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

import attrs
import pytest
from holes import LAZY, Hashed, filled, one
from hypothesis import given
from labels import label
from strategies import HOLES, Blueprint, Card, Crate, Point, Row, Shelf, Stamp, blueprints, holes_of, realise

import cascade
from cascade.graph.nested import Template, compile_nested
from cascade.model.placeholders import Placeholder


def refill(value: Any, fill: Callable[[Placeholder], Any]) -> Any:
    """*value* with what *fill* says in the places of its placeholders."""
    found = compile_nested(value)
    if found is None:
        return value
    if not isinstance(found, Template):
        return fill(found)
    return found.fill([fill(hole) for hole in found.holes])


def number_of(hole: Placeholder, lazies: list[Any]) -> int:
    """Which of *lazies* it is."""
    return lazies.index(hole)


def exactly(value: Any) -> Any:
    """*value* and its type, for comparisons that tell a list from its subclass."""
    return type(value), value


# -- universal -------------------------------------------------------------------------------------------------


@given(blueprints())
def test_what_is_found_is_replaced_and_nothing_else(blueprint: Blueprint) -> None:
    lazies = [one() for _ in range(HOLES)]
    values = [f"value {number}" for number in range(HOLES)]
    replaced = refill(realise(blueprint, lazies), lambda hole: values[number_of(hole, lazies)])
    assert exactly(replaced) == exactly(realise(blueprint, values))


@given(blueprints())
def test_each_placeholder_is_found_once(blueprint: Blueprint) -> None:
    lazies = [one() for _ in range(HOLES)]
    found = compile_nested(realise(blueprint, lazies))
    holes = found.holes if isinstance(found, Template) else () if found is None else (found,)
    assert sorted(number_of(hole, lazies) for hole in holes) == sorted(holes_of(blueprint))


@given(blueprints())
def test_replacing_leaves_the_original_as_it_was(blueprint: Blueprint) -> None:
    lazies = [one() for _ in range(HOLES)]
    original = realise(blueprint, lazies)
    refill(original, lambda _: 7)
    assert exactly(original) == exactly(realise(blueprint, lazies))


@given(blueprints())
def test_plain_data_is_not_rebuilt(blueprint: Blueprint) -> None:
    assert compile_nested(realise(blueprint, ["plain"] * HOLES)) is None


@given(blueprints())
def test_a_template_can_be_filled_again_and_again(blueprint: Blueprint) -> None:
    found = compile_nested(realise(blueprint, [one() for _ in range(HOLES)]))
    if isinstance(found, Template):
        first, second = ([number] * len(found.holes) for number in (1, 2))
        found.fill(second)
        assert found.fill(first) == realise(blueprint, [1] * HOLES)


# -- containers ------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = LAZY


@attrs.frozen(cache_hash=True)
class SlottedHashed:
    content: Any


@dataclasses.dataclass
class Computed:
    given: Any
    derived: Any = dataclasses.field(init=False, default=None)


@attrs.define
class Private:
    _hidden: Any
    kept: Any = attrs.field(init=False, default=1)


@attrs.define
class Base:
    low: Any


@attrs.define
class Derived(Base):
    high: Any


class Pair(tuple[Any, Any]):
    __slots__ = ()

    def __new__(cls, left: Any, right: Any) -> Self:
        return super().__new__(cls, (left, right))


def listing(value: Any) -> defaultdict[str, Any]:
    return defaultdict(list, {"k": value})


class Tagged(frozenset[Any]):
    tag = "class"


@pytest.mark.parametrize(
    ("nested", "expected"),
    [
        pytest.param([LAZY], [7], id="list"),
        pytest.param((LAZY, 1), (7, 1), id="tuple"),
        pytest.param({LAZY, 1}, {7, 1}, id="set"),
        pytest.param(frozenset([LAZY]), frozenset([7]), id="frozenset"),
        pytest.param({"k": LAZY}, {"k": 7}, id="dict"),
        pytest.param(Crate(LAZY), Crate(7), id="attrs"),
        pytest.param(Shelf(1, LAZY), Shelf(1, 7), id="attrs with dict"),
        pytest.param(Card(LAZY, LAZY), Card(7, 7), id="dataclass"),
        pytest.param(Stamp(LAZY, 3), Stamp(7, 3), id="frozen dataclass with slots"),
        pytest.param(Point(LAZY), Point(7), id="named tuple"),
        pytest.param(Row([LAZY]), Row([7]), id="subclass of list"),
        pytest.param(Pair(LAZY, 1), Pair(7, 1), id="subclass of tuple"),
        pytest.param(Tagged([LAZY]), Tagged([7]), id="subclass of frozenset"),
        pytest.param(OrderedDict(b=LAZY, a=1), OrderedDict(b=7, a=1), id="OrderedDict"),
        pytest.param(listing(LAZY), listing(7), id="defaultdict"),
        pytest.param(Counter[Any]({"k": LAZY}), Counter[Any]({"k": 7}), id="Counter"),
        pytest.param(Private(LAZY), Private(7), id="attrs with a private field"),
        pytest.param(Derived(LAZY, LAZY), Derived(7, 7), id="inherited fields"),
        pytest.param(Computed(LAZY), Computed(7), id="dataclass with a computed field"),
        pytest.param([[[LAZY], LAZY]], [[[7], 7]], id="nested"),
        pytest.param({"a": [Crate((LAZY, {1: {LAZY}}))]}, {"a": [Crate((7, {1: {7}}))]}, id="mixed"),
        pytest.param([LAZY, LAZY, 1], [7, 7, 1], id="twice"),
        pytest.param([None, LAZY, ...], [None, 7, ...], id="among constants"),
    ],
)
def test_a_template_fills_placeholders_in(nested: Any, expected: Any) -> None:
    assert exactly(filled(nested)) == exactly(expected)


@pytest.mark.parametrize(
    "placeholder",
    [LAZY, one.map(x=[1]), cascade.Param("p"), cascade.Env("E"), cascade.inject("r"), cascade.Router(1, {1: 2})],
    ids=lambda placeholder: type(placeholder).__name__,
)
def test_every_placeholder_is_found(placeholder: Any) -> None:
    assert filled([(placeholder,)]) == [(7,)]


def test_an_enum_is_left_alone() -> None:
    assert compile_nested([Colour.RED]) is None


@pytest.mark.parametrize("value", [one, one.partial(x=LAZY), UserString("x"), object(), iter([LAZY])], ids=label)
def test_what_is_no_container_is_left_alone(value: Any) -> None:
    assert compile_nested([value]) is None


def test_the_order_of_a_dict_is_kept() -> None:
    assert list(filled({"b": LAZY, "a": 1, "c": LAZY})) == ["b", "a", "c"]


def test_attributes_of_a_subclass_are_kept() -> None:
    row = Row([LAZY])
    row.title = "first"  # type: ignore[attr-defined]  # made up on the spot
    assert filled(row).title == "first"


def test_attributes_of_a_set_are_kept() -> None:
    tagged = Tagged([LAZY])
    tagged.tag = "own"
    assert filled(tagged).tag == "own"


def test_a_default_factory_is_kept() -> None:
    assert filled(listing(LAZY))["missing"] == []


def test_a_field_that_init_does_not_take_is_kept() -> None:
    computed = Computed(LAZY)
    computed.derived = "derived"
    assert filled(computed).derived == "derived"


@pytest.mark.parametrize("kind", [Hashed, SlottedHashed])
def test_a_cached_hash_is_not_kept(kind: Any) -> None:
    record = kind(LAZY)
    hash(record)
    assert filled(record) in {kind(7)}  # noqa: FURB171  # the hash is the point


def test_a_cached_property_is_not_kept() -> None:
    @dataclasses.dataclass
    class Doubled:
        content: Any

        @cached_property
        def twice(self) -> Any:
            return [self.content, self.content]

    doubled = Doubled(LAZY)
    assert doubled.twice
    assert filled(doubled).twice == [7, 7]


# -- sharing ---------------------------------------------------------------------------------------------------


def test_a_container_that_occurs_twice_is_rebuilt_once() -> None:
    shared = [LAZY]
    rebuilt = filled([shared, {"k": shared}])
    assert rebuilt[0] is rebuilt[1]["k"]


def test_parts_without_placeholders_are_not_copied() -> None:
    plain = [1, 2]
    assert filled([plain, LAZY])[0] is plain


def test_what_many_levels_share_is_walked_once() -> None:
    """Two to the sixtieth paths lead to the one placeholder."""
    value: Any = [LAZY]
    for _ in range(60):
        value = [value, value]
    found = compile_nested(value)
    assert isinstance(found, Template)
    assert len(found.steps) == 61


def test_plain_data_that_many_levels_share_is_walked_once() -> None:
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    assert compile_nested(value) is None


# -- what cannot be --------------------------------------------------------------------------------------------


def _circular(make: Callable[[list[Any]], Any]) -> Any:
    inner: list[Any] = [LAZY]
    inner.append(make(inner))
    return inner


def _circular_record() -> Any:
    shelf = Shelf(LAZY)
    shelf.right = [shelf]
    return shelf


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: _circular(lambda inner: inner), id="list"),
        pytest.param(lambda: _circular(lambda inner: (inner,)), id="tuple in list"),
        pytest.param(lambda: _circular(Card), id="dataclass in list"),
        pytest.param(_circular_record, id="attrs"),
    ],
)
def test_a_container_that_contains_itself_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(cascade.GraphError, match="contains itself"):
        cascade.plan(one(make()))


@pytest.mark.parametrize(
    "nested",
    [
        pytest.param({LAZY: 1}, id="lazy"),
        pytest.param([{"k": {LAZY: 1}}], id="lazy, deeper"),
        pytest.param({LAZY: LAZY}, id="lazy to lazy"),
        pytest.param({cascade.Param("p"): 1}, id="param"),
        pytest.param({cascade.Env("E"): 1}, id="variable"),
        pytest.param({cascade.Router(1, {1: 2}): 1}, id="router"),
        pytest.param({(LAZY, 1): 2}, id="lazy in a tuple"),
        pytest.param({(1, frozenset([LAZY])): 2}, id="lazy in a set in a tuple"),
        pytest.param({Crate(LAZY): 2}, id="lazy in a record"),
        pytest.param({(LAZY, 1): LAZY}, id="lazy in a tuple, to a lazy"),
    ],
)
def test_a_placeholder_cannot_be_a_dict_key(nested: Any) -> None:
    with pytest.raises(cascade.GraphError, match="key"):
        cascade.plan(one(nested))


def test_a_lazy_cannot_be_the_key_of_a_route() -> None:
    with pytest.raises((cascade.GraphError, TypeError)):
        cascade.plan(cascade.Router(1, {LAZY: 1}))


async def test_a_value_that_cannot_be_in_a_set_is_an_error_of_its_task() -> None:
    with pytest.raises(TypeError, match=r"argument 'x' of 'one#2' .* cannot be a member of a set: unhashable"):
        await cascade.run(one({one([1])}))


def test_members_of_a_set_that_turn_out_equal_are_one() -> None:
    assert filled({one(), one(), 1}, 1) == {1}


def test_what_stands_beside_a_placeholder_is_the_same_object() -> None:
    content = object()
    assert filled([LAZY, content])[1] is content


def test_ever_new_types_are_treated_as_what_they_are() -> None:
    for number in range(5000):  # more than are remembered at a time
        kind = type(f"Kind{number}", (list,), {})
        assert compile_nested(kind([1])) is None
        assert compile_nested(kind([cascade.Param("p")])) is not None
