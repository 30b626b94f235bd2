"""Which turns of a loop of tail calls are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from anyio import current_time

from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Batch, Continuation, Entry, NotDurable


@attrs.define(eq=False)
class LoopRecords:
    """Chooses the turns of a loop that are recorded, and holds the entries of the others.

    A loop may make millions of turns, so most leave no record. The first turn is recorded as it goes. A later one
    is held in memory: its beginning and the entries that are added in it, failures too, as each turn uses the same
    ids. It is recorded if enough turns or enough time have passed since the last recorded turn, or if the loop
    ends in it; otherwise the next turn replaces it.

    Writes nothing itself: each method that chooses a turn returns it as a batch.

    Attributes:
        backend: The store.
        on_not_durable: Called if the store cannot take the beginning of a turn; no turn is recorded after that.
        turns_between: Turns after which one is recorded.
        seconds_between: Seconds after which one is recorded.
        writes_early: Whether turns are recorded before the run ends.
        turn: The turn that is held; ``None`` while the turn under way is recorded already.
    """

    backend: StateBackend
    on_not_durable: Callable[[NotDurable], None]
    turns_between: int
    seconds_between: float
    writes_early: bool
    turn: Continuation | None = None
    _held: list[Entry] = attrs.field(factory=list)
    # Of those that are no outcomes.
    _notes: list[Entry] = attrs.field(factory=list)
    _recorded_turn: int = 1
    _recorded_at: float = attrs.field(factory=current_time)
    # The store cannot take what the turns begin with.
    _is_lost: bool = False

    @property
    def keeps_turns(self) -> bool:
        """Whether turns are recorded before the run ends, and the store can take them."""
        return self.backend.keeps_loops and self.writes_early and not self._is_lost

    def begin_turn(self, turn: int, value: Any) -> Batch | None:
        """The loop goes on with *value*: hold *turn* from now on; returns it if it is due."""
        self._hold(turn, value)
        return self.take() if self.keeps_turns and (self._left(turn) <= 0 or self._is_time()) else None

    def go_on_in(self, turn: int, value: Any) -> None:
        """Hold *turn*, which a lane has begun with *value*, unless it is recorded already."""
        if turn != self._recorded_turn:
            self._hold(turn, value)

    def hold(self, entry: Entry) -> Batch | None:
        """Hold *entry*, which belongs to the turn that is held; returns that turn if it is due."""
        (self._held if entry.is_outcome() else self._notes).append(entry)
        return self.take() if self.keeps_turns and self._is_time() else None

    def take(self) -> Batch | None:
        """The turn that is held, to be recorded; ``None`` if there is none, or the store cannot take it."""
        if self.turn is None or self._is_lost:
            return None
        turn = self._sealed(self.turn)
        if turn is None:
            return None
        batch = Batch(self._held, self._notes, turn)
        self._held, self._notes, self.turn = [], [], None
        self._recorded_turn, self._recorded_at = turn.turn, current_time()
        return batch

    def until_next_turn(self, turn: int) -> tuple[int, float]:
        """In how many turns after *turn*, and in how many seconds, a turn is due."""
        return self._left(turn), self.seconds_between - (current_time() - self._recorded_at)

    def failures(self) -> list[Entry]:
        """What has failed, or was cancelled, in the turn that is held."""
        return [note for note in self._notes if note.status != "retrying"]

    def clear(self) -> None:
        """Drop the entries that are held."""
        self._held.clear()
        self._notes.clear()

    def _hold(self, turn: int, value: Any) -> None:
        self.clear()
        self.turn = Continuation(turn, value)

    def _left(self, turn: int) -> int:
        return self.turns_between - (turn - self._recorded_turn)

    def _is_time(self) -> bool:
        return current_time() - self._recorded_at >= self.seconds_between

    def _sealed(self, turn: Continuation) -> Continuation | None:
        """*turn*, with its value as it is before anything of the turn has run."""
        try:
            return Continuation(turn.turn, self.backend.sealed(turn.value))
        except Exception as error:  # pickling runs the user's code, which may raise anything
            self._is_lost = True
            self.on_not_durable([(f"turn {turn.turn} of the loop", error)])
            return None
