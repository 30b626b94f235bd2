"""What a class is: its name, where that leads to it, or else what it holds."""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

import attrs

from cascade.graph.canonical.parts import Layout, Parts
from cascade.graph.canonical.places import qualified_name

_HEAP_TYPE: Final = 1 << 9
_MOST_TYPES: Final = 4096
_names: dict[type, tuple[str, list[str], bytes]] = {}


def class_name(cls: type) -> bytes | None:
    """``module.qualname`` of *cls*, if that leads to it; ``None`` for a class that is local, replaced or made up.

    There may be several of these under one name, so the name does not tell which.
    """
    known = _names.get(cls)
    if known is None:
        if len(_names) >= _MOST_TYPES:
            _names.clear()
        known = _names[cls] = (str(cls.__module__), cls.__qualname__.split("."), qualified_name(cls))
    module, path, name = known
    found: Any = sys.modules.get(module)
    for part in path:
        found = getattr(found, part, None)
    # What is written in C is made once, under whatever name.
    return name if found is cls or not cls.__flags__ & _HEAP_TYPE else None


def is_written_in_python(cls: type, base: type) -> bool:
    """Whether all that instances of *cls* hold beyond those of *base* are attributes that Python code can see."""
    pointers = 0
    for owner in cls.__mro__[: cls.__mro__.index(base)]:
        members = vars(owner)
        pointers += sum(isinstance(member, MemberDescriptorType) for member in members.values())
        pointers += ("__dict__" in members) + ("__weakref__" in members)
    return cls.__basicsize__ <= base.__basicsize__ + tuple.__itemsize__ * pointers


# -- classes without a name of their own -----------------------------------------------------------------------

# What says nothing about how the class or its instances behave, or says again what others say.
_SKIPPED: Final = frozenset({
    "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__static_attributes__", "__firstlineno__", "__orig_bases__",
    "__parameters__", "__abstractmethods__", "_abc_impl", "__attrs_attrs__", "__attrs_props__",
    "__attrs_own_setattr__", "__dataclass_fields__", "__dataclass_params__", "__match_args__", "_fields",
})  # fmt: skip
# Where code comes from that classes are given and that follows from their fields.
_MAKERS: Final = frozenset({"attr", "attrs", "dataclasses", "collections", "enum", "typing", "reprlib"})
_MADE_FOR_DATACLASSES: Final = frozenset({
    "__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__setattr__",
    "__delattr__", "__replace__",
})  # fmt: skip


def class_parts(cls: type) -> Parts:
    """*cls* by what it holds: its bases, its fields or members, and what its body defines."""
    names, items = ["__class__"], [type(cls)]
    for place, base in enumerate(cls.__bases__):
        names.append(f"__bases__[{place}]")
        items.append(base)
    for name, value in (*_fields(cls), *_defined(cls)):
        names.append(name)
        items.append(value)
    return Parts("class", (qualified_name(cls),), items, Layout.RECORD, names)


def _fields(cls: Any) -> Iterable[tuple[str, Any]]:
    if issubclass(cls, enum.Enum):
        return [(f"{name} =", member._value_) for name, member in cls.__members__.items()]
    if "__attrs_attrs__" in vars(cls):
        return _fields_of_attrs(cls)
    if "__dataclass_fields__" in vars(cls):
        return _fields_of_dataclass(cls)
    return [("_fields", vars(cls)["_fields"])] if issubclass(cls, tuple) and "_fields" in vars(cls) else ()


def _fields_of_attrs(cls: Any) -> Iterator[tuple[str, Any]]:
    for field in attrs.fields(cls):
        default = field.default
        yield f"{field.name}:", (field.kw_only, bool(field.eq))
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # to mypy it is a function
            default = default.factory
        if default is not attrs.NOTHING:
            yield f"{field.name} =", default


def _fields_of_dataclass(cls: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(cls):
        yield f"{field.name}:", (field.kw_only, field.compare)
        for default in (field.default, field.default_factory):
            if default is not dataclasses.MISSING:
                yield f"{field.name} =", default


def _defined(cls: type) -> Iterator[tuple[str, Any]]:
    """What the body of *cls* defines, in the order of names."""
    members = cls.__members__ if issubclass(cls, enum.Enum) else None
    is_record = "__attrs_attrs__" in vars(cls)
    for name in sorted(vars(cls)):
        value = vars(cls)[name]
        if name in _SKIPPED or isinstance(value, (GetSetDescriptorType, MemberDescriptorType)):
            continue
        if _is_made(cls, name, value):
            continue
        if members is not None and (
            name in members or (name.startswith("_") and not isinstance(value, FunctionType))
        ):
            continue
        if is_record and name == "__slots__":
            continue
        yield name, value


def _is_made(cls: type, name: str, value: Any) -> bool:
    """Whether *value* is what a library puts into the classes that it makes."""
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if not isinstance(value, FunctionType):
        return type(value).__name__ == "_tuplegetter"  # of a named tuple
    file, module = value.__code__.co_filename, str(value.__globals__.get("__name__", ""))
    if (
        module.partition(".")[0] in _MAKERS
        or module.startswith("namedtuple_")
        or file.startswith("<attrs generated")
    ):
        return True
    return "__dataclass_fields__" in vars(cls) and name in _MADE_FOR_DATACLASSES and file == "<string>"
