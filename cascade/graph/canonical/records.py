"""How records are taken apart: instances of attrs classes, dataclasses and pydantic models."""

from __future__ import annotations

import dataclasses
from typing import Any

import attrs

from cascade.graph.canonical.parts import Form, Parts, attributes_of, record

_MISSING = object()


def form_of_record(cls: type) -> Form | None:
    """How values of *cls* are taken apart; ``None`` if it declares no fields."""
    if any(base.__module__ == "pydantic.main" and base.__qualname__ == "BaseModel" for base in cls.__mro__):
        return _model
    for base in cls.__mro__:
        if "__attrs_attrs__" in vars(base) or "__dataclass_fields__" in vars(base):
            return _fields if base is cls else _with_attributes(base)
    return None


def is_record(cls: type) -> bool:
    """Whether *cls* is an attrs class or a dataclass."""
    return attrs.has(cls) or dataclasses.is_dataclass(cls)


def _declared(value: Any) -> dict[str, Any]:
    cls = type(value)
    fields = attrs.fields(cls) if attrs.has(cls) else dataclasses.fields(cls)
    found = ((field.name, getattr(value, field.name, _MISSING)) for field in fields)
    return {name: held for name, held in found if held is not _MISSING}


def _fields(value: Any) -> Parts:
    return record("record", _declared(value))


def _with_attributes(base: type) -> Form:
    """Of a class that inherits fields and declares none, any attribute counts."""

    def form(value: Any) -> Parts:
        return record("record", _declared(value) | attributes_of(value, base))

    return form


def _model(value: Any) -> Parts:
    fields = {name: vars(value)[name] for name in type(value).model_fields if name in vars(value)}
    return record(
        "model",
        {
            **fields,
            "__pydantic_extra__": value.__pydantic_extra__,
            "__pydantic_private__": value.__pydantic_private__,
            "__pydantic_fields_set__": value.__pydantic_fields_set__,
        },
    )
