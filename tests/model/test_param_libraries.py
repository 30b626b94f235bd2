"""Types and values of numpy, pandas and pydantic in Params."""

from __future__ import annotations

import enum
import importlib
import operator
import types
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from kinds import Level, Rights
from strategies_kinds import Host

import cascade

Param = cascade.Param


@pytest.mark.needs("numpy")
@pytest.mark.parametrize(
    ("kind", "make", "expected"),
    [
        (int, lambda np: np.int64(3), None),
        (int, lambda np: np.uint8(3), None),
        (bool, lambda np: np.True_, None),
        (float, lambda np: np.float64(3), None),
        (float, lambda np: np.float32(3), 3.0),
        (float, lambda np: np.int8(3), 3.0),
        (str, lambda np: np.str_("a"), None),
        (int, lambda np: np.str_("3"), 3),
        (list[int], lambda np: [np.int64(1), 2], [1, 2]),
        (Decimal, lambda np: np.float64(0.1), Decimal("0.1")),
        (complex, lambda np: np.complex64(1), 1 + 0j),
        (complex, lambda np: np.int8(1), 1 + 0j),
        (Literal[1, 2], lambda np: np.int64(2), 2),
        (Level, lambda np: np.int64(2), Level.HIGH),
        (Rights, lambda np: np.uint8(3), Rights.READ | Rights.WRITE),
    ],
)
def test_numbers_of_numpy_are_numbers(kind: Any, make: Callable[[Any], Any], expected: Any) -> None:
    given = make(importlib.import_module("numpy"))
    value = Param("x", type=kind).convert(given)
    if expected is None:
        assert value is given
    else:
        assert (type(value), value) == (type(expected), expected)


@pytest.mark.needs("numpy")
@pytest.mark.parametrize(
    ("make", "kind", "value"),
    [
        (lambda np: np.int64(3), int, 5),
        (lambda np: np.float64(3), float, 1.5),
        (lambda np: np.float32(3), float, 1.5),
        (lambda np: np.True_, bool, False),
        (lambda np: np.str_("a"), str, "b"),
        (lambda np: np.bytes_(b"a"), bytes, b"b"),
        (lambda np: np.complex64(1), complex, 1j),
    ],
)
def test_a_default_of_numpy_stands_for_a_type_of_ours(make: Callable[[Any], Any], kind: Any, value: Any) -> None:
    default = make(importlib.import_module("numpy"))
    param: Any = Param("x", default)
    assert param.type is kind
    assert param.resolved_default() == default
    assert param.convert(value) == value
    assert param.convert(str(value) if kind is not bytes else "b") == value


@pytest.mark.needs("numpy")
def test_a_time_of_numpy_is_no_number() -> None:
    np = importlib.import_module("numpy")
    for default in (np.datetime64("2026-11-21"), np.timedelta64(5, "ms")):
        param: Any = Param("x", default)
        assert param.type is type(default)
        assert param.resolved_default() is default


@pytest.mark.needs("numpy")
def test_members_that_are_arrays_are_compared_without_an_error() -> None:
    np = importlib.import_module("numpy")
    Shape = enum.Enum("Shape", {"LINE": np.arange(3), "POINT": 2})
    assert Param("x", type=Shape).convert(2) is Shape.POINT
    with pytest.raises(ValueError, match=r"^parameter 'x' must be Shape"):
        Param("x", type=Shape).convert(np.arange(3))


@pytest.mark.needs("numpy")
@pytest.mark.parametrize(("kind", "make"), [(int, "float64"), (bool, "int64"), (int, "bool_"), (float, "bool_")])
def test_a_number_of_numpy_of_another_kind_is_refused(kind: Any, make: str) -> None:
    with pytest.raises(ValueError, match="'x'"):
        Param("x", type=kind).convert(getattr(importlib.import_module("numpy"), make)(1))


@pytest.mark.needs("numpy", "pandas")
@pytest.mark.parametrize("make", ["array", "frame", "series", "NA", "record of an array"])
async def test_a_default_that_cannot_be_compared_is_taken_as_it_is(make: str) -> None:
    np, pd = importlib.import_module("numpy"), importlib.import_module("pandas")
    default = {
        "array": np.arange(3),
        "frame": pd.DataFrame({"a": [1, 2]}),
        "series": pd.Series([1, 2]),
        "NA": pd.NA,
        "record of an array": Host(np.arange(3)),
    }[make]
    values = await cascade.run([Param("x", default), Param("x", default), Param("x", default)])
    assert all(value is default for value in values)


@pytest.mark.needs("numpy")
async def test_a_function_from_text_takes_other_values_as_they_are() -> None:
    np = importlib.import_module("numpy")
    array = np.arange(3)
    assert (await cascade.run(Param("x", type=np.asarray), {"x": array})) is array


@pytest.mark.needs("pydantic")
def test_pydantic_checks_what_is_its_own() -> None:
    pydantic = importlib.import_module("pydantic")
    Model = pydantic.create_model("Model", host=(str, ...), port=(int, 80))
    Small = Annotated[int, pydantic.Field(lt=10)]

    assert Param("x", type=Model).convert('{"host": "a"}') == Model(host="a")
    assert Param("x", type=Model).convert({"host": "a", "port": 1}) == Model(host="a", port=1)
    several, optional = types.GenericAlias(list, (Model,)), operator.or_(Model, None)
    assert Param("x", type=several).convert('[{"host": "a"}]') == [Model(host="a")]
    assert Param("x", type=optional).convert("none") is None
    assert Param("x", type=Small).convert("9") == 9
    assert Param("x", type=pydantic.SecretStr).convert("abc").get_secret_value() == "abc"
    for kind, text, why in [
        (Model, "{}", "host: Field required"),
        (Small, "10", "less than 10"),
        (Model, "x", ""),
    ]:
        with pytest.raises(ValueError, match=r"^parameter 'x' must be") as caught:
            Param("x", type=kind).convert(text)
        assert why in str(caught.value)
