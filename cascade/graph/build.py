"""From lazies to a graph, iteratively: a chain of a hundred thousand calls is as good as one of two.

Calls are visited depth first, arguments in order, and a node gets its number when all it needs has one. So
sources have smaller indices than their consumers, ids depend on the flow alone, and one pass suffices for almost
everything. ``numbering`` keeps the nodes that have a number; ``parts`` finds what stands in a call, ``operands``
looks up what has a number by then, and ``node_maker`` makes a node of these. Where a flow reaches several chained
copies of one call, it is built again with what they say together (``merge``); flows without such copies pay
nothing for it. Building is a generator that pauses every few
hundred values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from cascade.graph.identity import SetOrder
from cascade.graph.merge import Copies, identity_of
from cascade.graph.nested import LEAVES, PAUSE_EVERY, Hold, Steps, finish
from cascade.graph.node_maker import NodeMaker
from cascade.graph.nodes import AnyNode, Graph, distinct, sources_of
from cascade.graph.numbering import Numbering
from cascade.graph.operands import Operands
from cascade.graph.parts import CallParts, Finder, RouterParts, calls_in
from cascade.model.errors import GraphError
from cascade.model.fallbacks import OrElse, OutcomeOf, Race
from cascade.model.flow import Router
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import NOTHING_SAID

# In the place of a node's number: not met yet; met, and what it needs is being visited.
_UNSEEN: Final = -2
_OPEN: Final = -1


def build(target: Any) -> Graph:
    """The graph of *target*: a lazy, a Router, or a container with them in it.

    Raises:
        GraphError: If the flow contradicts itself or has a cycle.
    """
    return finish(build_steps(target, Hold()))


def build_steps(target: Any, hold: Hold) -> Steps[Graph]:
    """Build as :func:`build` does, pausing every few hundred values so that the caller can let others run.

    Args:
        target: What to build.
        hold: What large literal arguments are remembered by.
    """
    copies = Copies()
    graph = yield from _Builder(copies, hold).build(target)
    while (yield from copies.must_merge()):
        graph = yield from _Builder(copies, hold).build(target)
    return graph


@attrs.define(eq=False)
class _Builder:
    """One building: the walk through the calls of a flow.

    Calls are visited depth first, arguments in order, and numbered when all they need has a number: so indices,
    and with them node ids, depend on the flow alone.
    """

    copies: Copies
    hold: Hold
    finder: Finder = attrs.field(init=False)
    numbering: Numbering = attrs.field(init=False, factory=Numbering)
    # That of the numbering, for the walk to have at hand.
    index: dict[Placeholder, int] = attrs.field(init=False)
    operands: Operands = attrs.field(init=False)
    maker: NodeMaker = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.finder = Finder(SetOrder(), self.hold)
        self.index = self.numbering.index
        self.operands = Operands(self.index)
        self.maker = NodeMaker(self.numbering, self.operands, self.copies)

    def build(self, target: Any) -> Steps[Graph]:
        part = yield from self.finder.part(target)
        stack: list[Any] = [*calls_in(part)][::-1]
        visited = 0
        while stack:
            visited += 1
            if not visited % PAUSE_EVERY:
                yield
            top = stack.pop()
            if type(top) is LazyResult and self._visit_plain(top, stack):
                continue
            if type(top) is tuple:
                yield from self._finish(*top)
            else:
                yield from self._visit(top, stack)
        operand = yield from self.operands.of_part(part, "the target")
        members = distinct(sources_of(operand))
        done, met = self.numbering, self.operands
        return Graph(
            done.rows, done.sources, done.ordinals, done.consumers, operand, members, met.inputs, met.injections,
            done.counts,
        )  # fmt: skip

    def _visit_plain(self, call: LazyResult[Any], stack: list[Any]) -> bool:
        """Visit a call of which nothing is said and whose arguments are leaves and such calls.

        Most calls are like that. One comes by once if what it needs is numbered, otherwise twice: it goes back
        below what it needs, open, and is found open when that is done.

        Returns:
            Whether it is such a call; then it has been dealt with.
        """
        task = call.task
        if task.policies is not NOTHING_SAID or task.is_pure or call in self.copies.met:
            return False
        index = self.index
        known = index.get(call, _UNSEEN)
        if known >= 0:
            return True
        sources: list[int] = []
        missing: list[LazyResult[Any]] = []
        for value in call.args:
            kind = type(value)
            if kind in LEAVES:
                continue
            if kind is not LazyResult:
                return False
            source = index.get(value, _UNSEEN)
            if source < 0:
                missing.append(value)
            else:
                sources.append(source)
        if call.kwargs and not LEAVES.issuperset(map(type, call.kwargs.values())):
            return False
        if missing:
            if known == _OPEN:
                raise _cycle(missing[0], [*stack, call], index)
            index[call] = _OPEN
            stack.append(call)
            stack.extend(reversed(missing))
        else:
            self.numbering.place(call, tuple(sources))
        return True

    def _visit(self, call: Placeholder, stack: list[Any]) -> Steps[None]:
        root = identity_of(call)
        is_known = root in self.index
        self.copies.note(call, root, is_known)
        if is_known:
            return
        self.index[root] = _OPEN
        parts = yield from self._find_parts(call)
        stack.append((call, root, parts))
        children: list[Placeholder] = []
        for child in parts.children():
            children.append(child)
            if not len(children) % PAUSE_EVERY:
                yield
        while children:
            child = children.pop()
            if not len(children) % PAUSE_EVERY:
                yield
            child_root = identity_of(child)
            known = self.index.get(child_root)
            if known == _OPEN:
                raise _cycle(child_root, stack, self.index)
            if known is None or not self.copies.has(child, child_root):
                stack.append(child)

    def _find_parts(self, call: Placeholder) -> Steps[CallParts | RouterParts]:
        match call:
            case Router():
                return (yield from self.finder.router(call))
            case OutcomeOf():
                return (yield from self.finder.outcome(call))
            case OrElse():
                return (yield from self.finder.or_else(call))
            case Race():
                return (yield from self.finder.race(call))
        call = cast("LazyResult[Any]", call)
        return (yield from self.finder.call(call, self.copies.policies_of(call)))

    def _finish(self, call: Placeholder, root: Placeholder, parts: CallParts | RouterParts) -> Steps[None]:
        node: AnyNode | int
        if isinstance(parts, RouterParts):
            node = yield from self.maker.junction(call, parts)
        else:
            node = yield from self.maker.node(cast("LazyResult[Any]", call), parts)
        if isinstance(node, int):
            self.index[root] = node
            return
        self.index[root] = node.index
        self.numbering.append(node, node.sources, node.ordinal)
        for start in range(0, len(node.sources), PAUSE_EVERY):
            self.numbering.add_consumer(node.sources[start : start + PAUSE_EVERY], node.index)
            if start:
                yield


def _cycle(closing: Placeholder, stack: list[Any], index: Mapping[Placeholder, int]) -> GraphError:
    calls = [item[0] if type(item) is tuple else item for item in stack]
    path = [call for call in dict.fromkeys(calls) if index.get(identity_of(call)) == _OPEN]
    first = next(place for place, call in enumerate(path) if identity_of(call) == closing)
    names = [call.task.name if isinstance(call, LazyResult) else repr(call) for call in path[first:]]
    words = " needs ".join([*names[:10], names[0]])
    return GraphError(
        f"the flow has a cycle: {words}; look for .after() on something downstream, or for a container that was "
        "changed after it had been passed to a call"
    )
