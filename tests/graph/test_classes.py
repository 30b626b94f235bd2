"""Classes in digests: by their name where that leads to them, and by what they hold where it does not."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import attrs
import pytest
from digests import digest
from labels import label

from cascade.graph.canonical import NotDigestibleError, class_name
from cascade.graph.identity import value_digest


class Known:
    """A class that can be found under its name."""

    class Inner:
        """Likewise."""


@pytest.mark.parametrize("cls", [Known, Known.Inner, int, type(None), type(iter([])), collections.Counter])
def test_a_class_that_its_name_leads_to_is_known_by_it(cls: type) -> None:
    assert class_name(cls) is not None
    assert digest(cls) == digest(cls)


def test_a_class_that_has_taken_the_place_of_another_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the cell of a notebook is run again."""
    module = ModuleType("replaced")
    monkeypatch.setitem(sys.modules, "replaced", module)
    made: list[Any] = []
    for factor in (1, 2):
        names: dict[str, Any] = {"__name__": "replaced"}
        exec(f"class Model:\n    factor = {factor}", names)
        made.append(names["Model"])
    module.__dict__["Model"] = made[1]
    assert digest(made[0]) != digest(made[1])
    assert class_name(made[0]) is None


# -- what two classes of one name differ in ----------------------------------------------------------------------


def of_attribute(value: Any) -> Any:
    class Model:
        factor = value

    return Model


def of_closure(value: Any) -> Any:
    class Model:
        def scale(self, x: int) -> Any:
            return x * value

    return Model


def of_default(value: Any) -> Any:
    class Model:
        def scale(self, x: int = value) -> Any:
            return x

    return Model


def of_property(value: Any) -> Any:
    class Model:
        @property
        def factor(self) -> Any:
            return value

        @staticmethod
        def nothing() -> None: ...

        @classmethod
        def own(cls) -> Any:
            return cls

        @functools.cached_property
        def slow(self) -> Any:
            return value

    return Model


def of_base(value: Any) -> Any:
    class Model(of_attribute(value)):  # type: ignore[misc]  # a base that is made
        def scale(self) -> Any:
            return super().__init__()

    return Model


def of_attrs(value: Any) -> Any:
    @attrs.define
    class Model:
        x: int = 0
        y: Any = value

        def scale(self) -> int:
            return self.x

    return Model


def of_attrs_factory(value: Any) -> Any:
    @attrs.frozen(slots=False)
    class Model:
        x: int = 0
        y: Any = attrs.Factory(lambda: value)

    return Model


def of_attrs_names(value: Any) -> Any:
    return attrs.make_class("Model", ["x", f"y{value}"])


def of_dataclass(value: Any) -> Any:
    @dataclasses.dataclass
    class Model:
        x: int = 0
        y: Any = value

    return Model


def of_slotted_dataclass(value: Any) -> Any:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Model:
        x: int = 0
        y: Any = dataclasses.field(default_factory=lambda: value)

    return Model


def of_named_tuple(value: Any) -> Any:
    return collections.namedtuple("Model", f"x y{value}")  # noqa: PYI024  # as many programs make them


def of_typed_tuple(value: Any) -> Any:
    class Model(NamedTuple):
        x: int = 0
        y: Any = value

    return Model


def of_subclass(value: Any) -> Any:
    class Model(dict[str, int]):
        factor = value

    return Model


def of_itself(value: Any) -> Any:
    class Model:
        def another(self) -> Any:
            return Model, __class__, value  # type: ignore[name-defined]  # the cell that super() uses

    return Model


CLASSES = [
    of_attribute, of_closure, of_default, of_property, of_base, of_attrs, of_attrs_factory, of_attrs_names,
    of_dataclass, of_slotted_dataclass, of_named_tuple, of_typed_tuple, of_subclass, of_itself,
]  # fmt: skip


@pytest.mark.parametrize("make", CLASSES)
def test_classes_from_one_factory_differ_by_what_they_hold(make: Callable[[Any], Any]) -> None:
    assert class_name(make(1)) is None
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def of_enum(value: Any) -> Any:
    class Colour(enum.Enum):
        RED = value

        def shade(self) -> Any:
            return self

    return Colour.RED


def of_enum_call(value: Any) -> Any:
    Colour: Any = enum.Enum("Colour", {"RED": value, "BLUE": 0})
    return Colour.RED


def of_flag(value: Any) -> Any:
    class Right(enum.IntFlag):
        READ = 1
        WRITE = value + 1

    return Right.READ


VALUES: list[Callable[[Any], Any]] = [
    lambda value: of_attrs(value)(5),
    lambda value: of_dataclass(value)(5),
    lambda value: of_slotted_dataclass(value)(5),
    lambda value: of_named_tuple(value)(5, 6),
    lambda value: of_typed_tuple(value)(5),
    lambda value: of_subclass(value)(a=1),
    lambda value: [of_attrs_names(value)(5, 6)],
    of_enum,
    of_enum_call,
    of_flag,
]


@pytest.mark.parametrize("make", VALUES, ids=label)
def test_values_of_classes_from_one_factory_differ_by_their_classes(make: Callable[[Any], Any]) -> None:
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def test_a_class_that_holds_something_unknown_is_refused_with_the_place() -> None:
    with pytest.raises(NotDigestibleError) as caught:
        value_digest([of_attribute(object())], "models")
    assert caught.value.path == "models[0].factor"


def test_a_value_of_such_a_class_is_refused_too() -> None:
    with pytest.raises(NotDigestibleError) as caught:
        value_digest([of_attrs(object())(5)], "models")
    assert caught.value.path.startswith("models[0].__class__.y")


def test_annotations_and_docstrings_of_a_class_do_not_count() -> None:
    def bare() -> Any:
        class Model:
            factor = 1

            def scale(self, x):  # type: ignore[no-untyped-def]  # the point
                return x

        return Model

    def documented() -> Any:
        class Model:
            """What it is."""

            factor: int = 1

            def scale(self, x: int) -> int:
                """What it does."""
                return x

        return Model

    first, second = bare(), documented()
    for cls in (first, second):
        cls.__qualname__ = "Model"
        cls.scale.__qualname__ = "Model.scale"
    assert digest(first) == digest(second)
