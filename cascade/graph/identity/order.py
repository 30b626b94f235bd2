"""An order for the members of sets that does not depend on hashes: node ids must be the same in every process."""

from __future__ import annotations

from typing import Any

import attrs

from cascade.graph.canonical import Canon, combine, input_digest, qualified_name
from cascade.graph.nested import Steps, Template, compile_steps
from cascade.graph.parts import NODES
from cascade.model.fallbacks import OrElse, OutcomeOf, Race
from cascade.model.flow import Router
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import NOTHING_SAID, UNSET


class SetOrder:
    """Puts members of sets in order by content: set order depends on hashes, node ids must not.

    Goes by the names of tasks and by known literals. What it has found out about calls is kept, so that one
    order serves all sets of a flow.
    """

    def __init__(self) -> None:
        self._sketches: dict[int, bytes] = {}
        self._canon = Canon(self._of_placeholder, qualified_name, lambda value: qualified_name(type(value)))

    def __call__(self, items: list[Any]) -> Steps[list[Any]]:
        """The members of a set in their order."""
        for call in (yield from _calls_in(items)):
            yield from self._sketch(call)
        keys = []
        for item in items:
            keys.append((yield from self._canon.steps(item)))
            yield
        return [items[place] for place in sorted(range(len(items)), key=keys.__getitem__)]

    def _of_placeholder(self, placeholder: Placeholder) -> bytes:
        if isinstance(placeholder, NODES):
            # Nothing is known of a call in a cycle, which building refuses, and of one that a function holds.
            return self._sketches.get(id(placeholder), b"")
        return input_digest(placeholder)

    def _sketch(self, root: Placeholder) -> Steps[None]:
        """Note a digest of *root*, and of all it needs."""
        opened: set[int] = set()
        pending = [root]
        while pending:
            call = pending[-1]
            if id(call) in self._sketches:
                pending.pop()
            elif id(call) not in opened:
                opened.add(id(call))
                inner = yield from _calls_in(_written(call))
                pending.extend(part for part in inner if id(part) not in opened)
            else:
                name = (
                    qualified_name(call.task)
                    if isinstance(call, LazyResult)
                    else type(call).__name__.lower().encode()
                )
                written = yield from self._canon.steps(_written(call))
                self._sketches[id(call)] = combine("sketch", [name, written])
            yield


def _written(call: Placeholder) -> list[Any]:
    if isinstance(call, LazyResult):
        own = (
            NOTHING_SAID
            if call.own is NOTHING_SAID
            else attrs.evolve(call.own, cache=UNSET, name=UNSET, priority=UNSET)
        )
        said = [] if own == NOTHING_SAID and call.own.cache is UNSET else [own]
        return [call.args, call.kwargs, call.columns, *said]
    if isinstance(call, OutcomeOf):
        return [call.call]
    if isinstance(call, OrElse):
        return [call.call, call.other]
    if isinstance(call, Race):
        return [call.contestants]
    assert isinstance(call, Router)
    return [call.selector, list(call.routes), list(call.routes.values()), call.default]


def _calls_in(written: list[Any]) -> Steps[list[Placeholder]]:
    found = yield from compile_steps(written)
    if not isinstance(found, Template):
        return []
    return [hole for hole in found.holes if isinstance(hole, NODES)]
