"""What stands in a call or router: its placeholders, found but not yet numbered."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final

import attrs

from cascade.graph.identity import stable_order
from cascade.graph.nested import Template, compile_steps
from cascade.graph.nodes import Constant
from cascade.model.flow import Router
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import UNSET, Policies

# A value after the walk: a placeholder, a container with placeholders in it, or plain data.
Part = Placeholder | Template | Constant
Keyed = list[tuple[Any, Part]]
_CALLS: Final = (LazyResult, Router)


@attrs.define(eq=False)
class SaidParts:
    """What stands outside the arguments: columns of a map, amounts, conditions, predecessors."""

    columns: Keyed = attrs.field(factory=list)
    amounts: Keyed = attrs.field(factory=list)
    conditions: Keyed = attrs.field(factory=list)
    predecessors: list[Placeholder] = attrs.field(factory=list)


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
            yield from self.said.predecessors


@attrs.define(eq=False)
class RouterParts:
    """What stands in a router."""

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
    if isinstance(part, _CALLS):
        yield part
    elif isinstance(part, Template):
        yield from (hole for hole in part.holes if isinstance(hole, _CALLS))


def find_part(value: Any) -> Generator[None, None, Part]:
    """What stands in *value*; pauses when it is large."""
    if isinstance(value, Placeholder):
        return value
    found = yield from compile_steps(value, stable_order)
    return Constant(value) if found is None else found


def find_call_parts(call: LazyResult[Any], own: Policies) -> Generator[None, None, CallParts]:
    """What stands in *call*, of which *own* is said; pauses when there is much."""
    args: Keyed = []
    for position, value in enumerate(call.args):
        part = yield from find_part(value)
        if not isinstance(part, Constant):
            args.append((position, part))
    kwargs: Keyed = []
    for name, value in call.kwargs.items():
        part = yield from find_part(value)
        if not isinstance(part, Constant):
            kwargs.append((name, part))
    said = yield from _find_said(call, own)
    return CallParts(args, kwargs, said)


def _find_said(call: LazyResult[Any], own: Policies) -> Generator[None, None, SaidParts]:
    said = SaidParts(predecessors=[*own.predecessors])
    for name, column in (call.columns or {}).items():
        said.columns.append((name, (yield from find_part(column))))
    amounts = call.task.policies.constraints if own.constraints is UNSET else own.constraints
    for name, amount in ({} if amounts is UNSET else amounts).items():
        said.amounts.append((name, (yield from find_part(amount))))
    for condition in own.conditions:
        said.conditions.append((None, (yield from find_part(condition))))
    return said


def find_router_parts(router: Router[Any]) -> Generator[None, None, RouterParts]:
    """What stands in *router*; pauses when there is much."""
    selector = yield from find_part(router.selector)
    routes: Keyed = []
    for key, value in router.routes.items():
        routes.append((key, (yield from find_part(value))))
    default = (yield from find_part(router.default)) if router.has_default else None
    return RouterParts(selector, routes, default)
