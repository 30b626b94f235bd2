"""Digests of arrays, frames and models: known without a need for their libraries."""

from __future__ import annotations

import copy
import datetime
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from digests import digest

from cascade.graph.canonical import NotDigestibleError
from cascade.graph.identity import value_digest

Make = Callable[[Any], Any]


def all_differ(values: list[Any]) -> bool:
    return len({digest(value) for value in values}) == len(values)


def refused(value: Any) -> bool:
    try:
        digest([value])
    except NotDigestibleError:
        return True
    return False


def survives_copies(value: Any) -> bool:
    copies = [copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))]
    return {digest(value)} == {digest(copied) for copied in copies}


def test_none_of_these_libraries_is_imported_for_a_digest() -> None:
    question = (
        "import sys, cascade; from cascade.graph.identity import value_digest; value_digest([{1: 'a'}], 'x'); "
        "print([name for name in ('numpy', 'pandas', 'polars', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- numpy -----------------------------------------------------------------------------------------------------

PADDED = {"names": ["a", "b"], "formats": ["i1", "i8"], "offsets": [0, 8], "itemsize": 16}


def noisy(np: Any) -> Any:
    """Numbers in a record with bytes between them that nobody reads."""
    array = np.zeros(2, PADDED)
    array.view("u1").reshape(2, 16)[:, 1:8] = 7
    return array


def noisy_long(np: Any) -> Any:
    """The same in the unused bytes of a long double, where it has any."""
    array = np.array([1, 2], np.longdouble)
    if np.finfo(np.longdouble).nmant == 63:
        array.view("u1").reshape(2, -1)[:, 10:] = 7
    return array


ARRAYS_APART: dict[str, Make] = {
    "dtype": lambda np: [np.arange(6), np.arange(6.0), np.arange(6, dtype="i4"), np.arange(6, dtype=">i8")],
    "shape": lambda np: [np.arange(6), np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2), np.array(5)],
    "numbers": lambda np: [np.arange(6), np.arange(1, 7), np.arange(6)[::-1]],
    "class": lambda np: [np.array([[1]]), np.asmatrix([[1]]), [[1]], np.array([[1]]).view(np.recarray)],
    "scalars": lambda np: [
        np.float64(1), np.array(1.0), np.float32(1), 1.0, np.int64(1), np.bool_(True), np.str_("1"),
    ],
    "sign of zero": lambda np: [np.array([0.0]), np.array([-0.0]), np.float64(0), np.float64(-0.0)],
    "unit of time": lambda np: [
        np.datetime64("2026-01-01"), np.datetime64("2026-01-01", "s"), np.timedelta64(1, "D"),
    ],
    "text": lambda np: [
        np.array(["a"]), np.array(["b"]), np.array(["a"], "U9"), np.array([b"a"]), np.array(["a"], "T"),
    ],
    "structures": lambda np: [
        np.zeros(2, "i1,i8"), np.zeros(2, PADDED), np.zeros(2, [("a", "i1"), ("c", "i8")]), np.ones(2, "i1,i8"),
        np.zeros(2, "i1,i8")[0],
    ],
    "objects": lambda np: [np.array([1, None]), np.array([2, None]), np.array([[1], [None]]), np.array([1, 2])],
    "objects in structures": lambda np: [np.array([(value, 1)], [("a", "O"), ("b", "i4")]) for value in (1, "x")],
    "masks": lambda np: [
        np.ma.array([1, 2]), np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 1], fill_value=7),
        np.ma.array([1, 3], mask=[0, 0]), np.array([1, 2]), np.ma.masked,
    ],
    "dtypes": lambda np: [np.dtype("f8"), np.dtype("f4"), np.dtype("i1,i8"), np.dtype(PADDED), np.float64],
    "functions": lambda np: [np.add, np.subtract],
}  # fmt: skip
ARRAYS_THE_SAME: dict[str, Make] = {
    "order in memory": lambda np: [np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))],
    "strides": lambda np: [np.arange(10)[::2], np.arange(0, 10, 2), np.arange(20).reshape(10, 2)[::2, 0] // 2],
    "transposed twice": lambda np: [np.ones((2, 3)), np.ones((3, 2)).T],
    "padding": lambda np: [np.zeros(2, PADDED), noisy(np)],
    "padding of long doubles": lambda np: [np.array([1, 2], np.longdouble), noisy_long(np)],
    "kinds of NaN": lambda np: [np.array([1, np.nan]), np.array([1, np.inf]) - np.array([0, np.inf])],
    "kinds of NaN in complex numbers": lambda np: [
        np.array([complex(1, np.nan)]),
        np.array([complex(1, -np.nan)]),
    ],
    "no mask, and one of nothing": lambda np: [np.ma.array([1, 2]), np.ma.array([1, 2], mask=[0, 0])],
    "nothing": lambda np: [np.zeros(0), np.zeros((0,))],
}


@pytest.mark.needs("numpy")
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("make", ARRAYS_APART.values(), ids=ARRAYS_APART)
def test_arrays_are_told_apart_by(make: Make) -> None:
    values = make(import_module("numpy"))
    assert all_differ(values)
    assert all(map(survives_copies, values))


@pytest.mark.needs("numpy")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("make", ARRAYS_THE_SAME.values(), ids=ARRAYS_THE_SAME)
def test_arrays_are_not_told_apart_by(make: Make) -> None:
    assert len({digest(value) for value in make(import_module("numpy"))}) == 1


@pytest.mark.needs("numpy")
def test_an_array_of_a_class_of_one_s_own_counts_with_its_attributes() -> None:
    np = import_module("numpy")

    def measured(unit: str) -> Any:
        array = np.arange(3).view(type("Measured", (np.ndarray,), {}))
        array.unit = unit
        return array

    assert digest(measured("km")) == digest(measured("km")) != digest(measured("mi"))
    assert digest(measured("km")) != digest(np.arange(3))


@pytest.mark.needs("numpy")
def test_arrays_of_what_is_unknown_are_refused_and_so_are_generators_of_numbers() -> None:
    np = import_module("numpy")
    assert refused(np.array([object()]))
    assert refused(np.random.default_rng(1))


# -- pandas ----------------------------------------------------------------------------------------------------


def table(pd: Any, **changed: Any) -> Any:
    columns = {
        "number": [1, 2],
        "text": ["a", None],
        "kind": pd.Categorical(["u", "v"]),
        "day": pd.to_datetime(["2026-01-01", "2026-01-02"]),
        "whole": pd.array([1, None], "Int64"),
    }
    return pd.DataFrame(columns | changed)


def marked(frame: Any) -> Any:
    frame.attrs["source"] = "a"
    return frame


FRAMES_APART: dict[str, Make] = {
    "data": lambda pd: [table(pd), *(table(pd, **{name: None}) for name in table(pd))],
    "dtype": lambda pd: [table(pd), table(pd).astype({"number": "float64"}), table(pd).astype({"number": "int8"})],
    "rows": lambda pd: [table(pd), table(pd)[::-1], table(pd)[:1], table(pd).reset_index(drop=True)[1:]],
    "columns": lambda pd: [table(pd), table(pd)[list(table(pd))[::-1]], table(pd).rename(columns={"number": "n"})],
    "index": lambda pd: [table(pd), table(pd).set_index("number"), table(pd).set_index("text")],
    "attributes": lambda pd: [table(pd), marked(table(pd))],
    "series": lambda pd: [
        pd.Series([1]), pd.Series([2]), pd.Series([1], name="a"), pd.Series([1.0]), pd.Index([1]), [1],
    ],
    "missing values": lambda pd: [
        pd.Series([None, 1], dtype=dtype) for dtype in ("float64", "object", "Int64", "Float64")
    ],
    "categories": lambda pd: [
        pd.Series(pd.Categorical(["a"])), pd.Series(pd.Categorical(["a"], ["a", "b"])),
        pd.Series(pd.Categorical(["a"], ["a", "b"], ordered=True)), pd.Series(["a"]),
    ],
    "indices": lambda pd: [
        pd.RangeIndex(3), pd.RangeIndex(4), pd.Index([0, 1, 2]), pd.RangeIndex(3, name="a"),
        pd.MultiIndex.from_tuples([(1, 2)]), pd.MultiIndex.from_tuples([(1, 2)], names=["a", "b"]),
        pd.date_range("2026-01-01", periods=3), pd.date_range("2026-01-01", periods=3, tz="UTC"),
        pd.interval_range(0, 3), pd.period_range("2026-01", periods=3, freq="M"),
        pd.timedelta_range("1D", periods=3),
    ],
    "points in time": lambda pd: [
        pd.Timestamp("2026-01-01").as_unit("s"), pd.Timestamp("2026-01-01").as_unit("ns"),
        pd.Timestamp("2026-01-01", tz="UTC").as_unit("s"), datetime.datetime(2026, 1, 1),
        pd.Timestamp("2026-01-01 00:00:00.000000001"), pd.Timestamp("2026-01-01 00:00:00.000000002"),
        pd.NaT, pd.NA, None,
    ],
    "points in a night": lambda pd: [
        pd.Timestamp("2026-10-25 00:30Z").tz_convert("Europe/Berlin"),
        pd.Timestamp("2026-10-25 01:30Z").tz_convert("Europe/Berlin"),
    ],
    "spans": lambda pd: [
        pd.Timedelta("1D"), pd.Timedelta("2D"), datetime.timedelta(1), pd.Period("2026-01"), pd.Period("2026"),
        pd.Interval(0, 1), pd.Interval(0, 2), pd.Interval(0, 1, closed="both"),
    ],
}  # fmt: skip
FRAMES_THE_SAME: dict[str, Make] = {
    "blocks": lambda pd: [table(pd), table(pd)[["number"]].join(table(pd).drop(columns="number"))],
    "levels that nothing uses": lambda pd: [
        pd.MultiIndex.from_tuples([(1, "a")]), pd.MultiIndex.from_tuples([(0, "z"), (1, "a")])[1:],
    ],
    "steps that go nowhere": lambda pd: [pd.RangeIndex(0, 3, 2), pd.RangeIndex(0, 4, 2)],
}  # fmt: skip


@pytest.mark.needs("numpy", "pandas")
@pytest.mark.parametrize("make", FRAMES_APART.values(), ids=FRAMES_APART)
def test_frames_are_told_apart_by(make: Make) -> None:
    values = make(import_module("pandas"))
    assert all_differ(values)
    assert all(map(survives_copies, values))


@pytest.mark.needs("numpy", "pandas")
@pytest.mark.parametrize("make", FRAMES_THE_SAME.values(), ids=FRAMES_THE_SAME)
def test_frames_are_not_told_apart_by(make: Make) -> None:
    assert len({digest(value) for value in make(import_module("pandas"))}) == 1


@pytest.mark.needs("numpy", "pandas")
def test_what_is_under_a_missing_number_does_not_count() -> None:
    pd = import_module("pandas")
    whole = pd.array([1, 7], "Int64")
    whole[1] = None
    assert digest(whole) == digest(pd.array([1, None], "Int64"))


@pytest.mark.needs("numpy", "pandas")
def test_frames_of_unknown_classes_and_contents_are_refused() -> None:
    pd = import_module("pandas")
    assert refused(type("Own", (pd.DataFrame,), {})({"a": [1]}))
    assert refused(table(pd).groupby("number"))
    assert refused(pd.Series([object()]))


# -- polars ----------------------------------------------------------------------------------------------------


def plate(pl: Any, **changed: Any) -> Any:
    columns = {
        "number": [1, None],
        "text": ["a", "b"],
        "time": [datetime.datetime(2026, 1, 1), None],
        "list": [[1], []],
        "record": [{"a": 1}, {"a": 2}],
    }
    return pl.DataFrame(columns | changed)


PLATES_APART: dict[str, Make] = {
    "data": lambda pl: [plate(pl), *(plate(pl, **{name: [None, None]}) for name in plate(pl).columns)],
    "dtype": lambda pl: [plate(pl), plate(pl).cast({"number": pl.Int8}), plate(pl).cast({"number": pl.Float64})],
    "rows": lambda pl: [plate(pl), plate(pl)[::-1], plate(pl)[:1]],
    "columns": lambda pl: [plate(pl), plate(pl)[:, ::-1], plate(pl).rename({"number": "n"}), plate(pl)[:, :2]],
    "series": lambda pl: [
        pl.Series([1]), pl.Series([2]), pl.Series("a", [1]), pl.Series([1.0]), plate(pl)["number"],
    ],
    "nanoseconds": lambda pl: [pl.Series([n]).cast(pl.Datetime("ns")) for n in (1, 2)],
    "categories": lambda pl: [
        pl.Series(["a"]), pl.Series(["a"], dtype=pl.Categorical), pl.Series(["b"], dtype=pl.Categorical),
        pl.Series(["a"], dtype=pl.Enum(["a", "b"])), pl.Series(["a"], dtype=pl.Enum(["b", "a"])),
    ],
    "decimals": lambda pl: [pl.Series(["1.50"]).cast(pl.Decimal(10, scale)) for scale in (1, 2)],
}  # fmt: skip
PLATES_THE_SAME: dict[str, Make] = {
    "pieces": lambda pl: [plate(pl), pl.concat([plate(pl)[:1], plate(pl)[1:]], rechunk=False)],
    "numbers of categories": lambda pl: [
        pl.Series(["b"], dtype=pl.Categorical), pl.Series(["a", "b"], dtype=pl.Categorical)[1:],
    ],
}  # fmt: skip


@pytest.mark.needs("polars")
@pytest.mark.parametrize("make", PLATES_APART.values(), ids=PLATES_APART)
def test_frames_of_polars_are_told_apart_by(make: Make) -> None:
    values = make(import_module("polars"))
    assert all_differ(values)
    assert all(map(survives_copies, values))


@pytest.mark.needs("polars")
@pytest.mark.parametrize("make", PLATES_THE_SAME.values(), ids=PLATES_THE_SAME)
def test_frames_of_polars_are_not_told_apart_by(make: Make) -> None:
    assert len({digest(value) for value in make(import_module("polars"))}) == 1


@pytest.mark.needs("polars")
def test_plans_of_polars_are_refused() -> None:
    pl = import_module("polars")
    assert refused(plate(pl).lazy())
    assert refused(pl.col("number"))


# -- pydantic --------------------------------------------------------------------------------------------------


def models() -> Any:
    """Models with fields, private attributes, extra values, and a subclass."""
    pydantic = import_module("pydantic")
    names: dict[str, Any] = {"pydantic": pydantic, "__name__": __name__}
    code = """
class Model(pydantic.BaseModel):
    number: int
    items: list[int] = []
    _note: str = ""
class Submodel(Model):
    pass
class Open(pydantic.BaseModel, extra="allow"):
    number: int
class Root(pydantic.RootModel[list[int]]):
    pass
"""
    exec(code, names)
    for name in ("Model", "Submodel", "Open", "Root"):
        setattr(sys.modules[__name__], name, names[name])
    return sys.modules[__name__]


def noted(model: Any, note: str) -> Any:
    model._note = note
    return model


@pytest.mark.needs("pydantic")
def test_models_are_told_apart_by_their_fields_and_classes() -> None:
    m = models()
    values = [
        m.Model(number=1), m.Model(number=2), m.Model(number=1, items=[1]), noted(m.Model(number=1), "a"),
        m.Submodel(number=1), m.Open(number=1), m.Open(number=1, more=2), m.Open(number=1, more=3),
        m.Root([1]), m.Root([2]), {"number": 1}, m.Model, m.Open,
        m.Model(number=1, items=[]),  # dumped by its set fields only, this is another
    ]  # fmt: skip
    assert all_differ(values)
    assert all(map(survives_copies, values))
    assert digest(m.Model(number=1)) == digest(m.Model.model_validate({"number": "1"}))


@pytest.mark.needs("pydantic")
def test_an_error_that_keeps_more_than_python_code_can_see_is_refused() -> None:
    pydantic = import_module("pydantic")
    with pytest.raises(pydantic.ValidationError) as caught:
        models().Model(number="x")
    assert refused(caught.value)


@pytest.mark.needs("pydantic")
def test_a_model_with_something_unknown_in_it_is_refused_with_the_place() -> None:
    m = models()
    with pytest.raises(NotDigestibleError) as caught:
        value_digest([m.Open(number=1, more=object())], "models")
    assert caught.value.path == "models[0].__pydantic_extra__['more']"
