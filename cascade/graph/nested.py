"""The walker over nested values: finds the placeholders in them, and puts values in their place.

A value is compiled once into a :class:`Template`: its placeholders, and the steps that rebuild the containers
around them, innermost first. Nothing recurses, so depth is no limit, and a container that occurs twice is
rebuilt once.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

import attrs

from cascade.model.errors import GraphError
from cascade.model.placeholders import Placeholder
from cascade.model.tasks import Partial, Task

T = TypeVar("T")
# Work that pauses now and then so that others can run, and gives its result in the end.
Steps = Generator[None, None, T]


def finish(steps: Steps[T]) -> T:
    """The result of *steps*, made without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the generator's annotation says it


class Kind(enum.Enum):
    """How the walker treats values of a type."""

    LEAF = enum.auto()
    PLACEHOLDER = enum.auto()
    LIST = enum.auto()
    TUPLE = enum.auto()
    SET = enum.auto()
    DICT = enum.auto()
    RECORD = enum.auto()


# Types whose values contain nothing. The most frequent case by far, so it is one membership test.
LEAVES: Final[frozenset[type]] = frozenset(
    {bool, int, float, complex, str, bytes, bytearray, type(None), range, type, type(Ellipsis)}
)
_MOST_TYPES: Final = 4096
_kinds: dict[type, Kind] = {}


def kind_of(cls: type) -> Kind:
    """How values of class *cls* are treated."""
    kind = _kinds.get(cls)
    if kind is None:
        if len(_kinds) >= _MOST_TYPES:
            _kinds.clear()
        kind = _kinds[cls] = _classify(cls)
    return kind


def _classify(cls: type) -> Kind:
    if issubclass(cls, Placeholder):
        return Kind.PLACEHOLDER
    if issubclass(cls, (Task, Partial, enum.Enum)):
        return Kind.LEAF
    for base, kind in ((list, Kind.LIST), (tuple, Kind.TUPLE), (dict, Kind.DICT)):
        if issubclass(cls, base):
            return kind
    if issubclass(cls, (set, frozenset)):
        return Kind.SET
    if attrs.has(cls) or dataclasses.is_dataclass(cls):
        return Kind.RECORD
    return Kind.LEAF


def field_names(cls: type) -> list[str]:
    """The fields of an attrs class or a dataclass."""
    if attrs.has(cls):
        return [field.name for field in attrs.fields(cls)]
    return [field.name for field in dataclasses.fields(cls)]


def contents(value: Any, kind: Kind) -> tuple[Sequence[Any], list[Any]]:
    """Keys and values inside a container; the keys are positions, dict keys or field names."""
    if kind is Kind.DICT:
        return list(value.keys()), list(value.values())
    if kind is Kind.RECORD:
        names = [name for name in field_names(type(value)) if hasattr(value, name)]
        return names, [getattr(value, name) for name in names]
    items = list(value)
    return range(len(items)), items


@attrs.frozen(eq=False)
class Step:
    """How one container is rebuilt.

    Attributes:
        kind: What it is.
        original: The container as written; what is not replaced comes from here.
        items: Of a set: its members in the order in which they were walked.
        keys: What is replaced: positions, keys or field names.
        sources: What with, as registers: first the placeholders, then the results of earlier steps.
    """

    kind: Kind
    original: Any
    items: list[Any]
    keys: Sequence[Any]
    sources: Sequence[int]

    def rebuild(self, registers: Sequence[Any]) -> Any:
        """The container with *registers* in their places."""
        if self.kind is Kind.DICT or self.kind is Kind.RECORD:
            return self._rebuild_by_name(registers)
        if len(self.keys) == len(self.items):
            items = [registers[source] for source in self.sources]
        else:
            items = self.items.copy()
            for key, source in zip(self.keys, self.sources, strict=True):
                items[key] = registers[source]
        return _like(self.original, self.kind, items)

    def _rebuild_by_name(self, registers: Sequence[Any]) -> Any:
        rebuilt = copy.copy(self.original)
        for key, source in zip(self.keys, self.sources, strict=True):
            if self.kind is Kind.DICT:
                rebuilt[key] = registers[source]
            else:
                object.__setattr__(rebuilt, key, registers[source])
        if self.kind is Kind.RECORD:
            _forget_derived(rebuilt)
        return rebuilt


def _forget_derived(record: Any) -> None:
    """Drop what *record* has computed from the fields as they were: cached properties, and its hash."""
    attributes = getattr(record, "__dict__", {})
    for name in [name for name in attributes if isinstance(getattr(type(record), name, None), cached_property)]:
        del attributes[name]
    if "_attrs_cached_hash" in attributes:
        attributes["_attrs_cached_hash"] = None  # attrs computes it anew


def _like(original: Any, kind: Kind, items: list[Any]) -> Any:
    cls = type(original)
    if cls is list:
        return items
    if kind is Kind.LIST:
        rebuilt = copy.copy(original)
        rebuilt[:] = items
        return rebuilt
    if issubclass(cls, set):
        rebuilt = copy.copy(original)
        rebuilt.clear()
        rebuilt.update(items)
        return rebuilt
    # Subclasses may have a constructor of their own, which takes something else.
    base = tuple if kind is Kind.TUPLE else frozenset
    rebuilt = base.__new__(cls, items)
    if hasattr(rebuilt, "__dict__"):
        vars(rebuilt).update(vars(original))
    return rebuilt


@attrs.frozen(eq=False)
class Template:
    """A nested value with placeholders in it.

    Attributes:
        holes: The distinct placeholders, in the order in which they were met.
        steps: How to rebuild the containers around them; the last one gives the whole.
        is_row: Whether it is one container of nothing but distinct placeholders, maybe of very many.
    """

    holes: tuple[Placeholder, ...]
    steps: tuple[Step, ...]
    is_row: bool

    def fill(self, values: Iterable[Any]) -> Any:
        """The nested value with *values*, one for each hole, in the placeholders' places.

        Raises:
            TypeError: If a value cannot stand where it should, such as a list in a set.
        """
        registers = list(values)
        if self.is_row:
            return _like(self.steps[0].original, self.steps[0].kind, registers)
        for step in self.steps:
            registers.append(step.rebuild(registers))
        return registers[-1]


# Items walked between two pauses of a walk.
PAUSE_EVERY: Final = 128


def compile_nested(value: Any, *, may_circle: bool = False) -> Template | Placeholder | None:
    """What has to be filled in to get *value*: see :func:`compile_steps`."""
    return finish(compile_steps(value, may_circle=may_circle))


# Puts the members of a set into an order.
Order = Callable[[list[Any]], Steps[list[Any]]]


def _as_given(items: list[Any]) -> Steps[list[Any]]:
    return items
    yield  # makes it a generator


def compile_steps(
    value: Any, order: Order = _as_given, *, may_circle: bool = False
) -> Steps[Template | Placeholder | None]:
    """Compile *value*, pausing every now and then so that the caller can let others run.

    Args:
        value: Anything.
        order: Puts the members of a set into an order that does not depend on hashes.
        may_circle: Whether plain data may contain itself, as what a task returns may.

    Returns:
        The placeholder, if *value* is one; the template, if it is a container with placeholders in it; ``None``,
        if it is plain data.

    Raises:
        GraphError: If a container contains itself, or a placeholder is a dict key.
    """
    cls = type(value)
    if cls in LEAVES:
        return None
    kind = kind_of(cls)
    if kind is Kind.PLACEHOLDER:
        return value  # type: ignore[no-any-return]  # its kind says so
    if kind is Kind.LEAF or not _may_contain(value, kind):
        return None
    return (yield from _Compiler(order, may_circle).compile(value))


def _may_contain(value: Any, kind: Kind) -> bool:
    """A test at C speed that most containers of plain data fail."""
    if kind is Kind.RECORD:
        return True
    if kind is Kind.DICT:
        return not LEAVES.issuperset(map(type, value.values())) or not LEAVES.issuperset(map(type, value))
    return not LEAVES.issuperset(map(type, value))


@attrs.define(eq=False)
class _Open:
    """A container on the way down, and how far its contents have been walked."""

    value: Any
    kind: Kind
    keys: Sequence[Any]
    items: list[Any]
    position: int = 0
    # What is to be replaced: keys, and the registers to replace them from.
    keys_replaced: list[Any] = attrs.field(factory=list)
    sources: list[int] = attrs.field(factory=list)


# What is known of a container that has been walked: the (negative) number of its step, or that it has none.
_CONSTANT: Final = 0


@attrs.define(eq=False)
class _Compiler:
    """One walk. Registers of steps are negative until the number of holes is known."""

    order: Order
    may_circle: bool
    holes: dict[Placeholder, int] = attrs.field(factory=dict)
    steps: list[Step] = attrs.field(factory=list)
    walked: dict[int, int] = attrs.field(factory=dict)
    path: list[_Open] = attrs.field(factory=list)
    on_path: set[int] = attrs.field(factory=set)
    # Something that contains itself, if that was met.
    circle: Any = None

    def compile(self, value: Any) -> Steps[Template | None]:
        yield from self._enter(value)
        while self.path:
            inner = self._advance(self.path[-1])
            if inner is not None:
                yield from self._enter(inner)
            yield
        if self.circle is not None and (self.holes or not self.may_circle):
            raise GraphError(f"a {type(self.circle).__name__} among the arguments contains itself")
        if not self.holes:
            return None
        count = len(self.holes)
        steps: list[Step] = []
        for step in self.steps:
            sources: list[int] = []
            for start in range(0, len(step.sources), PAUSE_EVERY):
                part = step.sources[start : start + PAUSE_EVERY]
                sources += [s - 1 if s > 0 else count - s - 1 for s in part]
                if start:
                    yield
            steps.append(attrs.evolve(step, sources=sources))
        is_row = len(steps) == 1 and count == len(steps[0].sources) == len(steps[0].items)
        return Template(tuple(self.holes), tuple(steps), is_row)

    def _enter(self, value: Any) -> Steps[None]:
        kind = kind_of(type(value))
        keys, items = contents(value, kind)
        if kind is Kind.SET and len(items) > 1:
            items = yield from self.order(items)
        elif kind is Kind.DICT:
            _check_keys(keys)
        self.path.append(_Open(value, kind, keys, items))
        self.on_path.add(id(value))

    def _advance(self, top: _Open) -> Any:
        """Walk on in *top* to a container in it that has to be walked first, which is returned, or to a pause."""
        pause = min(top.position + PAUSE_EVERY, len(top.items))
        items, holes = top.items, self.holes
        for position in range(top.position, pause):
            item = items[position]
            cls = type(item)
            if cls in LEAVES:
                continue
            kind = _kinds.get(cls) or kind_of(cls)
            if kind is Kind.PLACEHOLDER:
                top.keys_replaced.append(top.keys[position])
                top.sources.append(holes.setdefault(item, len(holes) + 1))
            elif kind is not Kind.LEAF:
                known = self.walked.get(id(item))
                if known is None and id(item) in self.on_path:
                    self.circle = item  # plain data may refer to itself, as trees with parents do
                    continue
                if known is None:
                    top.position = position
                    return item
                if known != _CONSTANT:
                    top.keys_replaced.append(top.keys[position])
                    top.sources.append(known)
        top.position = pause
        if pause == len(items):
            self._leave(top)
        return None

    def _leave(self, top: _Open) -> None:
        self.path.pop()
        self.on_path.discard(id(top.value))
        if not top.sources:
            self.walked[id(top.value)] = _CONSTANT
            return
        by_name = top.kind is Kind.DICT or top.kind is Kind.RECORD
        self.steps.append(Step(top.kind, top.value, [] if by_name else top.items, top.keys_replaced, top.sources))
        self.walked[id(top.value)] = -len(self.steps)


def _check_keys(keys: Sequence[Any]) -> None:
    for key in keys:
        if type(key) not in LEAVES and compile_nested(key) is not None:
            raise GraphError(f"{key!r} is the key of a dict; placeholders may only stand in its values")
