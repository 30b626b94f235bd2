"""What the routers of a frame have chosen, for those who decide about single kinds of them."""

from __future__ import annotations

from typing import Protocol

import attrs

from cascade.graph.nodes import Graph, Route, Slots
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

    def chosen(self, index: int) -> int:
        """The call that a node stands for."""
        ...
