"""Records are made anew by their own constructor, with values in the places of placeholders."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

import attrs
import pytest
from holes import LAZY, Hashed, filled, one

import cascade

T = TypeVar("T")


@cascade.task
def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def is_placeholder(value: Any) -> bool:
    return isinstance(value, cascade.LazyResult)


# -- constructors ----------------------------------------------------------------------------------------------


def _number(value: Any) -> Any:
    return value if is_placeholder(value) else int(value)


@attrs.frozen
class Converted:
    x: Any = attrs.field(converter=_number)

    @x.validator
    def _check(self, _: object, value: Any) -> None:
        if not is_placeholder(value) and value < 0:
            raise ValueError("negative")


@attrs.define
class Hooked:
    given: Any
    twice: Any = attrs.field(init=False)
    _hidden: Any = 3
    other: Any = attrs.field(default=5, alias="another", kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.twice = None if is_placeholder(self.given) else [self.given] * 2


@attrs.define
class Defaulted:
    given: Any
    derived: Any = attrs.field(init=False)

    @derived.default
    def _derive(self) -> Any:
        return ("derived from", repr(self.given))


@dataclasses.dataclass
class Post:
    given: Any
    text: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.text = f"<{self.given!r}>"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Strict:
    given: Any
    made: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Child(Post):
    more: Any = None


@dataclasses.dataclass
class Scaled:
    given: Any
    scale: dataclasses.InitVar[int] = 2
    result: Any = dataclasses.field(init=False, default=None)

    def __post_init__(self, scale: int) -> None:
        if not is_placeholder(self.given):
            self.result = self.given * scale


@dataclasses.dataclass
class Late:
    given: Any
    result: Any = dataclasses.field(init=False, default=None)
    parts: list[Any] = dataclasses.field(init=False, default_factory=list)
    unset: Any = dataclasses.field(init=False)


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


class Own(Box[Any]):
    """A subclass with a constructor of its own, which takes what the record has not."""

    def __init__(self, size: int) -> None:
        super().__init__([LAZY] * size)


@attrs.define(slots=False)
class Cached:
    content: Any

    @cached_property
    def text(self) -> str:
        return repr(self.content)


@attrs.define
class Trouble(Exception):
    cause: Any


@pytest.mark.parametrize(
    ("record", "value", "expected"),
    [
        pytest.param(Converted(LAZY), "7", Converted(7), id="converter"),
        pytest.param(Converted(LAZY), 7, Converted("7"), id="converted before"),
        pytest.param(Hooked(LAZY, another=6), 7, Hooked(7, 3, another=6), id="attrs hook, private name, alias"),
        pytest.param(Hooked(1, LAZY), 7, Hooked(1, 7), id="private field"),
        pytest.param(Defaulted(LAZY), 7, Defaulted(7), id="default that depends on another field"),
        pytest.param(Post(LAZY), 7, Post(7), id="dataclass hook"),
        pytest.param(Child(1, LAZY), 7, Child(1, 7), id="inherited hook"),
        pytest.param(Strict(given=LAZY, made=[1]), 7, Strict(given=7, made=[1]), id="frozen, slots, kw_only"),
        pytest.param(Strict(given=1, made=[LAZY]), 7, Strict(given=1, made=[7]), id="field with a factory"),
        pytest.param(Scaled(LAZY), 7, Scaled(7), id="InitVar with a default"),
        pytest.param(Box[Any](LAZY), 7, Box(7), id="generic"),
        pytest.param(Cached(LAZY), 7, Cached(7), id="cached property"),
        pytest.param(Hashed(LAZY), 7, Hashed(7), id="cached hash"),
    ],
)
def test_a_record_is_what_its_constructor_makes_of_the_value(record: Any, value: Any, expected: Any) -> None:
    if isinstance(record, Cached):
        assert record.text
    if isinstance(record, Hashed):
        assert hash(record)
    made = filled(record, value)
    assert (type(made), made) == (type(expected), expected)
    assert not isinstance(made, Hashed) or hash(made) == hash(expected)
    assert not isinstance(made, Cached) or made.text == "7"


def test_an_exception_with_fields_is_a_record() -> None:
    assert filled(Trouble(LAZY)).cause == 7


def test_a_generic_alias_with_origin_does_not_matter() -> None:
    assert filled([Box[int](LAZY)])[0].content == 7  # type: ignore[arg-type]  # the placeholder of one


def test_a_record_whose_constructor_takes_something_else_is_copied() -> None:
    own = Own(2)
    own.extra = "kept"  # type: ignore[attr-defined]  # made up on the spot
    made = filled(own)
    assert (type(made), made.content, made.extra) == (Own, [7, 7], "kept")


def test_a_record_that_was_changed_keeps_what_its_constructor_does_not_take() -> None:
    late = Late(1)
    late.result, late.parts = "set", [1]
    late.given = LAZY
    made = filled(late)
    assert (made.given, made.result, made.parts, hasattr(made, "unset")) == (7, "set", [1], False)


def test_a_placeholder_in_a_field_that_the_constructor_does_not_take_is_replaced() -> None:
    late = Late(1)
    late.parts.append(LAZY)
    late.unset = (LAZY,)
    made = filled(late)
    assert (made.given, made.parts, made.unset) == (1, [7], (7,))
    assert (late.parts, late.unset) == ([LAZY], (LAZY,))
    hooked = Scaled(3)
    hooked.result = LAZY
    assert filled(hooked).result == 6  # which the hook computes
    post = Scaled(LAZY)
    post.result = [LAZY]
    assert filled(post, "7").result == "77"


def test_a_placeholder_that_the_hook_leaves_alone_is_replaced() -> None:
    @dataclasses.dataclass
    class Checked:
        given: Any
        result: Any = dataclasses.field(init=False, default=None)

        def __post_init__(self) -> None:
            assert self.given

    checked = Checked(1)
    checked.result = LAZY
    assert filled(checked).result == 7


def test_a_record_needs_no_value_that_it_does_not_keep() -> None:
    @dataclasses.dataclass
    class Needy:
        given: Any
        scale: dataclasses.InitVar[int]

    with pytest.raises(TypeError, match=r"Needy has the InitVar 'scale'.*give the InitVar a default"):
        filled(Needy(LAZY, 3))


def test_a_placeholder_that_stands_as_a_default_is_replaced() -> None:
    @dataclasses.dataclass
    class Standing:
        given: Any = LAZY
        listed: Any = dataclasses.field(default_factory=lambda: [LAZY])

    assert filled(Standing()) == Standing(7, [7])


def test_a_class_may_refuse_a_placeholder() -> None:
    @attrs.define
    class Refusing:
        number: int = attrs.field(converter=int)

    with pytest.raises(TypeError, match=r"one.*not happened yet"):
        Refusing(LAZY)  # type: ignore[arg-type]  # the point


# -- in runs ---------------------------------------------------------------------------------------------------

FLOWS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "argument": (lambda record: one(record), "argument 'x' of 'one#2'"),
    "argument by name": (lambda record: echo(a=[record]), "argument 'a' of 'echo'"),
    "further argument": (lambda record: echo(1, record), "argument 'args' of 'echo'"),
    "with a timeout": (lambda record: one(record).with_timeout(60), "argument 'x' of 'one#2'"),
    "column": (lambda record: one.map(x=[record]), "argument 'x' of 'one#2'"),
    "shared by items": (lambda record: echo.partial(a=record).map(b=[1]), "argument 'a' of 'echo'"),
    "target": (lambda record: [record], "the value of the flow"),
    "route": (lambda record: cascade.Router(1, {1: [record]}), "it chose a route"),
}


@pytest.mark.parametrize(("make", "where"), FLOWS.values(), ids=FLOWS)
async def test_what_a_constructor_raises_is_raised_as_it_is_with_a_note(
    make: Callable[[Any], Any], where: str, schedule: Any
) -> None:
    with pytest.raises(ValueError, match="negative") as caught:
        await cascade.run(make(Converted(one(-1))), schedule=schedule)
    assert type(caught.value) is ValueError
    assert any(where in note for note in caught.value.__notes__)


@pytest.mark.parametrize("make", [make for make, _ in FLOWS.values()], ids=FLOWS)
async def test_a_record_is_converted_wherever_it_stands(make: Callable[[Any], Any], schedule: Any) -> None:
    assert "Converted(x=3)" in repr(await cascade.run(make(Converted(one("3"))), schedule=schedule))


async def test_a_failed_constructor_fails_its_node_only(schedule: Any) -> None:
    flow = [one(Converted(one(-1))), one(5)]
    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(flow, on_error="continue", schedule=schedule)
    assert [str(error) for error in caught.value.exceptions] == ["negative"]
    assert 5 in caught.value.results.values()


async def test_records_in_what_a_task_returns_are_made_anew(schedule: Any) -> None:
    @cascade.task
    async def returns() -> Any:
        return {"record": Post(one(2)), "queue": deque([one(3)])}

    value = await cascade.run(one(returns()), schedule=schedule)
    assert (value["record"], value["record"].text, value["queue"]) == (Post(2), "<2>", deque([3]))
