"""The code that a loop has for its turns: for which shapes there is some, and what was prepared for these."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import attrs

from cascade.graph.nodes import Node
from cascade.graph.shapes import Sketch, emptied
from cascade.model.calls.callee import Callee
from cascade.model.lazies import LazyResult
from cascade.model.policies import NOTHING_SAID
from cascade.planning.layout import Place
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.foundation.replay import for_several
from cascade.runtime.run.preparation import Prepared
from cascade.runtime.scheduling.turns.hot_turns import is_plain
from cascade.runtime.scheduling.turns.turn_code import TurnCode, write_turns
from cascade.runtime.scheduling.turns.turn_steps import TurnSteps
from cascade.runtime.scheduling.turns.turn_stops import Looks

# Shapes for which a loop gets code as soon as they come up again; after that one for so many turns made in code.
# Writing code takes as long as a dozen turns without it.
_FREE: Final = 6
_WORTH: Final = 16


@attrs.define(eq=False)
class TurnCodes:
    """Code for turns of one loop.

    Attributes:
        run_context: The run.
        prefix: What stands before the node ids of the loop.
        lent: What was prepared for the shapes of the turns that are being made, by their code.
        made: Turns that code has made.
    """

    run_context: RunContext
    prefix: str
    lent: dict[TurnCode, Prepared] = attrs.field(factory=dict)
    made: int = 0
    # Shapes for which code has been written.
    _written: int = 0

    def learn(self, sketch: Sketch, prepared: Prepared) -> Prepared:
        """*prepared*, whose shape has come up again, with code for flows like *sketch* if there can be any."""
        if prepared.has_met or self._written >= _FREE + self.made // _WORTH:
            return prepared
        self._written += 1
        return attrs.evolve(prepared, code=self._write(sketch, prepared), has_met=True)

    def _write(self, sketch: Sketch, prepared: Prepared) -> TurnCode | None:
        layout, graph, levels = prepared.layout, prepared.graph, prepared.plan.levels
        is_one_place = len(set(layout.places)) == 1 and layout.places[0] in (Place.LOOP, Place.THREAD)
        if not is_one_place or any(call.task.policies is not NOTHING_SAID for call in sketch.calls):
            return None
        if graph.target != len(sketch.calls) - 1 or len(levels[-1]) != 1:
            return None
        names = [graph.name(index) for index in range(len(sketch.calls))]
        keeps_values = self.run_context.store.journal is not None  # which records them
        looks = Looks(partial(is_plain, self.run_context), keeps_values)
        is_in_thread = layout.places[0] == Place.THREAD
        return write_turns(sketch, names, levels, looks, for_several, is_in_thread=is_in_thread)

    def codes_for(self, flow: LazyResult[Any]) -> Iterator[TurnCode]:
        """Code that may fit *flow*, for the place where the first turn was made."""
        task, place = flow.task, self.place
        for code in tuple(self.lent):
            if code.tasks[-1] is task:
                yield code
        found = self.run_context.memory.shapes.take_all(lambda known: _fits(known, task, place))
        more = {prepared.code: prepared for prepared in found if prepared.code is not None}
        self.lent.update(more)
        yield from more

    @property
    def place(self) -> int:
        """Where its turns are made."""
        return next(iter(self.lent.values())).layout.places[0]

    def node_of(self, code: TurnCode, index: int) -> tuple[str, Callee]:
        """The id of a node of the turns that *code* makes, and its task."""
        return self.prefix + code.names[index], code.tasks[index]

    def give_back(self, first: Prepared) -> None:
        """Keep what was prepared for shapes that were met on the way; *first* is up to the loop."""
        lent, self.lent = self.lent, {}
        for prepared in lent.values():
            if prepared is not first:
                emptied(prepared.graph)
                self.run_context.memory.shapes.put(prepared.shape, prepared)

    def fill(self, steps: TurnSteps) -> None:
        """Put the calls of the present turn into the graph of its shape, which is empty."""
        assert steps.code is not None
        assert steps.turns is not None
        prepared = self.lent[steps.code]
        for row, call in zip(prepared.graph.rows, steps.code.calls(steps.turns), strict=True):
            assert isinstance(row, Node)
            row.call = call


def _fits(prepared: Prepared, task: Callee, place: int) -> bool:
    """Whether there is code for flows like *prepared*, all made in *place*, whose target is a call of *task*."""
    code = prepared.code
    return code is not None and code.tasks[-1] is task and prepared.layout.places[0] == place
