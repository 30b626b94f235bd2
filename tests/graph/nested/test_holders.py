"""Containers of Python's library and pydantic models come back as their own kind, with values in their places."""

from __future__ import annotations

import subprocess
import sys
from collections import ChainMap, UserDict, UserList, defaultdict, deque
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from holes import LAZY, filled

import cascade
from cascade.graph.nested import compile_nested

# -- holders of Python's library -------------------------------------------------------------------------------


class Settings(UserDict[str, Any]):
    def __init__(self, path: str) -> None:
        super().__init__(k=LAZY)
        self.path = path


class Queue(deque[Any]):
    name = "class"


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        pytest.param(deque([LAZY, 1], maxlen=2), deque([7, 1], maxlen=2), id="deque"),
        pytest.param(
            ChainMap[str, Any]({"a": LAZY}, {"b": 1}), ChainMap[str, Any]({"a": 7}, {"b": 1}), id="ChainMap"
        ),
        pytest.param(UserDict(k=LAZY), UserDict(k=7), id="UserDict"),
        pytest.param(UserList([LAZY]), UserList([7]), id="UserList"),
        pytest.param(SimpleNamespace(a=LAZY, b=[LAZY]), SimpleNamespace(a=7, b=[7]), id="SimpleNamespace"),
        pytest.param(MappingProxyType({"k": LAZY}), MappingProxyType({"k": 7}), id="view of a dict"),
    ],
)
def test_a_placeholder_is_replaced_in(holder: Any, expected: Any) -> None:
    made = filled([holder])[0]
    assert (type(made), made) == (type(expected), expected)
    assert made is not holder


def test_a_deque_keeps_its_bound_and_what_a_subclass_has() -> None:
    queue = Queue([LAZY], maxlen=3)
    queue.name = "own"
    made = filled(queue)
    assert (type(made), made.maxlen, made.name, list(made)) == (Queue, 3, "own", [7])
    assert filled(deque([LAZY])).maxlen is None


def test_a_subclass_keeps_its_attributes_though_its_constructor_takes_something_else() -> None:
    made = filled(Settings("a.toml"))
    assert (type(made), made.path, dict(made)) == (Settings, "a.toml", {"k": 7})


def test_a_view_keeps_the_kind_of_what_it_shows() -> None:
    made = filled(MappingProxyType(defaultdict(list, k=LAZY)))
    assert (made["k"], made | {}) == (7, {"k": 7})
    maps: list[dict[str, Any]] = [{"k": LAZY}, {"l": 1}]
    chained = filled(MappingProxyType(ChainMap(*maps)))
    assert dict(chained) == {"k": 7, "l": 1}


def test_the_maps_of_a_chain_are_shared_as_before() -> None:
    shared = {"k": LAZY}
    made, chain = filled([shared, ChainMap({}, shared)])
    assert chain.maps[1] is made


# -- pydantic --------------------------------------------------------------------------------------------------


WITHOUT = """
import sys, types
import cascade

same = cascade.task(lambda x: x, name="same", mode="inline")
value = cascade.run_sync(same(types.SimpleNamespace(content=[same(1), object()])))
assert value.content[0] == 1
assert "pydantic" not in sys.modules
"""


def test_pydantic_is_not_imported_for_it() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)


def test_models_of_pydantic_1_are_other_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    class BaseModel:
        pass

    monkeypatch.setitem(sys.modules, "pydantic.main", SimpleNamespace(BaseModel=BaseModel))
    model: Any = type("Model", (BaseModel,), {})()
    model.content = LAZY
    assert compile_nested([model]) is None


@pytest.fixture
def pydantic() -> Any:
    return pytest.importorskip("pydantic", minversion="2.11")


def test_a_model_is_validated_anew(pydantic: Any) -> None:
    class Order(pydantic.BaseModel):  # type: ignore[misc]  # pydantic may be missing
        model_config = {"extra": "allow"}
        amount: Any = pydantic.Field(alias="Amount")
        lines: list[Any] = []
        note: str = "none"

        @pydantic.field_validator("amount")  # type: ignore[untyped-decorator]  # as above
        def _check(cls, value: Any) -> Any:  # noqa: N805  # a class method
            if isinstance(value, cascade.LazyResult):
                return value
            if int(value) < 0:
                raise ValueError("negative")
            return int(value)

    order = Order(Amount=LAZY, lines=[LAZY, 1], extra=(LAZY,))
    made = filled(order, "7")
    assert (type(made), made.amount, made.lines, made.extra, made.note) == (Order, 7, ["7", 1], ("7",), "none")
    assert made.model_fields_set == order.model_fields_set
    with pytest.raises(pydantic.ValidationError, match="negative"):
        filled(order, "-1")


def test_a_model_with_a_constructor_of_its_own_is_copied(pydantic: Any) -> None:
    class Own(pydantic.BaseModel):  # type: ignore[misc]  # pydantic may be missing
        content: Any

        def __init__(self, size: int) -> None:
            super().__init__(content=[LAZY] * size)

    assert filled(Own(2)).content == [7, 7]


def test_other_models_are_made_anew(pydantic: Any) -> None:
    class Root(pydantic.RootModel[list[Any]]):  # type: ignore[misc]  # pydantic may be missing
        pass

    class Frozen(pydantic.BaseModel, frozen=True):  # type: ignore[misc, call-arg]  # pydantic may be missing
        content: Any

    @pydantic.dataclasses.dataclass
    class Data:
        content: Any

    assert filled(Root([LAZY])) == Root([7])
    assert filled(Frozen(content={"k": LAZY})) == Frozen(content={"k": 7})
    data: Any = Data
    assert filled(data(LAZY)) == data(7)
    assert compile_nested([Root([1]), Frozen(content=1), data([1])]) is None
