"""What may be declared as a type (here: a *kind*), and which sort of kind it is."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import types
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from numbers import Complex, Integral, Real
from pathlib import Path, PurePath
from typing import Annotated, Any, Final, ForwardRef, Literal, NewType, Union, get_args, get_origin, is_typeddict

import attrs

from cascade.model.typed.numbers import is_whole

_PLAIN_ITEMS: Final = (bool, int, float, str)
_ANYTHING: Final = (Any, object)
# What takes every text, so that in a union it comes after what takes only some.
_TAKE_EVERY_TEXT: Final = (str, bytes, bytearray)
_PYDANTIC: Final = ("pydantic", "annotated_types", "pydantic_extra_types")


class Mismatch(ValueError):
    """A value has no meaning as a kind. Becomes an ``InputError`` of the flow's inputs.

    Attributes:
        why: What is wrong with it; empty if there is nothing to add to the kind's name.
        path: Where inside of the value, such as ``[2].port``; empty for all of it.
    """

    def __init__(self, why: str = "", path: str = "") -> None:
        super().__init__(f"{path.lstrip('.')}: {why}" if path else why)
        self.why = why
        self.path = path


def is_same(one: object, other: object) -> bool:
    """Whether both are one object, or equal; never raises, also where the equality of objects does."""
    try:
        return one is other or bool(one == other)
    except Exception:  # __eq__ and __bool__ are user code; those of arrays and frames do raise
        return False


def is_kind(kind: object) -> bool:
    """Whether *kind* can be declared as a type: an annotation, or a callable from text."""
    return callable(kind) or get_origin(kind) is not None or is_alias(kind)


def is_alias(kind: Any) -> bool:
    """Whether it is a name for another kind, made by a ``type`` statement."""
    return type(kind).__name__ == "TypeAliasType"


def names_in(kind: Any) -> Iterator[str]:
    """The names in *kind* that stand for classes, as in ``list["Server"]``: nobody can look them up here."""
    if isinstance(kind, (str, ForwardRef)):
        yield kind if isinstance(kind, str) else kind.__forward_arg__
    elif not is_literal(kind):
        arguments = get_args(kind)
        for part in arguments[:1] if get_origin(kind) is Annotated else arguments:
            yield from names_in(part)


def kind_of(default: object) -> Any:
    """The kind that a default without a declared type stands for: its class, and of a list that of its items."""
    kind: Any = type(default)
    if default is None:
        return Any
    if kind.__module__ == "numpy":
        return _kind_of_numpy(default)
    if isinstance(default, PurePath):
        return Path if isinstance(default, Path) else PurePath
    if kind in (list, tuple, set, frozenset):
        items = {type(item) for item in default}  # type: ignore[attr-defined]  # one of these
        if len(items) == 1 and items <= set(_PLAIN_ITEMS):
            (item,) = items
            return tuple[item, ...] if kind is tuple else kind[item]  # type: ignore[valid-type]  # a class
    return kind


def _kind_of_numpy(default: object) -> Any:
    """The kind of ours that a number or text of numpy counts as; its class if it is none of these."""
    if type(default).__name__ in ("bool", "bool_"):
        return bool
    if is_whole(default):
        return int
    if isinstance(default, Complex) and not isinstance(default, Integral):
        return float if isinstance(default, Real) else complex
    return next((text for text in (str, bytes) if isinstance(default, text)), type(default))


def plain(kind: Any) -> Any:
    """*kind* without what says nothing about values: NewType, alias, and annotations of other libraries."""
    inner = _unwrapped(kind)
    while inner is not kind:
        kind, inner = inner, _unwrapped(inner)
    return type(None) if kind is None else kind


def _unwrapped(kind: Any) -> Any:
    """The kind that *kind* is another name for; *kind* itself if it is none."""
    if isinstance(kind, NewType):
        return kind.__supertype__
    if is_alias(kind):
        return kind.__value__
    if is_alias(get_origin(kind)):
        return get_origin(kind).__value__[get_args(kind)]
    if get_origin(kind) is Annotated and not is_pydantic(kind):
        return get_args(kind)[0]
    return kind


def is_anything(kind: Any) -> bool:
    """Whether every value is of that kind."""
    return any(kind is anything for anything in _ANYTHING)


def is_pydantic(kind: Any) -> bool:
    """Whether pydantic is to check it: one of its models and types, or a type with its constraints."""
    if get_origin(kind) is Annotated:
        extras = get_args(kind)[1:]
        return is_pydantic(get_args(kind)[0]) or any(
            type(extra).__module__.partition(".")[0] in _PYDANTIC or hasattr(extra, "__get_pydantic_core_schema__")
            for extra in extras
        )
    cls = get_origin(kind) or kind
    names = ("__pydantic_core_schema__", "__get_pydantic_core_schema__")
    return isinstance(cls, type) and any(hasattr(cls, name) for name in names)


def members(kind: Any) -> tuple[Any, ...]:
    """The kinds of a union; empty if it is none."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()


def in_text_order(kinds: tuple[Any, ...]) -> list[Any]:
    """*kinds* in the order in which a text is tried with them: what takes every text late, and ``None`` last."""
    return sorted(kinds, key=lambda kind: 2 if kind is type(None) else int(_takes_every_text(plain(kind))))


def _takes_every_text(kind: Any) -> bool:
    if is_anything(kind):
        return True
    return isinstance(kind, type) and issubclass(kind, (*_TAKE_EVERY_TEXT, PurePath)) and not is_enum(kind)


def is_enum(kind: Any) -> bool:
    """Whether it is a class of enumerated values."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def is_literal(kind: Any) -> bool:
    """Whether it lists its values."""
    return get_origin(kind) is Literal


def is_record(kind: Any) -> bool:
    """Whether its values have named fields: an attrs, dataclass, TypedDict or NamedTuple."""
    cls = get_origin(kind) or kind
    if not isinstance(cls, type):
        return False
    return attrs.has(cls) or dataclasses.is_dataclass(cls) or is_typeddict(cls) or is_named_tuple(cls)


def is_named_tuple(cls: type) -> bool:
    """Whether its values are tuples whose places have names."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_mapping(kind: Any) -> bool:
    """Whether its values map keys to values."""
    cls = get_origin(kind) or kind
    return isinstance(cls, type) and issubclass(cls, Mapping) and not is_record(kind)


def is_list(kind: Any) -> bool:
    """Whether its values are collections of items: a list, tuple, set, deque, or an abstract one of these."""
    cls = get_origin(kind) or kind
    if not isinstance(cls, type) or is_record(kind):
        return False
    concrete = issubclass(cls, (list, tuple, set, frozenset, deque))
    return concrete or cls in (
        abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet, abc.Collection, abc.Iterable,
    )  # fmt: skip


def item_kinds(kind: Any) -> tuple[Any, ...]:
    """The kinds of the items of a list: one for all, or one for each place of a tuple of fixed length."""
    arguments = get_args(kind)
    return arguments if has_fixed_length(kind) else arguments[:1] or (Any,)


def has_fixed_length(kind: Any) -> bool:
    """Whether it is a tuple with a kind for each place."""
    arguments = get_args(kind)
    cls = get_origin(kind) or kind
    return isinstance(cls, type) and issubclass(cls, tuple) and bool(arguments) and arguments[-1] is not Ellipsis


def is_converter(kind: Any) -> bool:
    """Whether it is a function from text, and no type."""
    return callable(kind) and not isinstance(kind, type) and get_origin(kind) is None
