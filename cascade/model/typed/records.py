"""Records from mappings, by cattrs: attrs and dataclasses, TypedDict, NamedTuple."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_origin, is_typeddict

from cattrs import Converter
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError

from cascade.model.typed import convert
from cascade.model.typed.kinds import Mismatch, is_named_tuple

# Of what is wrong with one record, so much is told.
_SHOWN: Final = 3
Hook = Callable[[Any, Any], Any]


def checker(kind: Any) -> Callable[[Any], Any]:
    """A function that gives records of *kind*: a value that is one, otherwise one made of a mapping.

    A list is taken for a NamedTuple. The function raises :class:`Mismatch` if that is not possible.
    """
    cls = get_origin(kind) or kind
    hook: Hook | None = None

    def check(value: Any) -> Any:
        nonlocal hook
        if not is_typeddict(cls) and isinstance(value, cls):
            return value
        if is_named_tuple(cls) and type(value) is list:
            value = _by_place(value, cls._fields)
        if not isinstance(value, Mapping):
            raise Mismatch
        try:
            hook = hook or _hook_of(kind)  # only now: making sense of the class may fail
            return hook(value, kind)
        except Mismatch:
            raise
        except Exception as error:  # whatever the constructor finds wrong
            raise _mismatch(error) from error

    return check


@functools.cache
def _converter() -> Converter:
    """Builds records by their constructors; what stands in their fields is up to :mod:`convert`."""
    converter = Converter(forbid_extra_keys=True, prefer_attrib_converters=True, use_alias=True)
    converter.register_structure_hook_func(lambda kind: True, _field)
    for kind in (str, bytes, int, float, Path):  # for which it has hooks of its own that come first
        converter.register_structure_hook(kind, _field)
    return converter


def _field(value: Any, kind: Any) -> Any:
    return convert.inside("", value, kind, convert.checked)


def _hook_of(kind: Any) -> Hook:
    converter, cls = _converter(), get_origin(kind) or kind
    if is_named_tuple(cls):
        return _named_tuple
    if is_typeddict(cls):
        return converter.gen_structure_typeddict(kind)
    return converter.gen_structure_attrs_fromdict(kind)


def _by_place(values: list[Any], names: Sequence[str]) -> dict[str, Any]:
    if len(values) > len(names):
        raise Mismatch(f"it has {len(values)} items, not {len(names)}")
    return dict(zip(names, values, strict=False))


def _named_tuple(value: Mapping[str, Any], cls: Any) -> Any:
    cls = get_origin(cls) or cls
    kinds = typing.get_type_hints(cls)
    inside = convert.inside
    return cls(**{name: inside(f".{name}", v, kinds.get(name, Any), convert.checked) for name, v in value.items()})


def _mismatch(error: Exception) -> Mismatch:
    found = list(_causes(error, ""))
    path, why = found[0]
    others = [f"{path.lstrip('.')}: {why}" if path else why for path, why in found[1:_SHOWN]]
    return Mismatch("; ".join([why, *others]), path)


def _causes(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    """What is wrong, and where."""
    if not isinstance(error, ClassValidationError):
        yield (path + error.path, error.why) if isinstance(error, Mismatch) else (path, _reason(error))
        return
    noted, others = error.group_exceptions()
    for part, note in noted:
        step = f"{path}.{note.name.lstrip('_')}"  # as attrs calls it in the constructor
        yield from _causes(part, step)
    for part in others:
        yield from _causes(part, path)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return "it is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"there is no field {', '.join(map(repr, sorted(error.extra_fields)))}"
    return f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
