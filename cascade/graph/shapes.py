"""Shapes: what is left of a flow when its literal arguments are taken away.

Flows of one shape have the same graph but for the calls in it. A loop whose turns look alike is built and planned
once: later turns put their calls into the graph of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar, cast

import attrs

from cascade.graph.merge import root_of
from cascade.graph.nested import LEAVES, PAUSE_EVERY, Hold, Steps, Template, glance, has_placeholders
from cascade.graph.nodes import Graph, MapNode, Node, Patches
from cascade.graph.slots import Nested, Operand
from cascade.model.errors import GraphError
from cascade.model.lazies import ChainedLazyResult, LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import NOTHING_SAID, UNSET, Policies

T = TypeVar("T")
# In the place of a call's number: met, and what it needs is being looked at.
_OPEN: Final = -1
_UNSEEN: Final = -2
# A mapped call is not simple.
_CALLS: Final = frozenset({LazyResult, ChainedLazyResult})
_FORGOTTEN: Final = cast("LazyResult[Any]", None)


@attrs.frozen(eq=False)
class Sketch:
    """A flow, taken apart.

    Attributes:
        shape: Equal for flows that differ in literal arguments only.
        calls: Its calls, in the order in which building numbers them.
    """

    shape: Hashable
    calls: list[LazyResult[Any]]

    def fits(self, graph: Graph) -> bool:
        """Whether *graph*, which was built of the same flow, has these calls and nothing else."""
        return len(graph.rows) == len(self.calls) and all(
            row is call or (type(row) is Node and row.call is call)
            for row, call in zip(graph.rows, self.calls, strict=True)
        )

    def fill(self, graph: Graph) -> None:
        """Put the calls into *graph*, which has the same shape and has been emptied: so its rows are nodes."""
        for row, call in zip(graph.rows, self.calls, strict=True):
            node = cast("Node", row)
            node.call = call
            if type(call) is not LazyResult and call.own.name is not (node.terms.hints.label or UNSET):
                label = None if call.own.name is UNSET else call.own.name
                node.terms = attrs.evolve(node.terms, hints=attrs.evolve(node.terms.hints, label=label))


def sketch_steps(target: object, hold: Hold) -> Steps[Sketch | None]:
    """The shape and the calls of *target*, if it is a call and all in it is simple; pauses now and then.

    Simple are calls of impure tasks, given lazies, lists and tuples of lazies, and values without any; about which
    nothing is said, or only how often and how long they are attempted, and what undoes them.
    Looking costs a fifth of building.

    Args:
        target: The flow.
        hold: What large literal arguments are remembered by.
    """
    if type(target) not in _CALLS:
        return None
    sketcher = _Sketcher()
    stack = [cast("LazyResult[Any]", target)]
    while stack:
        if not sketcher.visit(stack.pop(), stack):
            return None
        while sketcher.literals:
            if not (yield from _is_literal(sketcher.literals.pop(), hold)):
                return None
        if not len(sketcher.calls) % PAUSE_EVERY:
            yield
    if not sketcher.roots.isdisjoint(sketcher.index):
        return None
    return Sketch(tuple(sketcher.shapes), sketcher.calls)


@attrs.define(eq=False)
class _Sketcher:
    """One look at a flow, depth first, arguments in order, as building goes."""

    index: dict[LazyResult[Any], int] = attrs.field(factory=dict)
    calls: list[LazyResult[Any]] = attrs.field(factory=list)
    shapes: list[tuple[Any, ...]] = attrs.field(factory=list)
    # Arguments of which it is not known yet whether there are placeholders in them.
    literals: list[Any] = attrs.field(factory=list)
    # What the chained copies are copies of: none of them may be there twice, as what they say would be merged.
    roots: set[LazyResult[Any]] = attrs.field(factory=set)

    def visit(self, call: LazyResult[Any], stack: list[LazyResult[Any]]) -> bool:
        """Look at *call*, or put it back on *stack*, below what it needs; returns whether all is simple so far."""
        known = self.index.get(call, _UNSEEN)
        if known >= 0:
            return True
        missing: list[LazyResult[Any]] = []
        patches = self._patches(call, missing)
        if patches is None or (known == _UNSEEN and not self._is_simple(call)):
            return False
        if not missing:
            self.index[call] = len(self.calls)
            self.calls.append(call)
            self.shapes.append((call.task, *_words(call.own), *patches))
            return True
        self.index[call] = _OPEN
        stack.append(call)
        missing.reverse()
        stack.extend(missing)
        return known == _UNSEEN  # otherwise it needs itself

    def _is_simple(self, call: LazyResult[Any]) -> bool:
        task = call.task
        if task.is_pure:
            return False
        if task.policies is not NOTHING_SAID and not _says_no_lazies(task.policies):
            return False
        if call.parent is None:
            return call.own is NOTHING_SAID
        root = root_of(call)
        if root in self.roots or not _is_about_attempts(call.own):
            return False
        self.roots.add(root)
        return True

    def _patches(self, call: LazyResult[Any], missing: list[LazyResult[Any]]) -> list[Any] | None:
        """Where the lazies among the arguments are; those without a number are added to *missing*."""
        patches: list[Any] = []
        for position, value in enumerate(call.args):
            if type(value) not in LEAVES and not self._patch(position, value, patches, missing):
                return None
        for name, value in call.kwargs.items():
            if type(value) not in LEAVES and not self._patch(name, value, patches, missing):
                return None
        return patches

    def _patch(self, key: int | str, value: Any, patches: list[Any], missing: list[LazyResult[Any]]) -> bool:
        kind = type(value)
        if kind in _CALLS:
            patches.append((key, self._source(value, missing)))
            return True
        if kind in (list, tuple) and value and _CALLS.issuperset(map(type, value)):
            patches.append((key, kind, *[self._source(item, missing) for item in value]))
            return True
        if not glance(value):
            self.literals.append(value)
        return True

    def _source(self, call: LazyResult[Any], missing: list[LazyResult[Any]]) -> int:
        source = self.index.get(call, _UNSEEN)
        if source < 0:
            missing.append(call)
        return source


def _is_literal(value: Any, hold: Hold) -> Steps[bool]:
    try:
        return not (yield from has_placeholders(value, hold))
    except GraphError:
        return False  # which building will say as it should be said


def _words(own: Policies) -> tuple[Any, ...]:
    return () if own is NOTHING_SAID else (own.retry, own.timeout, own.undo, own.priority)


def _is_about_attempts(own: Policies) -> bool:
    """Whether *own* says nothing but how often and how long."""
    others = (own.cache, own.constraints, own.concurrency, own.on_skip)
    return all(word is UNSET for word in others) and not own.conditions and not own.after


def _says_no_lazies(policies: Policies) -> bool:
    """Whether what a task says of all its calls names nothing that must be computed."""
    amounts = policies.constraints
    return not isinstance(amounts, dict) or not any(isinstance(amount, Placeholder) for amount in amounts.values())


def emptied(graph: Graph) -> None:
    """Let go of all that *graph* keeps of the flow that it was built of, so that only its shape is left."""
    for index in range(len(graph.rows)):
        # A plain call is made a node, which knows its task without the call: it may be named after the turn.
        node = graph.rows[index] = graph.node(index)
        assert isinstance(node, Node)
        assert not isinstance(node, MapNode)
        node.call = _FORGOTTEN
        if node.operands is not node.sources:  # which are but numbers
            node.operands = tuple(map(_without_flow, node.operands))
        if node.named:
            node.named = _emptied(node.named)


def _emptied(patches: Patches) -> Patches:
    return tuple((key, _without_flow(operand)) for key, operand in patches)


def _without_flow(operand: Operand) -> Operand:
    if type(operand) is int:
        return operand
    assert isinstance(operand, Nested)
    if not operand.template.holes:
        return operand
    # A single list or tuple, all of whose items are replaced: what stood there need not be remembered.
    (step,) = operand.template.steps
    step = attrs.evolve(step, original=type(step.original)(), items=[None] * len(step.items))
    template = Template((), (step,), operand.template.is_row)
    return Nested(template, operand.operands, operand.has_only_nodes)


@attrs.define(eq=False)
class Shapes(Generic[T]):
    """What was prepared for shapes, each lent to one flow at a time; the least recently used go first.

    Attributes:
        most: How many are kept.
    """

    most: int = 64
    _known: dict[Hashable, T] = attrs.field(factory=dict)

    def take(self, shape: Hashable) -> T | None:
        """What there is for *shape*; nobody else gets it until it is put back."""
        return self._known.pop(shape, None)

    def take_all(self, which: Callable[[T], bool]) -> list[T]:
        """What there is of which *which* holds; nobody else gets it until it is put back."""
        return [self._known.pop(shape) for shape, prepared in tuple(self._known.items()) if which(prepared)]

    def put(self, shape: Hashable, prepared: T) -> None:
        """Keep *prepared* for *shape*."""
        self._known[shape] = prepared
        if len(self._known) > self.most:
            del self._known[next(iter(self._known))]
