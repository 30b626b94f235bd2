"""From operands to nodes: of routers, and of calls that more is said of than what they call."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final, cast

import attrs

from cascade.graph.identity import PureKey, pure_key
from cascade.graph.merge import Copies, identity_of
from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import (
    NO_TERMS,
    FallbackNode,
    Junction,
    MapNode,
    Nested,
    Node,
    Operand,
    OutcomeNode,
    Patches,
    RaceNode,
    Route,
    Terms,
    Undo,
    distinct,
    sources_of,
    task_of,
)
from cascade.graph.numbering import Numbering
from cascade.graph.operands import Operands
from cascade.graph.parts import CallParts, RouterParts
from cascade.model.errors import GraphError
from cascade.model.fallbacks import ItemOutcomesOf, OrElse, OutcomeOf, Race
from cascade.model.flow import Router
from cascade.model.inputs import injections
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import NOTHING_SAID, UNSET, PerCall
from cascade.model.tasks import Task

_JUNCTIONS: Final[dict[type, type[Junction]]] = {
    Router: Junction,
    OutcomeOf: OutcomeNode,
    ItemOutcomesOf: OutcomeNode,
    OrElse: FallbackNode,
    Race: RaceNode,
}


@attrs.define(eq=False)
class NodeMaker:
    """Makes the node that comes next, once all that it needs has a number.

    Attributes:
        numbering: The nodes that have a number.
        operands: Makes the operands of nodes.
        copies: What is said of calls.
        pure: The numbers of pure calls, by what they compute.
    """

    numbering: Numbering
    operands: Operands
    copies: Copies
    pure: dict[PureKey, int] = attrs.field(factory=dict)

    def junction(self, placeholder: Placeholder, parts: RouterParts) -> Steps[Junction]:
        """The node of a router, outcome or fallback with these *parts*."""
        selector = yield from self.operands.of_part(parts.selector, "a selector")
        routes = {}
        for key, part in parts.routes:
            routes[key] = _route((yield from self.operands.of_part(part, f"route {key!r}")))
            if not len(routes) % PAUSE_EVERY:
                yield
        default = None
        if parts.default is not None:
            default = _route((yield from self.operands.of_part(parts.default, "the default route")))
        every = [*routes.values(), *([default] if default else [])]
        sources = distinct([*sources_of(selector), *(source for route in every for source in route.sources)])
        kind = _JUNCTIONS[type(placeholder)]
        ordinal = self.numbering.next_ordinal(kind.label)
        junction = kind(len(self.numbering.rows), selector, routes, default, sources, ordinal)
        if isinstance(junction, FallbackNode):
            junction.on = cast("OrElse[Any]", placeholder).on
        elif isinstance(junction, OutcomeNode):
            junction.by_item = isinstance(placeholder, ItemOutcomesOf)
        return junction

    def node(self, call: LazyResult[Any], parts: CallParts) -> Steps[Node | int]:
        """The node of *call* with these *parts*, or the number of one that makes an equal pure call already."""
        task = cast("Task[Any, Any]", call.task)
        name = task.name
        args = (yield from self.operands.of_group(parts.args, name)) if parts.args else ()
        named = (yield from self.operands.of_group(parts.kwargs, name)) if parts.kwargs else ()
        columns: Patches = ()
        terms = NO_TERMS
        if parts.said is not None:
            columns = yield from self.operands.of_group(parts.said.columns, name)
            terms = yield from self._terms(call, parts)
        data = yield from self._data_sources(args, named, columns)
        sources = data if terms is NO_TERMS else distinct([*data, *_term_sources(terms)])
        positions, operands = tuple([place for place, _ in args]), tuple([operand for _, operand in args])
        if call.task.is_pure:
            draft = MapNode(0, call, task, positions, operands, named, sources, data, terms, 0, columns)
            known = yield from self._known_pure(draft, is_map=call.columns is not None)
            if known is not None:
                return known
        index, ordinal = len(self.numbering.rows), self.numbering.next_ordinal(name)
        if call.columns is None:
            return Node(index, call, task, positions, operands, named, sources, data, terms, ordinal)
        return MapNode(index, call, task, positions, operands, named, sources, data, terms, ordinal, columns)

    def _data_sources(self, *groups: Patches) -> Steps[tuple[int, ...]]:
        sources = _sources(*groups)
        few = list(islice(sources, PAUSE_EVERY))
        if len(few) < PAUSE_EVERY:
            return distinct(few) if len(few) > 1 else tuple(few)
        seen = bytearray(len(self.numbering.rows))
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
        amounts = yield from self.operands.of_group(parts.said.amounts, call.task.name)
        conditions = yield from self.operands.of_group(parts.said.conditions, call.task.name)
        said = {
            name: value
            for name in (
                "retry",
                "timeout",
                "cache",
                "concurrency",
                "on_skip",
                "cost",
                "undo",
                "priority",
                "errors",
            )
            if (value := _first_said(getattr(own, name), getattr(call.task.policies, name))) is not UNSET
        }
        cache = said.get("cache")
        if call.columns is not None and isinstance(cache, PerCall):
            reason = cache.why_no_items(call.columns)
            if reason is not None:
                raise GraphError(f"{call.task.name}.map(): {reason}")
        if said.get("undo") is not None:
            self._need_resources_of(said["undo"])
        return Terms(
            **said,
            amounts=amounts,
            conditions=tuple(operand for _, operand in conditions),
            after=distinct([self.numbering.index[identity_of(p)] for p in parts.said.after]),
            label=None if own.name is UNSET else own.name,
        )

    def _need_resources_of(self, undo: Undo) -> None:
        """Note the resources that *undo* injects, so that a missing one is found before anything runs."""
        task = task_of(undo)
        for injected in injections(task.func).values():
            self.operands.injections.setdefault(injected.name, task.name)

    def _known_pure(self, node: MapNode, *, is_map: bool) -> Steps[int | None]:
        key = yield from pure_key(node, is_map=is_map)
        if key is None:
            return None
        known = self.pure.setdefault(key, len(self.numbering.rows))
        return None if known == len(self.numbering.rows) else known


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
    yield from terms.after


def _first_said(own: Any, default: Any) -> Any:
    return default if own is UNSET else own
