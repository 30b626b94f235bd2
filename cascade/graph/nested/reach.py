"""Whether a look follows what values of a type refer to."""

from __future__ import annotations

import enum
from collections import deque
from gc import get_referents
from typing import Any, Final

from cascade.graph.nested.kinds import MOST_TYPES, Kind, class_defaults, kind_of


class Reach(enum.Enum):
    """Whether a look follows what values of a type refer to.

    ``SIZED``: yes, and ``len`` tells how much that is. ``OPEN``: yes, and it is assumed to be little.
    """

    NOTHING = enum.auto()
    PLACEHOLDER = enum.auto()
    SIZED = enum.auto()
    OPEN = enum.auto()


BUILTINS: Final[tuple[Any, ...]] = (list, tuple, dict, set, frozenset, deque)
_BUILTIN_LENGTHS: Final = frozenset(cls.__len__ for cls in BUILTINS)
# By class, as far as known.
reaches: dict[type, Reach] = {}


def reach_of(cls: type) -> Reach:
    """The reach of class *cls*; hot paths look into :data:`reaches` first."""
    reach = reaches.get(cls)
    if reach is None:
        if len(reaches) >= MOST_TYPES:
            reaches.clear()
        reach = reaches[cls] = _classify(cls)
    return reach


def _classify(cls: type) -> Reach:
    kind = kind_of(cls)
    if kind is Kind.LEAF:
        return Reach.NOTHING
    # What the class holds for all its instances is not among what an instance refers to.
    if kind is Kind.PLACEHOLDER or any(map(_leads_to_placeholders, class_defaults(cls))):
        return Reach.PLACEHOLDER
    is_sized = kind is not Kind.RECORD and getattr(cls, "__len__", None) in _BUILTIN_LENGTHS
    return Reach.SIZED if is_sized else Reach.OPEN


def _leads_to_placeholders(value: Any) -> bool:
    met = {id(value): value}
    pending = [value]
    while pending:
        item = pending.pop()
        kind = kind_of(type(item))
        if kind is Kind.PLACEHOLDER:
            return True
        if kind is not Kind.LEAF:
            fresh = {id(inner): inner for inner in get_referents(item) if id(inner) not in met}
            met |= fresh
            pending += fresh.values()
    return False


def size_of(value: Any) -> int:
    """How many items *value* has, if that can be told without running code of its class; otherwise 0."""
    return len(value) if reach_of(type(value)) is Reach.SIZED else 0
