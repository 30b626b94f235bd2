"""The journal: settled nodes on their way to the state store, in order and in batches, beside the work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import anyio
import attrs
from anyio import CancelScope, current_time, get_cancelled_exc_class

from cascade.model.errors import StateError, describe
from cascade.runtime.durability.backend import (
    Batch,
    Continuation,
    Entry,
    NotDurable,
    PartlyWrittenError,
    StateBackend,
)

# Batches that may wait to be written before nothing starts any more.
MOST_WAITING: Final = 10


@attrs.define(eq=False)
class Journal:
    """Writes entries to a backend, one batch at a time.

    Of a loop of tail calls, only some turns are recorded: the first, and those whose beginning is, because there
    had been enough turns or enough time. What settles in the others is held, in case theirs lasts, and dropped
    with them.

    Attributes:
        backend: The store.
        on_recorded: Called with the number of entries of a batch, and of all, once they are in the store.
        on_failure: Called when the store fails; nothing is written after that.
        on_not_durable: Called with what the store could not take the value of.
        period: Seconds after which entries are written without being asked for.
        largest: Number of entries at which they are.
        turns_between: Turns of a loop after which one is recorded.
        seconds_between: Seconds after which one is.
        added: Entries taken.
        recorded: Entries that are in the store.
        has_failed: Whether nothing is written any more.
    """

    backend: StateBackend
    on_recorded: Callable[[int, int], None]
    on_failure: Callable[[BaseException], None]
    on_not_durable: Callable[[NotDurable], None] = lambda _: None
    period: float = math.inf
    largest: float = 1000
    turns_between: int = 1000
    seconds_between: float = 0.1
    added: int = 0
    recorded: int = 0
    has_failed: bool = False
    _entries: list[Entry] = attrs.field(factory=list)
    _notes: list[Entry] = attrs.field(factory=list)
    _continuation: Continuation | None = None
    # Of a turn whose beginning is not recorded: that, and what has settled in it.
    _held_turn: Continuation | None = None
    _held: list[Entry] = attrs.field(factory=list)
    _recorded_turn: int = 1
    # What its turns begin with cannot be stored.
    _is_loop_lost: bool = False
    _recorded_at: float = attrs.field(factory=current_time)
    # Number of entries, of all that were added, that somebody waits to see recorded.
    _wanted: int = 0
    _in_hand: int = 0
    _is_closing: bool = False
    _is_urgent: bool = False
    _scope: CancelScope | None = None
    _news: anyio.Event = attrs.field(factory=anyio.Event)
    _progress: anyio.Event = attrs.field(factory=anyio.Event)

    def add(self, entry: Entry) -> None:
        """Queue *entry*."""
        if self.has_failed:
            return
        if entry.status not in ("succeeded", "skipped"):
            self._note(entry)
            return
        if self._held_turn is not None:
            self._held.append(entry)
            if self.keeps_turns and self._is_time():
                self._let_go()
            return
        self._entries.append(entry)
        self.added += 1
        if len(self._entries) == 1 or len(self._entries) >= self.largest:
            self._news.set()

    def _note(self, entry: Entry) -> None:
        if self._held_turn is not None and entry.status == "retrying":
            return  # the turn that is recorded has a node of the same name
        self._notes.append(entry)
        if entry.status == "retrying" and math.isfinite(self.largest):
            # Written at once: during the pause is when a run is likely to be killed.
            self._is_urgent = True
            self._news.set()

    def refusal(self, value: Any) -> StateError | None:
        """Why the store cannot take *value*, if it cannot."""
        try:
            self.backend.sealed(value)
        except Exception as error:  # pickling runs user code
            failure = StateError(f"the result cannot be recorded ({describe(error)}), and strict_state is set")
            failure.__cause__ = error
            return failure
        return None

    def begin_turn(self, turn: int, value: Any) -> None:
        """A loop of tail calls goes on with *value*: what settles from now on belongs to that."""
        if self.has_failed:  # pragma: no cover  # in this very moment; a run whose store has failed makes no turns
            return
        self._held.clear()
        self._held_turn = Continuation(turn, value)
        if self.keeps_turns and (self._left(turn) <= 0 or self._is_time()):
            self._let_go()

    @property
    def keeps_turns(self) -> bool:
        """Whether turns are recorded: if there is a place for them, and not just at the end."""
        return self.backend.keeps_loops and math.isfinite(self.largest) and not self._is_loop_lost

    def _left(self, turn: int) -> int:
        return self.turns_between - (turn - self._recorded_turn)

    def _is_time(self) -> bool:
        return current_time() - self._recorded_at >= self.seconds_between

    def go_on_in(self, turn: int, value: Any) -> None:
        """What settles from now on belongs to *turn*, which began with *value*, and is not recorded so far."""
        if not self.has_failed and turn != self._recorded_turn:
            self._held.clear()
            self._held_turn = Continuation(turn, value)

    def until_next_turn(self, turn: int) -> tuple[int, float]:
        """In how many turns after *turn*, and in how many seconds, one is to be recorded."""
        return self._left(turn), self.seconds_between - (current_time() - self._recorded_at)

    def _let_go(self) -> None:
        """Record the beginning of the turn that is held, and what has settled in it."""
        assert self._held_turn is not None
        turn = self._sealed(self._held_turn)
        if turn is None:
            return
        # What waits to be written belongs to turns before, and would be forgotten at once.
        self.added += 1 + len(self._held)
        self.recorded += len(self._entries) + (self._continuation is not None)
        self._entries, self._held = self._held, []
        self._continuation, self._held_turn, self._is_urgent = turn, None, True
        self._recorded_turn, self._recorded_at = turn.turn, current_time()
        self._news.set()

    def _sealed(self, turn: Continuation) -> Continuation | None:
        """*turn* as it is before anything of it has run; ``None`` if the store cannot take it."""
        if self._is_loop_lost:
            return None
        try:
            return Continuation(turn.turn, self.backend.sealed(turn.value))
        except Exception as error:  # pickling runs user code
            self._is_loop_lost = True
            self.on_not_durable([(f"turn {turn.turn} of the loop", error)])
            return None

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that nothing should start."""
        return self.is_full_with(0)

    def is_full_with(self, more: int) -> bool:
        """The same with *more* entries, which have not been added yet."""
        waiting = len(self._entries) + self._in_hand + more
        return waiting >= MOST_WAITING * self.largest and not self.has_failed

    async def until_room(self) -> None:
        """Wait while it is full."""
        while self.is_full:
            await self._progress.wait()

    async def flush(self) -> None:
        """Wait until all that was added so far is in the store, or the store has failed."""
        target = self.added
        while self.recorded < target and not self.has_failed:
            self._wanted = max(self._wanted, target)
            self._news.set()
            await self._progress.wait()

    async def close(self) -> None:
        """Write what is left, and end :meth:`run`."""
        self._is_closing = True
        if self._held_turn is not None and self.backend.keeps_loops and not self.has_failed:
            self._let_go()  # a loop that failed, or was cancelled, goes on in that very turn
        self._news.set()
        await self.flush()

    async def run(self) -> None:
        """Write until closed. The run has a task for this."""
        with CancelScope(shield=True) as self._scope:
            while self._has_any() or not self._is_closing:
                if self._is_due():
                    await self._write()
                    continue
                self._news = anyio.Event()
                with anyio.move_on_after(self.period if self._entries else None) as patience:
                    await self._news.wait()
                if patience.cancelled_caught:
                    self._wanted = self.added

    def abandon(self) -> None:
        """Stop writing, whatever is left."""
        self.has_failed = True
        if self._scope is not None:
            self._scope.cancel()

    def _has_any(self) -> bool:
        return bool(self._entries or self._notes) or self._continuation is not None

    def _is_due(self) -> bool:
        is_wanted = self.recorded < self._wanted or self._is_closing or self._is_urgent
        return (self._has_any() and is_wanted) or len(self._entries) >= self.largest

    async def _write(self) -> None:
        batch = Batch(self._entries, self._notes, self._continuation)
        self._entries, self._notes, self._continuation, self._is_urgent = [], [], None, False
        self._in_hand = len(batch.entries)
        count = len(batch.entries) + (batch.continuation is not None)
        try:
            missing = await self.backend.write(batch)
        except PartlyWrittenError as error:
            lost = [entry for entry in batch.entries if entry.node_id not in error.written]
            self.recorded += len(batch.entries) - len(lost)
            self._fail([*lost, *self._entries], error.reason)
        except get_cancelled_exc_class():
            raise  # it has been abandoned
        except BaseException as error:
            self._fail([*batch.entries, *self._entries], error)
            if not isinstance(error, Exception):
                # Pickling runs user code, which may exit. That ends the run, and not the event loop around it.
                self.on_failure(error)
        else:
            self.recorded += count
            if count:
                self.on_recorded(count, self.recorded)
            if missing:
                self.on_not_durable(missing)
        finally:
            self._in_hand = 0
            self._progress.set()
            self._progress = anyio.Event()

    def _fail(self, lost: list[Entry], error: BaseException) -> None:
        self.has_failed = True
        for left in (self._entries, self._notes, self._held):
            left.clear()
        self._continuation = None
        failure = StateError(
            f"the state store failed ({describe(error)}): {self.recorded} settled nodes are recorded, "
            f"{len(lost)} are not",
            recorded=self.recorded,
            lost=[entry.node_id for entry in lost],
        )
        failure.__cause__ = error
        self.on_failure(failure)
