"""Whether lanes may be used at present: what is in force changes with rules, listeners and the end of the run.

The answer can change only when the epoch of the gate does. So the gate changes with every rule, with each
subscriber that comes, goes or is full, and with the end of the run; in between, one comparison of numbers is all
that is asked.
"""

from __future__ import annotations

from typing import Final

import attrs

from cascade.planning.layout import Place
from cascade.runtime.context.run_context import RunContext

_ALL: Final = frozenset({Place.LOOP, Place.THREAD, Place.REMOTE})
_ALL_BUT_THREADS: Final = _ALL - {Place.THREAD}


@attrs.define(eq=False)
class Conditions:
    """What was in force when the gate changed last.

    Whoever begins to listen, changes a rule, or ends the run, changes the epoch of the gate.

    Attributes:
        run_context: The run.
        can_use_lanes: Whether the nodes of this frame can run in lanes at all.
        is_ranked: Whether it matters how long the nodes take, as the more urgent go first.
        is_heard: Whether somebody is told of the nodes, so that events or records have to be made.
        is_single: Whether each node that succeeds has to be settled by itself, as it is news to somebody, has to
            be looked at, or does not count any more.
        is_timed: Whether anybody wants to know when a node began.
        is_cut_off: Whether the frame is part of a node that is cancelled, so that nothing more starts.
    """

    run_context: RunContext
    can_use_lanes: bool
    is_ranked: bool = False
    is_heard: bool = False
    is_single: bool = False
    is_timed: bool = False
    is_cut_off: bool = False
    # Where plain nodes may run in lanes.
    _places: frozenset[Place] = frozenset()
    _epoch: int = -1

    def look(self) -> None:
        """Note what is in force, if that has changed."""
        run_context = self.run_context
        epoch = run_context.admission.gate.epoch
        if self._epoch != epoch:
            self._epoch = epoch
            self.is_heard = not run_context.is_silent()
            self.is_timed = self.is_heard or self.is_ranked
            is_told = self.is_heard and (run_context.settings.strict_state or not run_context.bus.is_silent())
            self.is_single = is_told or run_context.lifecycle.is_halted or bool(run_context.lifecycle.nodes)
            # A lane does not ask for each node whether that is being cancelled.
            is_free = not self.is_closing and not run_context.lifecycle.nodes
            has_rules = bool(run_context.admission.holding.rules)
            may_use_lanes = self.can_use_lanes and is_free and not has_rules
            self._places = self._lanes() if may_use_lanes else frozenset()

    @property
    def is_closing(self) -> bool:
        """Whether nothing of the frame may start any more."""
        return self.is_cut_off or self.run_context.lifecycle.is_closing

    def _lanes(self) -> frozenset[Place]:
        # Thread lanes are too quick for anybody who is told of each node.
        return _ALL_BUT_THREADS if self.run_context.events.wants_attempts() else _ALL

    def may_use_lanes(self) -> bool:
        """Whether plain nodes may run in lanes: the run goes on, no node is cancelled, and no rule stands."""
        return self.may_use_place(Place.LOOP)

    def may_use_threads(self) -> bool:
        """Whether they may run in thread lanes."""
        return self.may_use_place(Place.THREAD)

    def may_use_place(self, place: int) -> bool:
        """Whether nodes that belong at *place* may run in a lane."""
        self.look()
        return place in self._places

    def is_behind(self, reported: int) -> bool:
        """Whether so much waits to be recorded that nothing should start. Asked in any thread.

        Args:
            reported: How many outcomes are on their way to the journal, but not there.
        """
        journal = self.run_context.store.journal
        return journal is not None and journal.is_full_with(reported)

    async def until_heard(self) -> bool:
        """Wait until no subscriber is full, and the journal is not; whether that took any waiting."""
        journal, bus = self.run_context.store.journal, self.run_context.bus
        has_waited = journal is not None and journal.is_full
        if journal is not None:
            await journal.until_room()
        if bus.full() is None:
            return has_waited
        await self.run_context.admission.until_heard(bus)
        return True
