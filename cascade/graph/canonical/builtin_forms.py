"""How values of the standard library are taken apart.

Each form reads a value through the methods of the class that it is for: a subclass may have its own.
"""

from __future__ import annotations

import array
import builtins
import collections
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import re
import types
import uuid
import zoneinfo
from typing import Any, Final

from cascade.graph.canonical.parts import Form, Layout, Parts, mapping, record
from cascade.graph.canonical.places import module_name, qualified_name
from cascade.model.tasks import Partial


def _sequence(base: Any) -> Form:
    return lambda value: Parts("sequence", (), list(base.__iter__(value)))


def _tuple(value: Any) -> Parts:
    parts = Parts("sequence", (), list(tuple.__iter__(value)))
    if hasattr(type(value), "n_unnamed_fields"):  # such as a struct_time, which has fields that are no items
        return record("struct", dict(value.__reduce__()[1][1]) | {"": parts.items})
    return parts


def _set(base: Any) -> Form:
    return lambda value: Parts("set", (), list(base.__iter__(value)), Layout.SET)


def _dict(value: Any) -> Parts:
    return mapping("dict", dict.items(value))


def _ordered_dict(value: Any) -> Parts:
    pairs = list(collections.OrderedDict.items(value))
    return Parts("ordered dict", (), [part for pair in pairs for part in pair])


def _default_dict(value: Any) -> Parts:
    return record("default dict", {"default_factory": value.default_factory, "": dict(dict.items(value))})


def _deque(value: Any) -> Parts:
    return record("deque", {"maxlen": value.maxlen, "": list(collections.deque.__iter__(value))})


def _date(value: Any) -> Parts:
    return Parts("date", (), list(datetime.date.__reduce__(value)[1]))


def _timedelta(value: Any) -> Parts:
    return Parts("timedelta", (), list(datetime.timedelta.__reduce__(value)[1]))


def _time(base: type[datetime.time | datetime.datetime]) -> Form:
    # As they are pickled, which tells the fold from protocol 4 on.
    return lambda value: Parts("time", (), list(base.__reduce_ex__(value, 4)[1]))


def _timezone(value: Any) -> Parts:
    return Parts("timezone", (), list(datetime.timezone.__getinitargs__(value)))  # type: ignore[attr-defined]


def _zone(value: Any) -> Parts:
    if value.key is None:
        raise ValueError("a zone that was read from a file has no key")
    return Parts("zone", (value.key.encode(),))


def _fraction(value: Any) -> Parts:
    return Parts("fraction", (), list(fractions.Fraction.as_integer_ratio(value)))


def _range(value: range) -> Parts:
    # Equal ranges have the same items, wherever they would have stopped.
    return Parts(
        "range", (), [value[0], value[-1], value.step if value[0] != value[-1] else None] if value else []
    )


def _buffer(value: Any) -> Parts:
    view = memoryview(value)
    return Parts("buffer", (view.format.encode(), repr(view.shape).encode(), view.tobytes("C")))


def _exception(value: Any) -> Parts:
    # What is built in keeps some of what it was given where only this tells it; the rest are attributes.
    base: Any = base_of(type(value))
    _, args, *state = base.__reduce__(value)
    hidden = {name: held for name, held in (state[0] if state else {}).items() if name not in value.__dict__}
    return record("exception", {"args": args, **hidden})


def _builtin_function(value: Any) -> Parts:
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, types.ModuleType):
        return Parts("builtin function", (qualified_name(value),))
    return record("builtin method", {"__self__": owner}, (value.__name__.encode(),))


def _unbound(value: Any) -> Parts:
    return record("descriptor", {"__objclass__": value.__objclass__}, (value.__name__.encode(),))


def _module(value: Any) -> Parts:
    return Parts("module", (module_name(value.__name__, vars(value)).encode(),))


def _attributes(tag: str, *names: str) -> Form:
    return lambda value: record(tag, {name: getattr(value, name) for name in names})


def _path(value: Any) -> Parts:
    return Parts("path", (pathlib.PurePath.__str__(value).encode("utf-8", "surrogatepass"),))


def _nothing(value: Any) -> Parts:
    """All there is are attributes."""
    return Parts("object")


# By class. Of a subclass that is written in Python, the attributes count as well.
VALUES: Final[dict[type, Form]] = {
    int: lambda value: Parts("plain", (), [int.__index__(value)]),
    float: lambda value: Parts("plain", (), [float.__float__(value)]),
    complex: lambda value: Parts("plain", (), [complex.__complex__(value)]),
    str: lambda value: Parts("plain", (), [str.__str__(value)]),
    bytes: lambda value: Parts("plain", (), [memoryview(value).tobytes()]),
    bytearray: lambda value: Parts("plain", (), [memoryview(value).tobytes()]),
    memoryview: _buffer,
    array.array: lambda value: Parts("array", (value.typecode.encode(), memoryview(value).tobytes())),
    list: _sequence(list),
    tuple: _tuple,
    set: _set(set),
    frozenset: _set(frozenset),
    dict: _dict,
    collections.OrderedDict: _ordered_dict,
    collections.defaultdict: _default_dict,
    collections.deque: _deque,
    collections.UserDict: _nothing,
    collections.UserList: _nothing,
    collections.UserString: _nothing,
    collections.ChainMap: _nothing,
    types.SimpleNamespace: _nothing,
    datetime.date: _date,
    datetime.datetime: _time(datetime.datetime),
    datetime.time: _time(datetime.time),
    datetime.timedelta: _timedelta,
    datetime.timezone: _timezone,
    zoneinfo.ZoneInfo: _zone,
    decimal.Decimal: lambda value: Parts("decimal", (decimal.Decimal.__repr__(value).encode(),)),
    fractions.Fraction: _fraction,
    uuid.UUID: lambda value: Parts("uuid", (), [value.int]),
    pathlib.PurePath: _path,
    range: _range,
    slice: _attributes("slice", "start", "stop", "step"),
    functools.partial: _attributes("partial", "func", "args", "keywords"),
}

# Those that hold attributes themselves; all exceptions do.
_HOLDING: Final = frozenset({
    collections.OrderedDict, collections.UserDict, collections.UserList, collections.UserString,
    collections.ChainMap, types.SimpleNamespace, functools.partial,
})  # fmt: skip


def base_of(cls: type) -> type | None:
    """The class of the standard library that *cls* is a kind of, if a form is known for it."""
    if issubclass(cls, BaseException):  # of which some keep more than others
        return next(base for base in cls.__mro__ if base in _EXCEPTIONS)
    return next((base for base in cls.__mro__ if base in VALUES), None)


def form_of_base(base: type) -> Form:
    """How values of *base*, as :func:`base_of` gives it, are taken apart."""
    return _exception if issubclass(base, BaseException) else VALUES[base]


def holds_attributes(base: type) -> bool:
    """Whether values of *base* itself may have attributes."""
    return base in _HOLDING or issubclass(base, BaseException)


_EXCEPTIONS: Final = frozenset(
    thing for thing in vars(builtins).values() if isinstance(thing, type) and issubclass(thing, BaseException)
)

# By class; that and these parts are all there is to say.
CLOSED: Final[dict[type, Form]] = {
    enum.Flag: lambda value: Parts("flag", (), [value._value_]),
    enum.Enum: lambda value: Parts("enum", (value._name_.encode(),)),
    type(NotImplemented): _nothing,
    types.MappingProxyType: lambda value: record("view", {"": value.copy()}),
    re.Pattern: lambda value: Parts("pattern", (), [value.pattern, value.flags]),
    Partial: _attributes("partial task", "task", "args", "fixed"),
    types.ModuleType: _module,
    types.MethodType: _attributes("method", "__func__", "__self__"),
    types.BuiltinFunctionType: _builtin_function,
    types.MethodWrapperType: _builtin_function,
    types.MethodDescriptorType: _unbound,
    types.WrapperDescriptorType: _unbound,
    types.ClassMethodDescriptorType: _unbound,
    type(functools.lru_cache(len)): _attributes("remembered", "__wrapped__"),
    functools.partialmethod: _attributes("partial", "func", "args", "keywords"),
    functools.cached_property: _attributes("property", "func"),
    staticmethod: _attributes("static method", "__func__"),
    classmethod: _attributes("class method", "__func__"),
    property: _attributes("property", "fget", "fset", "fdel"),
}
