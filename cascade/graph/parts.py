"""What stands in a call or router: its placeholders, found but not yet numbered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs

from cascade.graph.nested import LEAVES, PAUSE_EVERY, Hold, Order, Steps, Template, compile_steps
from cascade.graph.nodes import Constant
from cascade.model.fallbacks import ItemOutcomesOf, OrElse, OutcomeOf, Race
from cascade.model.flow import Router
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import UNSET, Policies

# A value after the walk: a placeholder, a container with placeholders in it, or plain data.
Part = Placeholder | Template | Constant
Keyed = list[tuple[Any, Part]]
# What becomes a node.
NODES: Final = (LazyResult, Router, OutcomeOf, OrElse, Race)


@attrs.define(eq=False)
class SaidParts:
    """What stands outside the arguments: columns of a map, amounts, conditions, what the call runs after."""

    columns: Keyed = attrs.field(factory=list)
    amounts: Keyed = attrs.field(factory=list)
    conditions: Keyed = attrs.field(factory=list)
    after: list[Placeholder] = attrs.field(factory=list)


@attrs.define(eq=False)
class CallParts:
    """What stands in a call; literal arguments are left out."""

    args: Keyed
    kwargs: Keyed
    said: SaidParts | None

    def children(self) -> Iterator[Placeholder]:
        """The calls and routers found, in order of appearance."""
        for _, part in self.args:
            yield from calls_in(part)
        for _, part in self.kwargs:
            yield from calls_in(part)
        if self.said is not None:
            for group in (self.said.columns, self.said.amounts, self.said.conditions):
                for _, part in group:
                    yield from calls_in(part)
            yield from self.said.after


@attrs.define(eq=False)
class RouterParts:
    """What stands in a router, or in what is built like one: an outcome, a fallback, a race."""

    selector: Part
    routes: Keyed
    default: Part | None

    def children(self) -> Iterator[Placeholder]:
        """The calls and routers found, the selector's first."""
        yield from calls_in(self.selector)
        for _, part in self.routes:
            yield from calls_in(part)
        if self.default is not None:
            yield from calls_in(self.default)


def calls_in(part: Part) -> Iterator[Placeholder]:
    """The calls and routers that *part* is or contains."""
    if isinstance(part, NODES):
        yield part
    elif isinstance(part, Template):
        yield from (hole for hole in part.holes if isinstance(hole, NODES))


@attrs.frozen(eq=False)
class Finder:
    """Finds what stands in calls and routers; pauses when there is much.

    Attributes:
        order: Puts the members of sets into an order.
        hold: What large plain data is remembered by.
    """

    order: Order
    hold: Hold

    def part(self, value: Any) -> Steps[Part]:
        """What stands in *value*."""
        if type(value) in LEAVES:
            return Constant(value)
        found = yield from compile_steps(value, self.order, self.hold)
        return Constant(value) if found is None else found

    def call(self, call: LazyResult[Any], own: Policies) -> Steps[CallParts]:
        """What stands in *call*, of which *own* is said."""
        args: Keyed = []
        for position, value in enumerate(call.args):
            part = yield from self.part(value)
            if not isinstance(part, Constant):
                args.append((position, part))
        kwargs: Keyed = []
        for name, value in call.kwargs.items():
            part = yield from self.part(value)
            if not isinstance(part, Constant):
                kwargs.append((name, part))
        said = yield from self._said(call, own)
        return CallParts(args, kwargs, said)

    def _said(self, call: LazyResult[Any], own: Policies) -> Steps[SaidParts]:
        said = SaidParts(after=[*own.after])
        for name, column in (call.columns or {}).items():
            part = ItemOutcomesOf(column.call) if isinstance(column, OutcomeOf) else column
            said.columns.append((name, (yield from self.part(part))))
        amounts = call.task.policies.constraints if own.constraints is UNSET else own.constraints
        for name, amount in ({} if amounts is UNSET else amounts).items():
            said.amounts.append((name, (yield from self.part(amount))))
        for condition in own.conditions:
            said.conditions.append((None, (yield from self.part(condition))))
        return said

    def outcome(self, outcome: OutcomeOf[Any]) -> Steps[RouterParts]:
        """What stands in ``settled(call)``."""
        return RouterParts((yield from self.part(outcome.call)), [], None)

    def or_else(self, tried: OrElse[Any]) -> Steps[RouterParts]:
        """What stands in ``call.or_else(other)``."""
        call = yield from self.part(tried.call)
        return RouterParts(call, [("or else", (yield from self.part(tried.other)))], None)

    def race(self, race: Race[Any]) -> Steps[RouterParts]:
        """What stands in ``race(...)``: the contestants are its selector."""
        return RouterParts((yield from self.part(race.contestants)), [], None)

    def router(self, router: Router[Any]) -> Steps[RouterParts]:
        """What stands in *router*."""
        selector = yield from self.part(router.selector)
        routes: Keyed = []
        for key, value in router.routes.items():
            routes.append((key, (yield from self.part(value))))
            if not len(routes) % PAUSE_EVERY:
                yield
        default = (yield from self.part(router.default)) if router.has_default else None
        return RouterParts(selector, routes, default)
