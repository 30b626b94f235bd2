"""Values as text that stands for them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from datetime import date, time, timedelta
from enum import Enum
from typing import Any

import attrs

from cascade.model.typed.scalars import written_duration


def written(value: Any) -> str:
    """*value* as the text that is converted to it, if its kind can be said as text; otherwise ``str`` of it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "surrogateescape")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return written_duration(value)
    if _is_compound(value):
        return json.dumps(_as_json(value), ensure_ascii=False)
    return str(value)


def _is_compound(value: Any) -> bool:
    """Whether JSON is how it is said."""
    is_plain = isinstance(value, (list, tuple, set, frozenset, Mapping))
    return is_plain or attrs.has(type(value)) or dataclasses.is_dataclass(value)


def _as_json(value: Any) -> Any:
    if type(value) in (bool, int, float, str, type(None)):
        return value
    if isinstance(value, Mapping):
        return {written(key): _as_json(item) for key, item in value.items()}
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        return {field.alias or field.name: _as_json(getattr(value, field.name)) for field in fields}
    if dataclasses.is_dataclass(value):
        return {
            field.name: _as_json(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init
        }
    if isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray, Enum)):
        return [_as_json(item) for item in value]
    return written(value)
