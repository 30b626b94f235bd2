"""From lazies to a graph, iteratively: a chain of a hundred thousand calls is as good as one of two.

Calls are visited depth first, arguments in order, and a node gets its number when all it needs has one. So
sources have smaller indices than their consumers, ids depend on the flow alone, and one pass suffices for almost
everything. Where a flow reaches several chained copies of one call, it is built again with what they say together
(``merge.py``); flows without such copies pay nothing for it. Building is a generator that pauses every few
hundred values.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, cast

import attrs

from cascade.graph.identity import PureKey, SetOrder, pure_key, value_digest
from cascade.graph.merge import merged_policies, root_of
from cascade.graph.nested import LEAVES, PAUSE_EVERY, Hold, Steps, Template, finish
from cascade.graph.nodes import (
    NO_TERMS,
    AnyNode,
    Constant,
    Given,
    Graph,
    Injected,
    Junction,
    MapNode,
    Nested,
    Node,
    Operand,
    Patches,
    Route,
    Row,
    Terms,
    distinct,
    plain_node,
    sources_of,
)
from cascade.graph.parts import (
    CallParts,
    Finder,
    Keyed,
    Part,
    RouterParts,
    calls_in,
)
from cascade.model.errors import GraphError
from cascade.model.flow import Router
from cascade.model.inputs import Env, Inject, Param
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import NOTHING_SAID, UNSET, PerCall, Policies
from cascade.model.tasks import Task
from cascade.model.typed.declared import Input
from cascade.model.typed.kinds import is_same

# In the place of a node's number: not met yet; met, and what it needs is being visited.
_UNSEEN: Final = -2
_OPEN: Final = -1
# Consumers of one node of which there may be a tuple.
_FEW: Final = 8


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
    copies = _Copies()
    graph = yield from _Builder(copies, hold).build(target)
    while (yield from copies.must_merge()):
        graph = yield from _Builder(copies, hold).build(target)
    return graph


def _identity(call: Placeholder) -> Placeholder:
    if isinstance(call, LazyResult) and call.parent is not None:
        return root_of(call)
    return call


@attrs.define(eq=False)
class _Copies:
    """The chained copies met of each call, and what they say together where there are several."""

    met: dict[Placeholder, dict[int, LazyResult[Any]]] = attrs.field(factory=dict)
    merged: dict[Placeholder, Policies] = attrs.field(factory=dict)

    def note(self, call: Placeholder, root: Placeholder, is_known: bool) -> None:
        """Note that *call* was met; *is_known* tells whether some copy of it was met before."""
        if call is root and root not in self.met:
            return
        copies = self.met.setdefault(root, {})
        if is_known and not copies:
            copies[id(root)] = cast("LazyResult[Any]", root)
        copies[id(call)] = cast("LazyResult[Any]", call)

    def has(self, call: Placeholder, root: Placeholder) -> bool:
        """Whether *call* has been noted, or need not be."""
        return id(call) in self.met[root] if root in self.met else call is root

    def must_merge(self) -> Steps[bool]:
        """Whether the copies say something together that the last building did not know."""
        merged: dict[Placeholder, Policies] = {}
        for root, copies in self.met.items():
            if len(copies) > 1:
                merged[root] = merged_policies(list(copies.values()))
                yield
        is_news = merged != self.merged
        self.merged = merged
        return is_news

    def policies_of(self, call: LazyResult[Any]) -> Policies:
        """What is said of *call*."""
        return self.merged.get(_identity(call), call.own) if self.merged else call.own


# Names that end as the second call of another name does, or an item of a map.
_LIKE_ANOTHER_ID: Final = re.compile(r"(#([2-9]|[1-9]\d+)|\[\d+\])$")


class _Counts(dict[str, int]):
    """The nodes met of each name; no two nodes have one id."""

    def __missing__(self, name: str) -> int:
        # Where the name itself might be the id of another node, the first one is numbered too.
        return 1 if _LIKE_ANOTHER_ID.search(name) else 0


@attrs.define(eq=False)
class _Builder:
    """One building.

    Calls are visited depth first, arguments in order, and numbered when all they need has a number: so indices,
    and with them node ids, depend on the flow alone.
    """

    copies: _Copies
    hold: Hold
    rows: list[Row] = attrs.field(factory=list)
    sources: list[tuple[int, ...]] = attrs.field(factory=list)
    ordinals: array[int] = attrs.field(factory=lambda: array("I"))
    consumers: list[Sequence[int]] = attrs.field(factory=list)
    inputs: dict[str, Input[Any]] = attrs.field(factory=dict)
    injections: dict[str, str] = attrs.field(factory=dict)
    # By call (its root) or router.
    index: dict[Placeholder, int] = attrs.field(factory=dict)
    counts: _Counts = attrs.field(factory=_Counts)
    pure: dict[PureKey, int] = attrs.field(factory=dict)
    finder: Finder = attrs.field(init=False)

    @finder.default
    def _new_finder(self) -> Finder:
        return Finder(SetOrder(), self.hold)

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
        operand = yield from self._operand(part, "the target")
        members = distinct(sources_of(operand))
        return Graph(
            self.rows, self.sources, self.ordinals, self.consumers, operand, members, self.inputs, self.injections,
            self.counts,
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
            self._number(call, tuple(sources))
        return True

    def _number(self, call: LazyResult[Any], operands: tuple[int, ...]) -> None:
        """Place a call of which nothing is said."""
        number, ordinal = len(self.rows), self._next_ordinal(call.task.name)
        row: Row = call
        sources = operands
        if len(operands) > 1 and len(set(operands)) < len(operands):
            sources = distinct(operands)
            row = plain_node(number, call, operands, sources, ordinal)
        self._append(row, sources, ordinal)
        self.index[call] = number
        if sources:
            self._add_consumer(sources, number)

    def _append(self, row: Row, sources: tuple[int, ...], ordinal: int) -> None:
        """Keep *row* as the node that comes next."""
        self.rows.append(row)
        self.sources.append(sources)
        self.ordinals.append(ordinal)
        self.consumers.append(())

    def _add_consumer(self, sources: Sequence[int], number: int) -> None:
        """Note that *sources* have another consumer.

        Tuples of numbers, unlike lists, are left out of garbage collections from the first on, and each node has
        one. Adding to a long one would take time in proportion to its length.
        """
        consumers = self.consumers
        alone = (number,)
        for source in sources:
            known = consumers[source]
            if not known:
                consumers[source] = alone
            elif type(known) is list:
                known.append(number)
            elif len(known) < _FEW:
                consumers[source] = (*known, number)
            else:
                consumers[source] = [*known, number]

    def _visit(self, call: Placeholder, stack: list[Any]) -> Steps[None]:
        root = _identity(call)
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
            child_root = _identity(child)
            known = self.index.get(child_root)
            if known == _OPEN:
                raise _cycle(child_root, stack, self.index)
            if known is None or not self.copies.has(child, child_root):
                stack.append(child)

    def _find_parts(self, call: Placeholder) -> Steps[CallParts | RouterParts]:
        if isinstance(call, Router):
            return (yield from self.finder.router(call))
        call = cast("LazyResult[Any]", call)
        return (yield from self.finder.call(call, self.copies.policies_of(call)))

    # -- numbering -----------------------------------------------------------------------------------------

    def _finish(self, call: Placeholder, root: Placeholder, parts: CallParts | RouterParts) -> Steps[None]:
        node: AnyNode | int
        if isinstance(parts, RouterParts):
            node = yield from self._junction(parts)
        else:
            node = yield from self._node(cast("LazyResult[Any]", call), parts)
        if isinstance(node, int):
            self.index[root] = node
            return
        self.index[root] = node.index
        self._append(node, node.sources, node.ordinal)
        for start in range(0, len(node.sources), PAUSE_EVERY):
            self._add_consumer(node.sources[start : start + PAUSE_EVERY], node.index)
            if start:
                yield

    def _operand(self, part: Part, needed_by: str) -> Steps[Operand]:
        if isinstance(part, Constant):
            return part
        if not isinstance(part, Template):
            return self._placeholder_operand(part, needed_by)
        operands: list[Operand] = []
        has_only_nodes = True
        for hole in part.holes:
            if type(hole) is LazyResult:
                operands.append(self.index[hole])
            else:
                operand = self._placeholder_operand(hole, needed_by)
                has_only_nodes = has_only_nodes and type(operand) is int
                operands.append(operand)
            if not len(operands) % PAUSE_EVERY:
                yield
        return Nested(part, tuple(operands), has_only_nodes)

    def _placeholder_operand(self, hole: Placeholder, needed_by: str) -> Operand:
        match hole:
            case LazyResult() | Router():
                return self.index[_identity(hole)]
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

    def _operands(self, group: Keyed, needed_by: str) -> Steps[Patches]:
        found: list[tuple[Any, Operand]] = []
        for key, part in group:
            if type(part) is LazyResult:
                found.append((key, self.index[part]))
            else:
                found.append((key, (yield from self._operand(part, needed_by))))
            if not len(found) % PAUSE_EVERY:
                yield
        return tuple(found)

    def _junction(self, parts: RouterParts) -> Steps[Junction]:
        selector = yield from self._operand(parts.selector, "a selector")
        routes = {}
        for key, part in parts.routes:
            routes[key] = _route((yield from self._operand(part, f"route {key!r}")))
            if not len(routes) % PAUSE_EVERY:
                yield
        default = None
        if parts.default is not None:
            default = _route((yield from self._operand(parts.default, "the default route")))
        every = [*routes.values(), *([default] if default else [])]
        sources = distinct([*sources_of(selector), *(source for route in every for source in route.sources)])
        return Junction(len(self.rows), selector, routes, default, sources, self._next_ordinal("router"))

    def _node(self, call: LazyResult[Any], parts: CallParts) -> Steps[Node | int]:
        """The node of *call*, or the number of the one that makes an equal pure call already."""
        task = cast("Task[Any, Any]", call.task)
        name = task.name
        args = (yield from self._operands(parts.args, name)) if parts.args else ()
        named = (yield from self._operands(parts.kwargs, name)) if parts.kwargs else ()
        columns: Patches = ()
        terms = NO_TERMS
        if parts.said is not None:
            columns = yield from self._operands(parts.said.columns, name)
            terms = yield from self._terms(call, parts)
        data = yield from self._data_sources(args, named, columns)
        sources = data if terms is NO_TERMS else distinct([*data, *_term_sources(terms)])
        positions, operands = tuple([place for place, _ in args]), tuple([operand for _, operand in args])
        if call.task.is_pure:
            draft = MapNode(0, call, task, positions, operands, named, sources, data, terms, 0, columns)
            known = yield from self._known_pure(draft, is_map=call.columns is not None)
            if known is not None:
                return known
        index, ordinal = len(self.rows), self._next_ordinal(name)
        if call.columns is None:
            return Node(index, call, task, positions, operands, named, sources, data, terms, ordinal)
        return MapNode(index, call, task, positions, operands, named, sources, data, terms, ordinal, columns)

    def _data_sources(self, *groups: Patches) -> Steps[tuple[int, ...]]:
        sources = _sources(*groups)
        few = list(islice(sources, PAUSE_EVERY))
        if len(few) < PAUSE_EVERY:
            return distinct(few) if len(few) > 1 else tuple(few)
        seen = bytearray(len(self.rows))
        once: list[int] = []
        for number, source in enumerate(chain(few, sources)):
            if not seen[source]:
                seen[source] = True
                once.append(source)
            if not number % PAUSE_EVERY:
                yield
        return tuple(once)

    def _terms(self, call: LazyResult[Any], parts: CallParts) -> Steps[Terms]:
        own = self.copies.policies_of(call)
        if own is NOTHING_SAID and call.task.policies is NOTHING_SAID:
            return NO_TERMS
        assert parts.said is not None  # the finder always looks for them
        amounts = yield from self._operands(parts.said.amounts, call.task.name)
        conditions = yield from self._operands(parts.said.conditions, call.task.name)
        said = {
            name: value
            for name in ("retry", "timeout", "cache", "concurrency", "on_skip")
            if (value := _first_said(getattr(own, name), getattr(call.task.policies, name))) is not UNSET
        }
        cache = said.get("cache")
        if call.columns is not None and isinstance(cache, PerCall):
            reason = cache.why_no_items(call.columns)
            if reason is not None:
                raise GraphError(f"{call.task.name}.map(): {reason}")
        return Terms(
            **said,
            amounts=amounts,
            conditions=tuple(operand for _, operand in conditions),
            predecessors=distinct([self.index[_identity(p)] for p in parts.said.predecessors]),
        )

    def _known_pure(self, node: MapNode, *, is_map: bool) -> Steps[int | None]:
        key = yield from pure_key(node, is_map=is_map)
        if key is None:
            return None
        known = self.pure.setdefault(key, len(self.rows))
        return None if known == len(self.rows) else known

    def _next_ordinal(self, name: str) -> int:
        ordinal = self.counts[name] = self.counts[name] + 1
        return ordinal


def _route(operand: Operand) -> Route:
    return Route(operand, distinct(sources_of(operand)))


def _sources(*groups: Patches) -> Iterator[int]:
    """The nodes that *groups* refer to, repeats included."""
    for _, operand in chain(*groups):
        if type(operand) is int:
            yield operand
        elif type(operand) is Nested and operand.has_only_nodes:
            yield from cast("tuple[int, ...]", operand.operands)
        else:
            yield from sources_of(operand)


def _term_sources(terms: Terms) -> Iterator[int]:
    for _, operand in terms.amounts:
        yield from sources_of(operand)
    for operand in terms.conditions:
        yield from sources_of(operand)
    yield from terms.predecessors


def _first_said(own: Any, default: Any) -> Any:
    return default if own is UNSET else own


def _agree(known: Input[Any], given: Input[Any]) -> bool:
    return known.agrees_with(given) and _is_one(known.default, given.default)


def _is_one(known: object, given: object) -> bool:
    """Whether two defaults are one: the same object, or of equal content. Never raises."""
    if known is given or type(known) is not type(given):
        return known is given
    try:
        return value_digest(known, "a default") == value_digest(given, "a default")
    except Exception:  # of a type without a digest
        return is_same(known, given)


def _cycle(closing: Placeholder, stack: list[Any], index: Mapping[Placeholder, int]) -> GraphError:
    calls = [item[0] if type(item) is tuple else item for item in stack]
    path = [call for call in dict.fromkeys(calls) if index.get(_identity(call)) == _OPEN]
    first = next(place for place, call in enumerate(path) if _identity(call) is closing)
    names = [call.task.name if isinstance(call, LazyResult) else "a router" for call in path[first:]]
    words = " needs ".join([*names[:10], names[0]])
    return GraphError(
        f"the flow has a cycle: {words}; look for .after() on something downstream, or for a container that was "
        "changed after it had been passed to a call"
    )
