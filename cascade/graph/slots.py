"""Where the values of a graph come from at run time: operands, and the slots in which they find them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import attrs

from cascade.graph.nested import Template


class Slots(Protocol):
    """Where operands find their values: the slots of a frame."""

    @property
    def values(self) -> list[Any]:
        """What each node gave."""
        ...

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The resolved Params and Envs."""
        ...

    def injected(self, name: str) -> Any:
        """The open resource called *name*."""
        ...


@attrs.frozen
class Constant:
    """A plain value."""

    value: Any

    def resolve(self, slots: Slots) -> Any:
        return self.value


@attrs.frozen
class Given:
    """An input of the flow: a Param or Env, by its key in the run's resolved inputs."""

    key: str

    def resolve(self, slots: Slots) -> Any:
        return slots.inputs[self.key]


@attrs.frozen
class Injected:
    """A resource."""

    name: str

    def resolve(self, slots: Slots) -> Any:
        return slots.injected(self.name)


@attrs.frozen(eq=False)
class Nested:
    """A container with operands in it.

    Attributes:
        has_only_nodes: Whether each operand is a node; then a gather, maybe of very many, is quickly done.
    """

    template: Template
    operands: tuple[Operand, ...]
    has_only_nodes: bool

    def resolve(self, slots: Slots) -> Any:
        if self.has_only_nodes:
            values = slots.values
            return self.template.fill([values[source] for source in cast("tuple[int, ...]", self.operands)])
        return self.template.fill(resolve(operand, slots) for operand in self.operands)


# Where a value comes from at run time; a bare int is the index of the node that gives it, which is nearly always
# the case, and cheapest to tell and to follow.
Operand = int | Constant | Given | Injected | Nested


def resolve(operand: Operand, slots: Slots) -> Any:
    """The value of *operand*, all nodes it refers to having settled."""
    if type(operand) is int:
        return slots.values[operand]
    return operand.resolve(slots)  # type: ignore[union-attr]  # the exact-type test above is for speed


def sources_of(operand: Operand) -> Iterator[int]:
    """The nodes that *operand* refers to, in order, repeats included."""
    pending = [operand]
    while pending:
        operand = pending.pop()
        if isinstance(operand, int):
            yield operand
        elif isinstance(operand, Nested):
            pending.extend(reversed(operand.operands))


def distinct(indices: Iterator[int] | Sequence[int]) -> tuple[int, ...]:
    """*indices* without repeats, in order."""
    return tuple(dict.fromkeys(indices))
