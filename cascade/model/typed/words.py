"""What users call a kind, and how they say a value of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any, Final, get_args, get_origin

import attrs

from cascade.model.typed.kinds import (
    has_fixed_length,
    is_alias,
    is_anything,
    is_enum,
    is_list,
    is_literal,
    is_mapping,
    is_record,
    item_kinds,
    members,
    plain,
)

# Fields and choices that are named in one message.
_SHOWN: Final = 8


def name_of(kind: Any) -> str:
    """What users call it: ``int``, ``list[int]``, ``int | None``, ``'a' or 'b'``."""
    if is_anything(kind):
        return "Any"
    if is_alias(kind):  # which may contain itself, as one of JSON does
        return str(kind.__name__)
    kind = plain(kind)
    if kind is type(None):
        return "None"
    if is_literal(kind):
        values = get_args(kind)
        return " or ".join([*map(repr, values[:_SHOWN]), *(["..."] if len(values) > _SHOWN else [])])
    parts = members(kind)
    if parts:
        return " | ".join(name_of(part) for part in parts)
    if get_origin(kind) is Annotated:
        return name_of(get_args(kind)[0])
    arguments = get_args(kind)
    name = str(getattr(get_origin(kind) or kind, "__name__", None) or repr(kind))
    if not arguments:
        return name
    return f"{name}[{', '.join('...' if part is Ellipsis else name_of(part) for part in arguments)}]"


def choices_of(kind: Any) -> tuple[str, ...]:
    """The words of which one is to be said, if they are enumerated: names of an Enum, values of a Literal."""
    kind = plain(kind)
    if is_enum(kind):
        return tuple(kind.__members__)
    if is_literal(kind):
        return tuple(value.name if isinstance(value, Enum) else str(value) for value in get_args(kind))
    parts = [part for part in members(kind) if part is not type(None)]
    found = [choices_of(part) for part in parts]
    return tuple(word for words in found for word in words) if found and all(found) else ()


_HINTS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number, such as 3",
    float: "a number, such as 0.5",
    Decimal: "a number, such as 1.10",
    Fraction: "a number, such as 1/3",
    date: "YYYY-MM-DD, such as 2026-11-21",
    datetime: "ISO, such as 2026-11-21T14:30:00",
    time: "ISO, such as 14:30:00",
    timedelta: "ISO, such as P1DT2H or PT30S",
    dict: 'JSON, such as {"a": 1}',
}


def hint_of(kind: Any) -> str:
    """How to say a value of that kind as text; empty if its name says it."""
    kind = plain(kind)
    parts = [part for part in members(kind) if part is not type(None)]
    if parts:
        hints = [hint for part in parts if (hint := hint_of(part))]
        return "; or ".join(dict.fromkeys(hints))
    if is_enum(kind):
        words = choices_of(kind)
        return f"one of {', '.join(words[:_SHOWN])}{', ...' if len(words) > _SHOWN else ''}"
    if is_list(kind):
        return _hint_of_list(kind)
    if is_record(kind):
        return _hint_of_record(kind)
    if is_mapping(kind):
        return _HINTS[dict]
    return _HINTS.get(kind, "") if isinstance(kind, type) else ""


def _hint_of_list(kind: Any) -> str:
    if has_fixed_length(kind):
        names = ", ".join(name_of(item) for item in item_kinds(kind))
        return f"JSON: a list of {names}"
    (item,) = item_kinds(kind)
    if is_anything(item) or plain(item) in (int, float):
        return "1,2,3 or JSON, such as [1, 2, 3]"
    if is_list(item) or is_record(item) or is_mapping(item):
        return f"JSON: a list of {name_of(item)}"
    return 'a,b or JSON, such as ["a", "b"]'


def _hint_of_record(kind: Any) -> str:
    cls = get_origin(kind) or kind
    shown = ", ".join(f'"{name}": ...' for name in _field_names(cls)[:_SHOWN])
    return f"JSON, such as {{{shown}}}"


def _field_names(cls: Any) -> list[str]:
    if attrs.has(cls):
        return [field.alias or field.name for field in attrs.fields(cls) if field.init]
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    return list(getattr(cls, "_fields", cls.__annotations__))


def described(kind: Any) -> str:
    """Its name and how to say it, for a message."""
    hint = hint_of(kind)
    return f"{name_of(kind)} ({hint})" if hint else name_of(kind)
