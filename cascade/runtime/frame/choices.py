"""What the routers of a frame have chosen, for those who decide about single kinds of them."""

from __future__ import annotations

from typing import Protocol

import attrs

from cascade.graph.nodes import Graph, OutcomeNode, Route
from cascade.graph.slots import Slots
from cascade.planning.layout import Layout
from cascade.runtime.frame.gaps import Gaps
from cascade.runtime.frame.gating import Gating


@attrs.define(eq=False)
class Choice:
    """What a router is waiting for: first its selector, then the route it names."""

    waiting: set[int]
    route: Route | None = None


class Routers(Slots, Protocol):
    """The routers of a frame."""

    graph: Graph
    layout: Layout
    prefix: str
    gaps: Gaps
    gating: Gating
    choices: dict[int, Choice]


def chosen(routing: Routers | None, index: int) -> int:
    """The call that a node stands for: itself, or what it chose if it is a router that chose a single call."""
    while routing is not None and index in routing.choices:
        route = routing.choices[index].route
        if route is None or not isinstance(route.operand, int):
            break
        index = route.operand
    return index


def calls_in(routing: Routers | None, index: int) -> set[int]:
    """The calls that a node stands for: itself, or all those in what it chose if it is a router.

    An outcome is a value of its own.
    """
    found: set[int] = set()
    pending = [index]
    while pending:
        index = pending.pop()
        if routing is None or index not in routing.choices or isinstance(routing.graph.rows[index], OutcomeNode):
            found.add(index)
            continue
        route = routing.choices[index].route
        pending.extend(() if route is None else route.sources)
    return found
