"""Events as plain data for JSON, and the way back, where records may come from strangers."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import attrs

import cascade.model.events.kinds as kinds
import cascade.model.events.node_kinds as node_kinds
from cascade.model.events.kinds import Event, RunStatus
from cascade.model.events.node_kinds import BlockReason, TaskStatus
from cascade.model.shown.text import preview

# Version of the JSON form of events; raised when a field changes its meaning or goes.
SCHEMA_VERSION: Final = 1
# Python writes no whole number of more than 4300 digits.
_MOST_WHOLE: Final = 10**4000


def as_record(event: Event) -> dict[str, Any]:
    """An event as plain data for JSON. The keys ``schema`` and ``type`` come first.

    A value that JSON does not have (in the parameters of a run) is replaced by its ``repr``, cut to 100
    characters.

    Args:
        event: The event.
    """
    fields = {field.name: _plain(getattr(event, field.name)) for field in attrs.fields(type(event))}
    return {"schema": SCHEMA_VERSION, "type": type(event).__name__, **fields}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, int):
        return value if abs(value) < _MOST_WHOLE else preview(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return preview(value)


def from_record(data: Mapping[str, Any]) -> Event:
    """The event that *data*, as ``as_record`` makes it, tells of.

    Fields that it does not know are passed over: a later version may have more.

    Raises:
        ValueError: If it tells of none.
    """
    name = data.get("type")
    kind = _kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"there is no event of type {name!r:.100}")
    fields: dict[str, Any] = {}
    for field in attrs.fields(kind):
        if field.name in data:
            value = data[field.name]
            if not _CHECKS[str(field.type)](value):
                raise ValueError(f"{field.name} of {name} cannot be {value!r:.100}")
            fields[field.name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError(f"an event of type {name!r} lacks something: {error}") from None


@functools.cache
def _kinds() -> dict[str, type[Event]]:
    known = (*vars(kinds).values(), *vars(node_kinds).values())
    found = (kind for kind in known if isinstance(kind, type) and issubclass(kind, Event))
    return {kind.__name__: kind for kind in found}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    # Integers of JSON know no bounds; no event needs those that floats cannot tell apart.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _or_none(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


def _mapping(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


# What the fields of events may be, by what is written there as their type.
_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": _is_whole,
    "int | None": _or_none(_is_whole),
    "float": _is_number,
    "float | None": _or_none(_is_number),
    "str": _is_text,
    "str | None": _or_none(_is_text),
    "tuple[str, ...]": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "Mapping[str, int]": _mapping(_is_whole),
    "Mapping[str, object]": _mapping(lambda _: True),
    "Mapping[str, Mapping[str, int | None]]": _mapping(_mapping(_or_none(_is_whole))),
    "RunStatus": get_args(RunStatus).__contains__,
    "TaskStatus": get_args(TaskStatus).__contains__,
    "BlockReason": get_args(BlockReason).__contains__,
}
