"""The value of a kind that a text or another value stands for."""

from __future__ import annotations

import collections.abc as abc
import functools
import json
import typing
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast, get_args, get_origin

from cascade.model.shown.text import preview
from cascade.model.typed.kinds import (
    Mismatch,
    has_fixed_length,
    in_text_order,
    is_anything,
    is_converter,
    is_enum,
    is_list,
    is_literal,
    is_mapping,
    is_pydantic,
    is_record,
    item_kinds,
    members,
    plain,
)
from cascade.model.typed.scalars import (
    SCALARS,
    Scalar,
    class_from_text,
    class_from_value,
    converter_from_text,
    enum_from_text,
    enum_from_value,
    literal_from_value,
    reason,
)
from cascade.model.typed.words import name_of

_CONCRETE: Final = (list, tuple, set, frozenset, deque)
_SHOWN: Final = 40
Check = Callable[[Any], Any]


def converted(raw: object, kind: Any) -> Any:
    """The value of *kind* that *raw* stands for: text is read, any other value is checked.

    Raises:
        Mismatch: If it stands for none.
    """
    try:
        if type(raw) is str:
            return from_text(raw, kind)
        try:
            return checked(raw, kind)
        except Mismatch:
            if isinstance(raw, str):  # of a class of its own, as numpy has one
                return from_text(str(raw), kind)
            raise
    except RecursionError:
        raise Mismatch("nested too deeply") from None


# -- text --------------------------------------------------------------------------------------------------------


def from_text(text: str, kind: Any) -> Any:
    """The value of *kind* that *text* stands for.

    Raises:
        Mismatch: If it stands for none.
    """
    kind = plain(kind)
    if is_anything(kind):
        return text
    if is_pydantic(kind):
        return _pydantic().from_text(text, kind)
    parts = members(kind)
    if parts:
        return _first(in_text_order(parts), lambda part: from_text(text, part))
    if is_literal(kind):
        return _first(get_args(kind), lambda choice: _choice_from_text(text, choice))
    if is_enum(kind):
        return enum_from_text(text, kind)
    if isinstance(kind, type) and kind in SCALARS:
        return SCALARS[kind].read(text)
    if is_list(kind):
        return _list_from_text(text, kind)
    if is_mapping(kind) or is_record(kind):
        return checked(_json(text), kind)
    if is_converter(kind):
        return converter_from_text(text, kind)
    return class_from_text(text, get_origin(kind) or kind)


def _first(candidates: Iterable[Any], make: Callable[[Any], Any]) -> Any:
    """What *make* gives for the first of *candidates* that it does not refuse."""
    for candidate in candidates:
        try:
            return make(candidate)
        except Mismatch:
            continue
    raise Mismatch


def _choice_from_text(text: str, choice: Any) -> Any:
    kind = type(choice)
    if from_text(text, kind) == choice:
        return choice
    raise Mismatch


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Mismatch(f"no JSON ({error})") from None


def _list_from_text(text: str, kind: Any) -> Any:
    """A list from JSON, or of single values from words with commas between them."""
    is_nested = any(is_list(item) or is_mapping(item) or is_record(item) for item in map(plain, item_kinds(kind)))
    if is_nested or text.lstrip().startswith("["):
        return checked(_json(text), kind)
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if has_fixed_length(kind):
        kinds = item_kinds(kind)
        _check_length(words, kinds)
        return get_origin(kind)(_each(words, kinds, from_text))
    (item,) = item_kinds(kind)
    if is_anything(plain(item)):
        if len(words) == 1:
            raise Mismatch("a single word is no list")
        return _made(kind, _numbers(words) or words)
    return _made(kind, _each(words, [item] * len(words), from_text))


def _numbers(words: Sequence[str]) -> list[Any] | None:
    """*words* as numbers, if all of them are."""
    for kind in (int, float):
        try:
            return [kind(word) for word in words]
        except ValueError:
            continue
    return None


# -- other values ------------------------------------------------------------------------------------------------


def checked(value: Any, kind: Any) -> Any:
    """*value* as one of *kind*.

    What JSON has itself is not converted: numbers, truth values, ``None``, mappings. Its lists stand for any
    collection, its objects for records, and its strings for what JSON does not have, such as dates.

    Raises:
        Mismatch: If it is none.
    """
    return _checker(kind)(value)


def _checker(kind: Any) -> Check:
    try:
        return _known_checker(kind)
    except TypeError:  # a kind without hash, such as an annotation with a list in it
        return _new_checker(kind)


@functools.lru_cache(maxsize=256)
def _known_checker(kind: Any) -> Check:
    return _new_checker(kind)


def _new_checker(kind: Any) -> Check:
    """A function that checks values of *kind*: what sort of kind it is, is found out once for many values."""
    kind = plain(kind)
    if is_anything(kind):
        return lambda value: value
    if is_pydantic(kind):
        return cast("Check", _pydantic().checker(kind))
    parts = members(kind)
    if parts:
        return lambda value: _of_union(value, parts)
    if is_literal(kind):
        return lambda value: literal_from_value(value, kind)
    if is_enum(kind):
        return lambda value: enum_from_value(value, kind)
    scalar = SCALARS.get(kind) if isinstance(kind, type) else None
    if scalar is not None:
        return scalar.accept if scalar.is_in_json else functools.partial(_read_or_accepted, scalar)
    if is_record(kind):
        return cast("Check", _records().checker(kind))
    if is_list(kind):
        return lambda value: _checked_list(value, kind)
    if is_mapping(kind):
        return lambda value: _checked_mapping(value, kind)
    if is_converter(kind):
        return lambda value: _checked_by_annotation(value, kind)
    cls = get_origin(kind) or kind
    return lambda value: (class_from_text if type(value) is str else class_from_value)(value, cls)


def _read_or_accepted(scalar: Scalar, value: Any) -> Any:
    return scalar.read(value) if type(value) is str else scalar.accept(value)


def _of_union(value: Any, parts: tuple[Any, ...]) -> Any:
    """*value* as the first kind that takes it; one that takes it as it is comes before one that converts it."""
    if type(value) is str:
        return _first(in_text_order(parts), lambda part: checked(value, part))
    found: list[Any] = []
    for part in parts:
        try:
            made = checked(value, part)
        except Mismatch:
            continue
        if type(made) is type(value):
            return made
        found.append(made)
    if not found:
        raise Mismatch
    return found[0]


def inside(step: str, value: Any, kind: Any, make: Callable[[Any, Any], Any]) -> Any:
    """*value*, which stands at *step* of another one, as one of *kind*."""
    try:
        return make(value, kind)
    except Mismatch as error:
        if error.path:
            raise Mismatch(error.why, step + error.path) from None
        raise Mismatch(_misfit(value, kind, error.why), step) from None


def _misfit(value: Any, kind: Any, why: str) -> str:
    """What is wrong with *value* inside of another one."""
    shown = preview(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return f"{shown} is not {name_of(kind)}{f' ({why})' if why else ''}"


def _checked_list(value: Any, kind: Any) -> Any:
    cls = get_origin(kind) or kind
    is_text = isinstance(value, (str, bytes, bytearray, Mapping))
    # A list stands for any collection, as JSON has no other.
    if is_text or not (isinstance(value, cls) or type(value) is list):
        raise Mismatch
    given, kinds = list(value), item_kinds(kind)
    if has_fixed_length(kind):
        _check_length(given, kinds)
        return _made(kind, _each(given, kinds, checked), value)
    try:
        items = _all_checked(given, kinds[0])
    except Mismatch:  # which of them it is, is looked for only then
        items = _each(given, kinds * len(given), checked)
    return _made(kind, items, value)


def _are_all(values: Iterable[Any], kind: Any) -> bool:
    """Whether *values* are of the class *kind*, and of a sort that is taken as it is."""
    return isinstance(kind, type) and kind in SCALARS and set(map(type, values)) <= {kind}


def _all_checked(values: list[Any], kind: Any) -> list[Any]:
    """*values*, each as one of *kind*; quick for many numbers or texts."""
    return values if _are_all(values, kind) else list(map(_checker(kind), values))


def _each(items: Sequence[Any], kinds: Sequence[Any], make: Callable[[Any, Any], Any]) -> list[Any]:
    pairs = zip(items, kinds, strict=True)
    return [inside(f"[{place}]", item, kind, make) for place, (item, kind) in enumerate(pairs)]


def _check_length(items: Sequence[Any], kinds: Sequence[Any]) -> None:
    if len(items) != len(kinds):
        raise Mismatch(f"it has {len(items)} items, not {len(kinds)}")


def _made(kind: Any, items: Sequence[Any], given: Any = None) -> Any:
    """A collection of *kind*; where that is abstract, of the class of *given*, or a list."""
    cls = get_origin(kind) or kind
    if not issubclass(cls, _CONCRETE):
        is_like = isinstance(given, cls) and type(given) in _CONCRETE
        cls = type(given) if is_like else set if issubclass(cls, abc.Set) else list
    if isinstance(given, deque) and issubclass(cls, deque):
        return cls(items, given.maxlen)
    return _built(cls, items)


def _checked_mapping(value: Any, kind: Any) -> Any:
    cls = get_origin(kind) or kind
    if not isinstance(value, Mapping) or not (isinstance(value, cls) or type(value) is dict):
        raise Mismatch
    arguments = get_args(kind)
    if not arguments:
        return dict(value) if type(value) is dict and issubclass(dict, cls) else _mapping_of(cls, value)
    key_kind, item_kind = (*arguments, int)[:2]  # a Counter says of its keys only
    try:
        keys = value if _are_all(value, key_kind) else [_key(key, key_kind) for key in value]
        items = _all_checked(list(value.values()), item_kind)
    except Mismatch:  # which of them it is, is looked for only then
        steps = [f"[{preview(key)}]" for key in value]
        keys = [inside(step, key, key_kind, _key) for step, key in zip(steps, value, strict=True)]
        items = [inside(step, item, item_kind, checked) for step, item in zip(steps, value.values(), strict=True)]
    pairs = _built(dict, zip(keys, items, strict=True))
    if issubclass(cls, defaultdict):
        return cls(getattr(value, "default_factory", None), pairs)
    return pairs if issubclass(dict, cls) else _mapping_of(cls, pairs)


def _mapping_of(cls: type[Any], value: Mapping[Any, Any]) -> Any:
    """*value* if it is a *cls*, otherwise one made of it; a ``defaultdict`` has no default factory then."""
    if isinstance(value, cls):
        return value
    return cls(None, value) if issubclass(cls, defaultdict) else _built(cls, value)


def _built(cls: type[Any], parts: Any) -> Any:
    """A *cls* made of *parts*, which may be refused: an item of a set without a hash, or by a class of a user."""
    try:
        return cls(parts)
    except Exception as error:  # whatever the class finds wrong with them
        raise Mismatch(reason(error)) from error


def _key(key: Any, kind: Any) -> Any:
    """A key of a mapping, which in JSON is always a string."""
    return from_text(key, kind) if type(key) is str else checked(key, kind)


def _checked_by_annotation(value: Any, convert: Callable[[str], Any]) -> Any:
    """*value* for a function from text: if it says what it returns, that is what is wanted."""
    try:
        wanted = typing.get_type_hints(convert).get("return", Any)
    except Exception:  # it has no annotations, or some that mean nothing here: evaluating them may raise anything
        wanted = Any
    return checked(value, wanted) if isinstance(wanted, type) or get_origin(wanted) else value


# -- kinds of libraries ------------------------------------------------------------------------------------------


def _records() -> Any:
    from cascade.model.typed import records  # with cattrs, which takes time and is seldom needed

    return records


def _pydantic() -> Any:
    try:
        from cascade.model.typed import pydantic_kinds
    except ModuleNotFoundError:
        raise Mismatch("checking that takes pydantic, which is not installed: pip install pydantic") from None
    return pydantic_kinds
