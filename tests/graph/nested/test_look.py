"""Looking for placeholders in data: what is found, how much is looked at for it, and in which portions."""

from __future__ import annotations

import gc
import sys
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterator
from types import MappingProxyType, SimpleNamespace
from typing import Any

import attrs
import pytest
from holes import LAZY, one
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import HOLES, Blueprint, Card, Crate, Point, Row, Shelf, Stamp, blueprints, holes_of, realise

from cascade.graph.nested import Hold, Seen, Steps, Template, compile_nested, finish, glance, has_placeholders
from cascade.graph.nested.look import Look, look_steps
from cascade.model.placeholders import Placeholder

MANY = 5000


def look(value: Any, *, is_thorough: bool = False) -> Look:
    return finish(look_steps(value, Seen(), is_thorough=is_thorough))


def pauses(steps: Steps[Any]) -> int:
    """How often *steps* let others run."""
    return sum(1 for _ in steps)


def calls_in(work: Callable[[], object]) -> int:
    """Calls of functions, those of C included: a measure that does not depend on the machine."""
    calls = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


# -- what is found ---------------------------------------------------------------------------------------------


@given(blueprints())
def test_a_look_finds_something_if_and_only_if_there_is_something(blueprint: Blueprint) -> None:
    value = [realise(blueprint, [one() for _ in range(HOLES)])]
    has_hole = bool(holes_of(blueprint))
    assert look(value).is_plain is not has_hole
    assert look(value, is_thorough=True).is_plain is not has_hole
    assert glance(value) in (not has_hole, None)
    assert finish(has_placeholders(value, Hold())) is has_hole


@given(blueprints())
def test_plain_data_is_plain_however_much_there_is(blueprint: Blueprint) -> None:
    value = [realise(blueprint, ["plain"] * HOLES)] * 200
    assert look(value).is_plain
    assert compile_nested(value) is None


@attrs.frozen
class Layout:
    """Containers, each made of earlier ones, so that they share and nest as they like.

    Attributes:
        kinds: What each is made by.
        parts: What each contains: numbers of earlier containers and, below 0, of holes and leaves.
    """

    kinds: tuple[str, ...]
    parts: tuple[tuple[int, ...], ...]


MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "long list": lambda items: [*items, *range(200)],
    "dict": lambda items: dict(enumerate(items)),
    "long dict": lambda items: {**dict(enumerate(range(150))), **{f"k{n}": item for n, item in enumerate(items)}},
    "shelf": lambda items: Shelf(items),
    "deque": deque,
}


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    size = draw(st.integers(1, 12))
    parts = [tuple(draw(st.lists(st.integers(-4, number - 1), max_size=4))) for number in range(size)]
    return Layout(tuple(draw(st.sampled_from(sorted(MAKERS))) for _ in range(size)), tuple(parts))


def build(layout: Layout, holes: list[Any]) -> Any:
    """The last of the containers."""
    made: list[Any] = []
    for kind, parts in zip(layout.kinds, layout.parts, strict=True):
        made.append(MAKERS[kind]([made[part] if part >= 0 else [*holes, "leaf"][part] for part in parts]))
    return made[-1]


def replaced(value: Any, values: dict[Any, Any]) -> Any:
    """*value* with *values* in the places of its placeholders, made as simply as that can be done."""
    if isinstance(value, Placeholder):
        return values[value]
    if isinstance(value, Shelf):
        return Shelf(replaced(value.left, values), replaced(value.right, values))
    if isinstance(value, dict):
        return {key: replaced(item, values) for key, item in value.items()}
    return (
        type(value)(replaced(item, values) for item in value) if isinstance(value, (list, tuple, deque)) else value
    )


@given(layouts(), st.booleans())
@example(Layout(("list", "list", "long list"), ((-2,), (0,), (1, 0, 0))), False)
@example(Layout(("long list", "list", "tuple"), ((-2,), (0, 0), (1, 0))), False)
# What is met again, in a record and beside it: found where it is met first, and to be replaced in both places.
@example(Layout(("list", "list", "list", "shelf", "list"), ((-2,), (0,), (1,), (1,), (2, 3))), True)
@example(Layout(("list", "long list", "list", "shelf", "list"), ((-2,), (0,), (1,), (1,), (2, 3))), True)
def test_find_and_replace_agrees_with_the_naive_way(layout: Layout, is_large: bool) -> None:
    holes = [one() for _ in range(3)]
    values: dict[Any, Any] = {hole: f"value {number}" for number, hole in enumerate(holes)}
    value = [build(layout, holes), *([*range(200)] if is_large else [])]
    found = compile_nested(value)
    assert found is None or isinstance(found, Template)
    filled = value if found is None else found.fill([values[hole] for hole in found.holes])
    assert filled == replaced(value, values)
    assert (found is None) is (replaced(value, values) == value)


@pytest.mark.parametrize("depth", [3, 40, 2000])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: [value],
        lambda value: (1, value),
        lambda value: {"k": value},
        Crate,
        lambda value: SimpleNamespace(content=value),
        lambda value: ChainMap({"k": value}),
        lambda value: [value, value],
    ],
    ids=["list", "tuple", "dict", "attrs", "namespace", "chain", "shared"],
)
def test_what_lies_deep_is_found(wrap: Callable[[Any], Any], depth: int) -> None:
    def nested(value: Any) -> Any:
        for _ in range(depth):
            value = wrap(value)
        return value

    assert compile_nested(nested(LAZY)) is not None
    assert compile_nested(nested("plain")) is None


@pytest.mark.parametrize("end", [LAZY, 1], ids=["lazy", "plain"])
def test_depth_is_no_limit(end: Any) -> None:
    value: Any = [end]
    for _ in range(20_000):
        value = [value]
    assert look(value).is_plain is (end == 1)
    assert finish(has_placeholders(value, Hold())) is (end != 1)
    while value is not end:  # taken apart, as its deallocation would recurse in some versions of Python
        value = value.pop()


@pytest.mark.parametrize("place", [0, 1, MANY // 2, MANY - 1])
@pytest.mark.parametrize(
    "wrap",
    [lambda item: [item], lambda item: {"k": [item]}, Crate, Card, Point, lambda item: Row([item])],
    ids=["list", "dict of list", "attrs", "dataclass", "named tuple", "subclass"],
)
def test_one_placeholder_among_many_plain_containers_is_found(wrap: Callable[[Any], Any], place: int) -> None:
    value = [wrap(number) for number in range(MANY)]
    value[place] = wrap(LAZY)
    found = compile_nested(value)
    assert isinstance(found, Template)
    filled = found.fill([7])
    assert filled[place] == wrap(7)
    assert all(filled[number] is value[number] for number in range(MANY) if number != place)


@attrs.define(slots=False)
class Noted:
    content: Any


def test_an_attribute_that_is_no_field_is_not_looked_into() -> None:
    noted = Noted(1)
    noted.aside = LAZY  # type: ignore[attr-defined]  # made up on the spot
    assert not look([noted]).is_plain  # a look may be mistaken in this way only
    assert finish(has_placeholders([noted], Hold())) is False
    assert compile_nested([noted] * 200) is None


@attrs.define
class Standing:
    content: Any = attrs.field(init=False, default=LAZY)


class Bare:
    """A record whose field is unset: its class has the value."""

    __attrs_attrs__ = Standing.__attrs_attrs__
    content = LAZY


def test_what_a_class_holds_for_its_records_is_found() -> None:
    assert compile_nested([Standing()]) is not None
    assert compile_nested([Bare()]) is not None


# -- what cannot be found -------------------------------------------------------------------------------------


class Opaque:
    def __init__(self, content: Any) -> None:
        self.content = content


class Lengthless(list[Any]):
    def __len__(self) -> int:
        raise RuntimeError("asked for its length")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("asked for its items")


def test_other_objects_are_not_looked_into() -> None:
    assert compile_nested([Opaque(LAZY), slice(LAZY), iter([LAZY]), {1: LAZY}.values()]) is None


def test_looking_runs_no_code_of_the_data() -> None:
    assert compile_nested([Lengthless([1, [2]]) for _ in range(500)]) is None


# -- how much is looked at -------------------------------------------------------------------------------------

PLAIN: dict[str, Callable[[int], Any]] = {
    "lists": lambda n: [[number] for number in range(n)],
    "dicts": lambda n: [{"id": number, "tags": ["a", "b"]} for number in range(n)],
    "dict of tuples": lambda n: {number: (number,) for number in range(n)},
    "set of tuples": lambda n: {(number,) for number in range(n)},
    "deque of sets": lambda n: deque({number} for number in range(n)),
    "attrs": lambda n: [Crate(number) for number in range(n)],
    "attrs with dict": lambda n: [Shelf(number, [1]) for number in range(n)],
    "dataclasses": lambda n: [Stamp(number) for number in range(n)],
    "named tuples": lambda n: [Point(number) for number in range(n)],
    "ordered": lambda n: [OrderedDict(a=[number]) for number in range(n)],
    "default": lambda n: [defaultdict(list, a=[number]) for number in range(n)],
    "counters": lambda n: [Counter(a=number) for number in range(n)],
    "user dicts": lambda n: [UserDict(a=[number]) for number in range(n)],
    "user lists": lambda n: [UserList([number]) for number in range(n)],
    "namespaces": lambda n: [SimpleNamespace(a=[number]) for number in range(n)],
    "views": lambda n: [MappingProxyType({"a": [number]}) for number in range(n)],
    "lists in lists": lambda n: [[[number] for number in range(100)] for _ in range(n // 100)],
}
every_plain = pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)


@every_plain
def test_plain_data_is_not_taken_up_one_by_one(make: Callable[[int], Any]) -> None:
    value = make(MANY)
    assert calls_in(lambda: look(value)) < MANY / 2


@every_plain
def test_a_large_look_pauses_again_and_again(make: Callable[[int], Any]) -> None:
    value = make(50_000)
    # Each pass sees at most some thousand values, of which a quarter of a million is a lot of work.
    assert pauses(look_steps(value, Seen())) >= 8


@pytest.mark.parametrize(
    "value",
    [list(range(200_000)), dict.fromkeys(range(200_000)), set(range(200_000)), deque(range(200_000))],
    ids=["list", "dict", "set", "deque"],
)
def test_a_single_large_container_is_looked_through_in_portions(value: Any) -> None:
    assert pauses(look_steps(value, Seen())) >= 40


def _tree(depth: int) -> Any:
    return [_tree(depth - 1), _tree(depth - 1)] if depth else [1]


def _chain(size: int) -> Any:
    value: Any = []
    for _ in range(size):
        value = [1, value]
    return value


def _shared(size: int) -> Any:
    value: Any = [1]
    for _ in range(size):
        value = [value, value, {"k": value}]
    return value


def _long_shared(size: int) -> Any:
    return [[*range(500)]] * size


@pytest.mark.parametrize(
    ("small", "large"),
    [
        pytest.param(_tree(10), _tree(11), id="tree"),
        pytest.param(_chain(500), _chain(1000), id="chain"),
        pytest.param(_shared(500), _shared(1000), id="shared"),
        pytest.param(_long_shared(500), _long_shared(1000), id="one large list, again and again"),
        *[pytest.param(make(MANY), make(2 * MANY), id=name) for name, make in PLAIN.items()],
    ],
)
@pytest.mark.parametrize("is_thorough", [False, True], ids=["quick", "thorough"])
def test_twice_the_data_is_twice_the_work(small: Any, large: Any, is_thorough: bool) -> None:
    first, second = (calls_in(lambda v=v: look(v, is_thorough=is_thorough)) for v in (small, large))  # type: ignore[misc]
    assert second < 2.6 * first + 100


def test_a_glance_gives_up_where_there_is_much() -> None:
    plain: list[Any] = [[1, 2], [[1], {"k": (2,)}]]
    not_plain: list[Any] = [[LAZY, 1], [[[LAZY]]]]
    much: list[Any] = [[1] * 5000, [[1]] * 50, [LAZY] * 5000, _chain(100)]
    assert [*map(glance, [*plain, *not_plain, *much])] == [True, True, False, False, None, None, None, None]


@pytest.mark.parametrize("kind", [dict, set, deque], ids=lambda kind: kind.__name__)
def test_a_container_that_changes_while_it_is_looked_through_is_no_error(kind: Any) -> None:
    value: Any = dict.fromkeys(range(50_000)) if kind is dict else kind(range(50_000))
    steps = look_steps(value, Seen())
    next(steps)
    if kind is dict:
        value["more"] = LAZY
    else:
        (value.add if kind is set else value.append)(LAZY)
    assert not finish(steps).is_plain


def test_nothing_is_left_of_a_look() -> None:
    value = [[number] for number in range(1000)]
    before = [sys.getrefcount(item) for item in value[:10]]
    look(value)
    gc.collect()
    assert [sys.getrefcount(item) for item in value[:10]] == before
