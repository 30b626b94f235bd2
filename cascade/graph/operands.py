"""From what was found in a call to operands: numbers of nodes, inputs, resources."""

from __future__ import annotations

from typing import Any

import attrs

from cascade.graph.identity import value_digest
from cascade.graph.merge import identity_of
from cascade.graph.nested import PAUSE_EVERY, Steps, Template
from cascade.graph.nodes import Patches
from cascade.graph.parts import Keyed, Part
from cascade.graph.slots import Constant, Given, Injected, Nested, Operand
from cascade.model.errors import GraphError
from cascade.model.fallbacks import OrElse, OutcomeOf, Race
from cascade.model.flow import Router
from cascade.model.inputs import Env, Inject, Param
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.typed.declared import Input
from cascade.model.typed.kinds import is_same


@attrs.define(eq=False)
class Operands:
    """Makes operands, and notes the inputs and resources that a graph needs.

    Attributes:
        index: By call (its root) or router, its number.
        inputs: The inputs met, by key.
        injections: The resources met, each with what needs it first.
    """

    index: dict[Placeholder, int]
    inputs: dict[str, Input[Any]] = attrs.field(factory=dict)
    injections: dict[str, str] = attrs.field(factory=dict)

    def of_part(self, part: Part, needed_by: str) -> Steps[Operand]:
        """The operand for *part*, which *needed_by* needs, as messages call it."""
        if isinstance(part, Constant):
            return part
        if not isinstance(part, Template):
            return self._of_placeholder(part, needed_by)
        operands: list[Operand] = []
        has_only_nodes = True
        for hole in part.holes:
            if type(hole) is LazyResult:
                operands.append(self.index[hole])
            else:
                operand = self._of_placeholder(hole, needed_by)
                has_only_nodes = has_only_nodes and type(operand) is int
                operands.append(operand)
            if not len(operands) % PAUSE_EVERY:
                yield
        return Nested(part, tuple(operands), has_only_nodes)

    def _of_placeholder(self, hole: Placeholder, needed_by: str) -> Operand:
        match hole:
            case LazyResult() | Router() | OutcomeOf() | OrElse() | Race():
                return self.index[identity_of(hole)]
            case Param():
                return self._given(f"param:{hole.name}", hole)
            case Env():
                return self._given(f"env:{hole.name}", hole)
            case Inject():
                self.injections.setdefault(hole.name, needed_by)
                return Injected(hole.name)
        raise TypeError(f"{hole!r} is a placeholder that graphs do not know")

    def _given(self, key: str, given: Input[Any]) -> Given:
        known = self.inputs.setdefault(key, given)
        if known is not given and not _agree(known, given):
            raise GraphError(f"two inputs are called {given.name!r} and differ: {known!r} and {given!r}")
        return Given(key)

    def of_group(self, group: Keyed, needed_by: str) -> Steps[Patches]:
        """The operands for the parts of *group*, with their keys."""
        found: list[tuple[Any, Operand]] = []
        for key, part in group:
            if type(part) is LazyResult:
                found.append((key, self.index[part]))
            else:
                found.append((key, (yield from self.of_part(part, needed_by))))
            if not len(found) % PAUSE_EVERY:
                yield
        return tuple(found)


def _agree(known: Input[Any], given: Input[Any]) -> bool:
    return known.agrees_with(given) and _is_one(known.default, given.default)


def _is_one(known: object, given: object) -> bool:
    """Whether two defaults are one: the same object, or of equal content. Never raises."""
    if known is given or type(known) is not type(given):
        return known is given
    try:
        return value_digest(known, "a default") == value_digest(given, "a default")
    except Exception:  # no digest; looking for one runs code of its class
        return is_same(known, given)
