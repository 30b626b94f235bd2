"""How arrays and scalars of numpy are taken apart. Whoever has one has imported numpy, so nothing here does."""

from __future__ import annotations

import sys
from typing import Any, Final

from cascade.graph.canonical.parts import Form, Layout, Parts, record

# Of which the bytes are the value, but for NaN and the padding of long doubles.
_PLAIN_KINDS: Final = "biufcmMSUV"


def form_in_numpy(cls: type) -> Form | None:
    """How values of *cls* are taken apart; ``None`` if it is no class of numpy, or of unknown content."""
    np: Any = sys.modules.get("numpy")
    if np is None:
        return None
    if cls is type(np.ma.masked):
        return lambda value: Parts("masked")
    if issubclass(cls, np.ma.MaskedArray):
        return _masked if cls.__module__.startswith("numpy.") else None
    if issubclass(cls, (np.ndarray, np.generic)):
        return _array if _is_of_numpy(cls) else None
    if issubclass(cls, np.dtype):
        return lambda value: Parts("dtype", (_dtype(value),))
    if cls is np.ufunc:
        return lambda value: Parts("ufunc", (value.__name__.encode(),))
    return None


def base_in_numpy(cls: type) -> type | None:
    """The class of numpy that *cls*, which is somebody's own, is a kind of."""
    np: Any = sys.modules.get("numpy")
    if np is None or not issubclass(cls, (np.ndarray, np.generic)) or issubclass(cls, np.ma.MaskedArray):
        return None
    return next(base for base in cls.__mro__ if _is_of_numpy(base))


def _is_of_numpy(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "numpy"


def _dtype(dtype: Any) -> bytes:
    """All of *dtype*, with byte order, unit, names and alignment."""
    is_simple = dtype.names is None and dtype.kind in _PLAIN_KINDS
    return f"{dtype.str} {dtype.name}".encode() if is_simple else repr(dtype).encode()


def _array(value: Any) -> Parts:
    """An array of any layout in memory, or a scalar."""
    np: Any = sys.modules["numpy"]
    array = np.asarray(value)
    facts = [_dtype(array.dtype), repr(array.shape).encode()]
    if array.dtype.names is not None:  # field by field, as there may be padding between them
        fields = [array[name] for name in array.dtype.names]
        return Parts("structured array", facts, fields, Layout.RECORD, array.dtype.names)
    if array.dtype.kind in "OT":
        return Parts("array of objects", facts, array.ravel("C").tolist())
    if array.dtype.hasobject or array.dtype.kind not in _PLAIN_KINDS:
        raise ValueError(f"nothing is known of the dtype {array.dtype!r}")
    return Parts("array", (*facts, _bytes(np, array)))


def _bytes(np: Any, array: Any) -> bytes | memoryview:
    if not array.size or not array.dtype.itemsize:
        return b""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind in "fc":
        flat = _without_noise(np, flat)
    return memoryview(flat.view("u1"))


def _without_noise(np: Any, flat: Any) -> Any:
    """*flat* with one kind of NaN, and nothing in the bytes that a long double has and does not use."""
    reals = flat.view(flat.real.dtype)
    missing = np.isnan(reals)
    is_padded = reals.dtype.itemsize > 8 and np.finfo(reals.dtype).nmant == 63  # 80 bits of Intel
    if not is_padded and not missing.any():
        return reals
    reals = reals.copy()
    reals[missing] = np.nan
    if is_padded:
        reals.view("u1").reshape(-1, reals.dtype.itemsize)[:, 10:] = 0
    return reals


def _masked(value: Any) -> Parts:
    np: Any = sys.modules["numpy"]
    return record(
        "masked array",
        {
            "data": np.asarray(np.ma.getdata(value)),
            "mask": np.ma.getmaskarray(value),
            "fill_value": value.fill_value,
            "hardmask": bool(value.hardmask),
        },
    )
