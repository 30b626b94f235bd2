"""Which values are containers, and how to list what is inside."""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterator, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final

import attrs

from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Partial, Task


class Kind(enum.Enum):
    """What values of a type have inside.

    ``LIST`` is also for deques, ``DICT`` for read-only views of dicts (``MappingProxyType``). A ``RECORD`` has its
    contents by name: attrs and dataclass instances, pydantic models, and the classes of :data:`HOLDERS`.
    """

    LEAF = enum.auto()
    PLACEHOLDER = enum.auto()
    LIST = enum.auto()
    TUPLE = enum.auto()
    SET = enum.auto()
    DICT = enum.auto()
    RECORD = enum.auto()


# Types whose values contain nothing. The most frequent case by far, so it is one membership test.
LEAVES: Final[frozenset[type]] = frozenset(
    {bool, int, float, complex, str, bytes, bytearray, type(None), range, type, type(Ellipsis)}
)
# Classes of Python's library whose instances keep what is inside as plain attributes.
HOLDERS: Final[frozenset[type]] = frozenset({ChainMap, UserDict, UserList, SimpleNamespace})
_BASES: Final[tuple[tuple[frozenset[type], Kind], ...]] = (
    (frozenset({Placeholder}), Kind.PLACEHOLDER),
    (frozenset({Task, Partial, enum.Enum, type}), Kind.LEAF),
    (frozenset({list, deque}), Kind.LIST),
    (frozenset({tuple}), Kind.TUPLE),
    (frozenset({dict, MappingProxyType}), Kind.DICT),
    (frozenset({set, frozenset}), Kind.SET),
    (HOLDERS, Kind.RECORD),
)
# Types remembered at a time: programs may make them up endlessly.
MOST_TYPES: Final = 4096
# By class, as far as known.
kinds: dict[type, Kind] = {}


def kind_of(cls: type) -> Kind:
    """The kind of class *cls*; hot paths look into :data:`kinds` first."""
    kind = kinds.get(cls)
    if kind is None:
        if len(kinds) >= MOST_TYPES:
            kinds.clear()
        kind = kinds[cls] = _classify(cls)
    return kind


def _classify(cls: type) -> Kind:
    for bases, kind in _BASES:
        if not bases.isdisjoint(cls.__mro__):  # unlike issubclass, it runs no code of the class
            return kind
    is_record = attrs.has(cls) or dataclasses.is_dataclass(cls) or is_model(cls)
    return Kind.RECORD if is_record else Kind.LEAF


def is_model(cls: type) -> bool:
    """Whether *cls* is a model of pydantic 2; pydantic is not imported for it."""
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base in cls.__mro__ and hasattr(cls, "model_fields")


def field_names(value: Any) -> list[str]:
    """The names of what a record has inside, unset fields included."""
    cls = type(value)
    if attrs.has(cls):
        return [field.name for field in attrs.fields(cls)]
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    if not HOLDERS.isdisjoint(cls.__mro__):
        return list(vars(value))
    return [*cls.model_fields, *(value.model_extra or ())]


def contents(value: Any, kind: Kind) -> tuple[Sequence[Any], list[Any]]:
    """Keys and values inside a container; the keys are positions, dict keys or field names."""
    if kind is Kind.DICT:
        return list(value.keys()), list(value.values())
    if kind is Kind.RECORD:
        names = [name for name in field_names(value) if hasattr(value, name)]
        return names, [getattr(value, name) for name in names]
    items = list(value)
    return range(len(items)), items


def class_defaults(cls: type) -> Iterator[Any]:
    """Defaults that the fields of a record may get from its class, not from the instance."""
    if attrs.has(cls):
        yield from (field.default for field in attrs.fields(cls))
    elif dataclasses.is_dataclass(cls):
        yield from (field.default for field in dataclasses.fields(cls))
