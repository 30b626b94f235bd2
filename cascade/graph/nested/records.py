"""Records with other values in their fields: made anew by their own constructor."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final

import attrs

from cascade.graph.nested.kinds import HOLDERS, MOST_TYPES, is_model
from cascade.model.errors import CascadeError

_UNSET: Final = object()


class UnfitError(CascadeError, TypeError):
    """A container cannot be made anew with the values that its placeholders stood for."""


def with_fields(original: Any, values: Mapping[str, Any]) -> Any:
    """A record like *original* that has *values* in these fields.

    Attrs classes and dataclasses are called with all the fields that they take, as ``attrs.evolve`` and
    ``dataclasses.replace`` do; pydantic models with those that had been given. So converters, validators and
    ``__post_init__`` run. A record whose constructor does not take its fields is copied, and the fields are set.

    Raises:
        UnfitError: If the constructor needs the value of an ``InitVar``, which records do not keep.
        Exception: What the constructor raises.
    """
    cls: Any = type(original)
    if not HOLDERS.isdisjoint(cls.__mro__):
        made: Any = cls.__new__(cls)
        vars(made).update(vars(original), **values)
        return made
    if is_model(cls):
        return _validated(original, values)
    return _constructed(original, values)


# -- attrs classes and dataclasses -----------------------------------------------------------------------------


@attrs.frozen
class _Field:
    """A field of an attrs class or a dataclass.

    Attributes:
        name: The attribute.
        parameter: What the constructor calls it; ``None`` if it does not take it.
        default: What the field has if nothing sets it.
        may_be_derived: Whether the class may compute it from other fields.
    """

    name: str
    parameter: str | None
    default: object
    may_be_derived: bool


@attrs.frozen
class _Recipe:
    """How records of a class are made.

    Attributes:
        fields: All fields.
        takes_fields: Whether the constructor takes those of its fields that it should.
        not_kept: Parameters without default that are in no field: each an ``InitVar``.
    """

    fields: tuple[_Field, ...]
    takes_fields: bool
    not_kept: tuple[str, ...]


def _constructed(original: Any, values: Mapping[str, Any]) -> Any:
    cls: Any = type(original)
    recipe = _recipe_of(cls)
    if recipe.not_kept:
        raise UnfitError(
            f"{cls.__name__} has the InitVar {recipe.not_kept[0]!r}, and no record keeps the value of one, so it "
            "cannot be made anew with the value of a placeholder; give the InitVar a default, or make it a field"
        )
    if not recipe.takes_fields:
        return _copied(original, values)
    given = {}
    for field in recipe.fields:
        value = _value(original, field, values)
        if field.parameter is not None and value is not _UNSET:
            given[field.parameter] = value
    made = cls(**given)
    for field in recipe.fields:
        if field.parameter is None and not _is_made(made, field, field.name in values):
            value = _value(original, field, values)
            if value is not _UNSET:
                object.__setattr__(made, field.name, value)
    return made


def _value(original: Any, field: _Field, values: Mapping[str, Any]) -> Any:
    return values[field.name] if field.name in values else getattr(original, field.name, _UNSET)


def _is_made(made: Any, field: _Field, has_placeholder: bool) -> bool:
    """Whether what the class itself has put into a field that its constructor does not take is to stay there."""
    is_as_declared = getattr(made, field.name, field.default) is field.default
    return field.may_be_derived and not (has_placeholder and is_as_declared)


@functools.lru_cache(MOST_TYPES)
def _recipe_of(cls: Any) -> _Recipe:
    fields = tuple(_attrs_fields(cls) if attrs.has(cls) else _dataclass_fields(cls))
    taken = {field.parameter for field in fields if field.parameter is not None}
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):  # to be found out by calling it
        return _Recipe(fields, takes_fields=True, not_kept=())
    by_name = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = {p.name for p in parameters if p.default is p.empty and p.kind not in variable}
    declared = getattr(cls, "__dataclass_fields__", {})
    return _Recipe(
        fields,
        takes_fields=needed <= taken and (takes_any or taken <= by_name),
        not_kept=tuple(name for name in needed - taken if name in declared),
    )


def _attrs_fields(cls: type) -> Iterator[_Field]:
    has_hook = hasattr(cls, "__attrs_post_init__")
    for field in attrs.fields(cls):
        takes_self = isinstance(field.default, attrs.Factory) and field.default.takes_self  # type: ignore[arg-type]
        yield _Field(field.name, field.alias if field.init else None, field.default, has_hook or takes_self)


def _dataclass_fields(cls: type) -> Iterator[_Field]:
    has_hook = hasattr(cls, "__post_init__")
    for field in dataclasses.fields(cls):
        yield _Field(field.name, field.name if field.init else None, field.default, has_hook)


def _copied(original: Any, values: Mapping[str, Any]) -> Any:
    made = copy.copy(original)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    # What has been computed from the fields as they were: cached properties, and the hash.
    attributes = getattr(made, "__dict__", {})
    for name in [name for name in attributes if isinstance(getattr(type(made), name, None), cached_property)]:
        del attributes[name]
    if "_attrs_cached_hash" in attributes:
        attributes["_attrs_cached_hash"] = None  # attrs computes it anew
    return made


# -- pydantic models -------------------------------------------------------------------------------------------


def _validated(original: Any, values: Mapping[str, Any]) -> Any:
    cls = type(original)
    if getattr(cls, "__pydantic_root_model__", False):
        return cls.model_validate(values["root"])
    if getattr(cls, "__pydantic_custom_init__", False):
        return original.model_copy(update=values)
    given = {name: getattr(original, name) for name in original.model_fields_set}
    return cls.model_validate({**given, **values}, by_name=True)
