"""How frames, series and scalars of pandas and polars are taken apart, without importing these."""

from __future__ import annotations

import sys
from typing import Any

from cascade.graph.canonical.parts import Form, Parts, record


def form_of_frame(cls: type) -> Form | None:
    """How values of *cls* are taken apart; ``None`` if it is none of theirs, or not known."""
    root = cls.__module__.partition(".")[0]
    library: Any = sys.modules.get(root)
    if root == "pandas":
        return _of_pandas(library, cls)
    if root == "polars" and cls is library.DataFrame:
        return _polars_frame
    if root == "polars" and cls is library.Series:
        return _polars_series
    return None


# -- pandas ----------------------------------------------------------------------------------------------------


def _of_pandas(pd: Any, cls: type) -> Form | None:
    forms: dict[type, Form] = {
        pd.DataFrame: _frame,
        pd.Series: _series,
        pd.MultiIndex: _multi_index,
        pd.RangeIndex: _range_index,
        pd.Timestamp: lambda value: record("timestamp", {"asm8": value.asm8, "tz": value.tz}),
        pd.Timedelta: lambda value: record("timedelta", {"asm8": value.asm8}),
        pd.Period: lambda value: record("period", {"ordinal": value.ordinal, "freq": value.freqstr}),
        pd.Interval: lambda value: record(
            "interval", {"left": value.left, "right": value.right, "closed": value.closed}
        ),
        type(pd.NaT): lambda value: Parts("not a time"),
        type(pd.NA): lambda value: Parts("not available"),
    }
    if cls in forms:
        return forms[cls]
    if issubclass(cls, pd.Index):
        return _index
    if issubclass(cls, pd.api.extensions.ExtensionArray):
        return _array
    return None


def _frame(value: Any) -> Parts:
    data = [value.iloc[:, place].array for place in range(value.shape[1])]
    return record("frame", {"columns": value.columns, "index": value.index, "attrs": value.attrs, "data": data})


def _series(value: Any) -> Parts:
    return record("series", {"name": value.name, "index": value.index, "attrs": value.attrs, "data": value.array})


def _index(value: Any) -> Parts:
    return record("index", {"name": value.name, "data": value.array})


def _range_index(value: Any) -> Parts:
    return record("index", {"name": value.name, "data": range(value.start, value.stop, value.step)})


def _multi_index(value: Any) -> Parts:
    levels = [value.get_level_values(place).array for place in range(value.nlevels)]
    return record("multi-index", {"names": list(value.names), "data": levels})


def _array(value: Any) -> Parts:
    """An array of a kind that numpy has not, or one of numpy in the clothes of pandas."""
    facts = (str(value.dtype).encode(),)
    if hasattr(value, "codes"):
        held = {"codes": value.codes, "categories": value.categories, "ordered": bool(value.ordered)}
        return record("categories", held)
    if hasattr(value, "asi8"):
        return record("times", {"data": value.asi8, "freq": getattr(value, "freqstr", None)}, facts)
    if type(value).__name__ in ("NumpyExtensionArray", "PandasArray"):
        return record("array", {"data": value.to_numpy()}, facts)
    return record("array of objects", {"data": list(value)}, facts)


# -- polars ----------------------------------------------------------------------------------------------------


def _polars_frame(value: Any) -> Parts:
    return record("frame", {"columns": list(value.columns), "data": value.get_columns()})


def _polars_series(value: Any) -> Parts:
    pl: Any = sys.modules["polars"]
    facts = (value.name.encode("utf-8", "surrogatepass"), str(value.dtype).encode())
    if value.dtype == pl.Object:
        return record("series", {"data": value.to_list()}, facts)
    if value.dtype in (pl.Categorical, pl.Enum):  # whose numbers depend on what was met first
        return record("series", {"data": value.cast(pl.String).to_list()}, facts)
    if "Categorical" in str(value.dtype) or "Object" in str(value.dtype):
        raise ValueError(f"nothing is known of series of {value.dtype}")
    # Times as the numbers that they are: Python's own have no nanoseconds.
    return record("series", {"data": value.to_physical().to_list()}, facts)
