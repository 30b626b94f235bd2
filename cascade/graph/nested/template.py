"""Nested values with placeholders in them, compiled so that they can be filled in.

A value is compiled once into a :class:`Template`: its placeholders, and the steps that rebuild the containers
around them, innermost first. Nothing recurses, so depth is no limit, and a container that occurs twice is
rebuilt once.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs

from cascade.graph.nested.kinds import LEAVES, Kind, contents, kind_of, kinds
from cascade.graph.nested.look import glance, look_steps
from cascade.graph.nested.records import UnfitError, with_fields
from cascade.graph.nested.seen import Hold
from cascade.graph.nested.steps import PAUSE_EVERY, Steps, finish
from cascade.model.errors import GraphError
from cascade.model.placeholders import Placeholder


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
            values = {key: registers[source] for key, source in zip(self.keys, self.sources, strict=True)}
            return (
                with_fields(self.original, values)
                if self.kind is Kind.RECORD
                else _dict_with(self.original, values)
            )
        if len(self.keys) == len(self.items):
            items = [registers[source] for source in self.sources]
        else:
            items = self.items.copy()
            for key, source in zip(self.keys, self.sources, strict=True):
                items[key] = registers[source]
        return _like(self.original, self.kind, items)


def _dict_with(original: Any, values: dict[Any, Any]) -> Any:
    if isinstance(original, MappingProxyType):
        return MappingProxyType(original.copy() | values)
    rebuilt = copy.copy(original)
    for key, value in values.items():
        rebuilt[key] = value
    return rebuilt


def _like(original: Any, kind: Kind, items: list[Any]) -> Any:
    """A container like *original*, with *items* in it instead.

    Subclasses may have a constructor of their own, which takes something else.
    """
    cls = type(original)
    if cls is list:
        return items
    if kind is Kind.TUPLE or (kind is Kind.SET and not issubclass(cls, set)):
        return _immutable(original, tuple if kind is Kind.TUPLE else frozenset, items)
    if isinstance(original, deque):
        return _deque(original, items)
    rebuilt = copy.copy(original)
    rebuilt.clear()
    if kind is Kind.SET:
        rebuilt.update(_members(items))
    else:
        rebuilt.extend(items)
    return rebuilt


def _immutable(original: Any, base: Any, items: list[Any]) -> Any:
    rebuilt = base.__new__(type(original), items if base is tuple else _members(items))
    if hasattr(rebuilt, "__dict__"):
        vars(rebuilt).update(vars(original))
    return rebuilt


def _deque(original: deque[Any], items: list[Any]) -> Any:
    # Copied, a deque of a subclass has lost its attributes, or its constructor has been called.
    rebuilt = type(original).__new__(type(original))
    deque.__init__(rebuilt, items, original.maxlen)
    if hasattr(rebuilt, "__dict__"):
        vars(rebuilt).update(vars(original))
    return rebuilt


def _members(items: list[Any]) -> set[Any]:
    try:
        return set(items)
    except TypeError as error:
        raise UnfitError(f"a value cannot be a member of a set: {error}") from error


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


# Puts the members of a set into an order.
Order = Callable[[list[Any]], Steps[list[Any]]]


def _as_given(items: list[Any]) -> Steps[list[Any]]:
    return items
    yield  # makes it a generator


def compile_nested(value: Any) -> Template | Placeholder | None:
    """What has to be filled in to get *value*: see :func:`compile_steps`."""
    return finish(compile_steps(value))


def compile_steps(
    value: Any, order: Order = _as_given, hold: Hold | None = None
) -> Steps[Template | Placeholder | None]:
    """Compile *value*, pausing every fraction of a millisecond.

    Args:
        value: Anything.
        order: Puts the members of a set into an order that does not depend on hashes.
        hold: What large plain data is remembered by.

    Returns:
        The placeholder, if *value* is one; the template, if it is a container with placeholders in it; ``None``,
        if it is plain data, which may contain itself.

    Raises:
        GraphError: If a container with placeholders in it contains itself, or a placeholder is a dict key.
    """
    if isinstance(value, Placeholder):
        return value
    is_plain = glance(value)
    suspects = None
    if is_plain is None:
        hold = Hold() if hold is None else hold
        look = yield from look_steps(value, hold.seen, is_thorough=True)
        is_plain, suspects = look.is_plain, look.suspects
        hold.add(look.large)
    if is_plain:
        return None
    return (yield from _Compiler(order, suspects).compile(value))


def has_placeholders(value: Any, hold: Hold) -> Steps[bool]:
    """Whether there are placeholders in *value*; pauses every fraction of a millisecond.

    Args:
        value: Anything.
        hold: What large plain data is remembered by.

    Raises:
        GraphError: If there are, and no value can be put together with them.
    """
    is_plain = glance(value)
    if is_plain is None:
        look = yield from look_steps(value, hold.seen)
        is_plain = look.is_plain
        hold.add(look.large)
    return not is_plain and (yield from compile_steps(value, hold=hold)) is not None


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
    """One walk. Registers of steps are negative until the number of holes is known.

    Attributes:
        order: Puts the members of sets into an order.
        suspects: The ``id`` of each container that need be walked; ``None``: all.
    """

    order: Order
    suspects: frozenset[int] | None
    holes: dict[Placeholder, int] = attrs.field(factory=dict)
    steps: list[Step] = attrs.field(factory=list)
    walked: dict[int, int] = attrs.field(factory=dict)
    path: list[_Open] = attrs.field(factory=list)
    on_path: set[int] = attrs.field(factory=set)
    # Containers that contain themselves.
    circles: set[int] = attrs.field(factory=set)

    def compile(self, value: Any) -> Steps[Template | None]:
        """The template of *value*, if there is anything to fill in."""
        yield from self._enter(value)
        while self.path:
            inner = self._advance(self.path[-1])
            if inner is not None:
                yield from self._enter(inner)
            yield
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
            steps.append(Step(step.kind, step.original, step.items, step.keys, sources))
        is_row = len(steps) == 1 and count == len(steps[0].sources) == len(steps[0].items)
        return Template(tuple(self.holes), tuple(steps), is_row)

    def _enter(self, value: Any) -> Steps[None]:
        kind = kind_of(type(value))
        keys, items = contents(value, kind)
        if kind is Kind.SET and len(items) > 1:
            items = yield from self.order(items)
        elif kind is Kind.DICT:
            yield from _check_keys(keys)
        self.path.append(_Open(value, kind, keys, items))
        self.on_path.add(id(value))

    def _advance(self, top: _Open) -> Any:
        """Walk on in *top* to a container in it that has to be walked first, which is returned, or to a pause."""
        pause = min(top.position + PAUSE_EVERY, len(top.items))
        items, holes, suspects = top.items, self.holes, self.suspects
        for position in range(top.position, pause):
            item = items[position]
            cls = type(item)
            if cls in LEAVES:
                continue
            kind = kinds.get(cls) or kind_of(cls)
            if kind is Kind.PLACEHOLDER:
                top.keys_replaced.append(top.keys[position])
                top.sources.append(holes.setdefault(item, len(holes) + 1))
                continue
            if kind is Kind.LEAF or (suspects is not None and id(item) not in suspects):
                continue
            known = self.walked.get(id(item))
            if known is None:
                if id(item) in self.on_path:  # plain data may refer to itself, as trees with parents do
                    self.circles.add(id(item))
                    continue
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
        if id(top.value) in self.circles:
            raise GraphError(
                f"a {type(top.value).__name__} contains itself, so nothing can be put in the place of "
                f"{next(iter(self.holes))!r}, which it contains, too"
            )
        by_name = top.kind is Kind.DICT or top.kind is Kind.RECORD
        self.steps.append(Step(top.kind, top.value, [] if by_name else top.items, top.keys_replaced, top.sources))
        self.walked[id(top.value)] = -len(self.steps)


def _check_keys(keys: Sequence[Any]) -> Steps[None]:
    for number, key in enumerate(keys):
        if type(key) not in LEAVES and (yield from has_placeholders(key, Hold())):
            raise GraphError(f"{key!r} is the key of a dict; placeholders may only stand in its values")
        if not number % PAUSE_EVERY:
            yield
