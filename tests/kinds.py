"""Types for parameters, of all sorts."""

from __future__ import annotations

import dataclasses
import enum
import sys
from typing import Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar

import attrs

if sys.version_info >= (3, 12):
    from typing import TypeAliasType
else:
    from typing_extensions import TypeAliasType

T = TypeVar("T")
Port = NewType("Port", int)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "quick"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.frozen
class Server:
    host: str
    port: int = attrs.field(default=80, converter=int)
    tags: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.port < 0:
            raise ValueError("ports begin at 0")


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Pair(Generic[T]):
    left: T
    right: T


class Row(TypedDict):
    id: int
    name: str


class Spot(NamedTuple):
    x: int
    y: float


class Celsius:
    def __init__(self, text: str) -> None:
        self.degrees = float(text.removesuffix("C"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and self.degrees == other.degrees

    def __hash__(self) -> int:
        return hash(self.degrees)


class Picky(list[Any]):
    """Refuses all items."""

    def __init__(self, items: object) -> None:
        raise KeyError(items)


class PickyMapping(dict[str, Any]):
    """Refuses all pairs."""

    def __init__(self, pairs: object) -> None:
        raise RuntimeError


Numbers = TypeAliasType("Numbers", list[int])
ListOf = TypeAliasType("ListOf", list[T], type_params=(T,))


def even(text: str) -> int:
    if int(text) % 2:
        raise ValueError(f"{text} is odd")
    return int(text)


LITERAL_NONE: Any = Literal[Level.LOW, None]  # noqa: PYI061
LITERAL_WORD: Any = Literal["none", None]  # noqa: PYI061
OLD_OPTIONAL: Any = Optional[int]  # noqa: UP045  # the old way to write it means the same
