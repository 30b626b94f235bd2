"""A value taken apart: what its digest is made of."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from types import MemberDescriptorType
from typing import Any, Final, NamedTuple

from cascade.model.errors import CascadeError


class NotDigestibleError(CascadeError, TypeError):
    """A value has no digest, so it cannot be compared or used in a key.

    Attributes:
        path: Where the value stands, such as ``config['model'].layers[0]``.
        kind: Its type.
        reason: Why, if the type could have a digest; otherwise empty.
    """

    def __init__(self, path: str, kind: type, reason: str = "") -> None:
        self.path = path
        self.kind = kind
        self.reason = reason
        super().__init__(
            f"{path or 'the value'} is a {kind.__module__}.{kind.__qualname__}, which has no canonical hash"
            f"{f' ({reason})' if reason else ''}; {self.remedy}"
        )

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return (
            "use plain data, an attrs class or a dataclass, or say what stands for it with "
            "cascade.cache.register_digest"
        )


class Layout(enum.Enum):
    """How the items of a value stand in it."""

    SEQUENCE = enum.auto()  # in order
    SET = enum.auto()  # in no order
    MAPPING = enum.auto()  # keys and values in turn; the pairs in no order
    RECORD = enum.auto()  # by name


class Parts(NamedTuple):
    """A value taken apart.

    Attributes:
        tag: Which kind of value it is.
        facts: What is known of it at once, as many for each value of the kind.
        items: The values in it.
        layout: How these stand in it.
        names: Of a record: what its items are called; empty for one that is the same value seen another way.
    """

    tag: str
    facts: Sequence[bytes | memoryview] = ()
    items: Sequence[Any] = ()
    layout: Layout = Layout.SEQUENCE
    names: Sequence[str] = ()


# Takes values of one class apart; may raise anything about a value that it cannot take apart.
Form = Callable[[Any], Parts]


class Bare(NamedTuple):
    """A value seen without its class, or as one of a base of its class."""

    value: Any
    form: Form


def record(tag: str, fields: Mapping[str, Any], facts: Sequence[bytes | memoryview] = ()) -> Parts:
    """The parts of a record with these *fields*."""
    return Parts(tag, facts, list(fields.values()), Layout.RECORD, list(fields))


def mapping(tag: str, items: Iterable[tuple[Any, Any]]) -> Parts:
    """The parts of a mapping whose order does not matter."""
    return Parts(tag, (), [part for pair in items for part in pair], Layout.MAPPING)


_DERIVED: Final = frozenset({"__notes__", "_attrs_cached_hash"})


def attributes_of(value: Any, base: type) -> dict[str, Any]:
    """What *value* holds beside what makes it a *base*: instance attributes and slots of subclasses, by name.

    Results of cached properties are left out, as they follow from the rest, and so are the notes of an exception,
    which say where it was raised.
    """
    cls = type(value)
    found = {
        name: held for name, held in getattr(value, "__dict__", {}).items()
        if not isinstance(getattr(cls, name, None), cached_property)
    }  # fmt: skip
    for owner in cls.__mro__[: cls.__mro__.index(base)]:
        slots = [(name, slot) for name, slot in vars(owner).items() if isinstance(slot, MemberDescriptorType)]
        for name, slot in slots:
            with suppress(AttributeError):  # not set
                found[name] = slot.__get__(value, cls)
    return {name: held for name, held in sorted(found.items()) if name not in _DERIVED}
