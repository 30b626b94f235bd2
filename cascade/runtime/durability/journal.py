"""The journal: writes settled nodes to the state store, in order and in batches, while the run goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from anyio import CancelScope, get_cancelled_exc_class

from cascade.model.errors import StateError
from cascade.model.shown.raised import describe
from cascade.runtime.durability.backend import PartlyWrittenError, StateBackend
from cascade.runtime.durability.loop_records import LoopRecords
from cascade.runtime.durability.records import Entry, NotDurable, is_of_undo
from cascade.runtime.durability.write_queue import WriteQueue


class Journal:
    """Writes entries to a backend, one batch at a time.

    Args:
        backend: The store.
        on_recorded: Called with the number of entries of a batch, and of all, once they are in the store.
        on_failure: Called when the store fails; nothing is written after that.
        on_not_durable: Called with the nodes whose values the store could not take.
        period: Seconds after which entries are written without being asked for.
        largest: Number of entries at which they are written; infinite: at the end only.
        turns_between: Turns of a loop after which one is recorded.
        seconds_between: Seconds after which a turn is recorded.

    Attributes:
        backend: The store.
        recorded: Number of entries that need not be written any more: they are in the store, or a later turn of
            their loop is.
        has_failed: Whether nothing is written any more.
    """

    def __init__(
        self,
        backend: StateBackend,
        *,
        on_recorded: Callable[[int, int], None],
        on_failure: Callable[[BaseException], None],
        on_not_durable: Callable[[NotDurable], None],
        period: float = math.inf,
        largest: float = 1000,
        turns_between: int = 1000,
        seconds_between: float = 0.1,
    ) -> None:
        self.backend = backend
        self.recorded: int = 0
        self.has_failed: bool = False
        self._on_recorded = on_recorded
        self._on_failure = on_failure
        self._on_not_durable = on_not_durable
        self._period = period
        self._queue = WriteQueue(largest)
        self._loop = LoopRecords(
            backend, on_not_durable, turns_between, seconds_between, writes_early=math.isfinite(largest)
        )
        # Callers of flush() wait until this many of the entries that were added are recorded.
        self._wanted = 0
        # Entries in the store that are no nodes.
        self._kept = 0
        self._scope: CancelScope | None = None
        self._progress = anyio.Event()

    def add(self, entry: Entry, *, outlives: bool = False) -> None:
        """Queue *entry*. If it *outlives* the turn of the loop to which it belongs, it is about undoing."""
        if self.has_failed:
            return
        if outlives:
            self._queue.keep(entry)
            return
        if self._loop.turn is not None and not is_of_undo(entry.node_id):
            if (turn := self._loop.hold(entry)) is not None:
                self.recorded += self._queue.start_over(turn)
        elif entry.is_outcome():
            self._queue.add(entry)
        else:
            self._queue.note(entry)

    def refusal(self, value: Any) -> StateError | None:
        """Why the store cannot take *value*; ``None`` if it can."""
        try:
            self.backend.sealed(value)
        except Exception as error:  # pickling runs the user's code, which may raise anything
            failure = StateError(f"the result cannot be recorded ({describe(error)}), and strict_state is set")
            failure.__cause__ = error
            return failure
        return None

    # -- loops of tail calls -------------------------------------------------------------------------------

    @property
    def keeps_turns(self) -> bool:
        """Whether turns are recorded before the run ends."""
        return self._loop.keeps_turns

    def begin_turn(self, turn: int, value: Any) -> None:
        """The loop goes on with *value*: entries that are added from now on belong to *turn*."""
        if self.has_failed:  # pragma: no cover  # in this very moment; a run whose store has failed makes no turns
            return
        if (due := self._loop.begin_turn(turn, value)) is not None:
            self.recorded += self._queue.start_over(due)

    def go_on_in(self, turn: int, value: Any) -> None:
        """Entries that are added from now on belong to *turn*, which a lane has begun with *value*."""
        if not self.has_failed:
            self._loop.go_on_in(turn, value)

    def until_next_turn(self, turn: int) -> tuple[int, float]:
        """In how many turns after *turn*, and in how many seconds, a turn is to be recorded."""
        return self._loop.until_next_turn(turn)

    # -- waiting for the store -----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether so many entries wait to be written that no node should start."""
        queue = self._queue
        # As is_full_with(0), which would be one more call for each node.
        return len(queue.entries) + queue.in_hand >= queue.most and not self.has_failed

    def is_full_with(self, more: int) -> bool:
        """The same with *more* entries, which have not been added yet."""
        queue = self._queue
        return len(queue.entries) + queue.in_hand + more >= queue.most and not self.has_failed

    async def until_room(self) -> None:
        """Wait while it is full."""
        while self.is_full:
            await self._progress.wait()

    async def flush(self) -> None:
        """Wait until all that was added so far is in the store, or the store has failed."""
        target = self._queue.added
        while self.recorded < target and not self.has_failed:
            self._wanted = max(self._wanted, target)
            self._queue.news.set()
            await self._progress.wait()

    async def close(self) -> None:
        """Write what is left, and end :meth:`run`."""
        self._queue.is_closing = True
        # A loop that failed, or was cancelled, is resumed in the very turn in which it ended.
        if self.backend.keeps_loops and not self.has_failed:
            turn = self._loop.take()
            if turn is not None:
                self.recorded += self._queue.start_over(turn)
            for note in self._loop.failures():  # of a turn that the store cannot take: for people
                self._queue.note(note)
        self._queue.news.set()
        await self.flush()

    # -- writing -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until closed. The run has a task for this."""
        queue = self._queue
        with CancelScope(shield=True) as self._scope:
            while not (queue.is_empty and queue.is_closing):
                if queue.is_due(is_wanted=self.recorded < self._wanted):
                    await self._write()
                    continue
                has_news = await queue.until_news(self._period)
                if not has_news:
                    self._wanted = queue.added

    def abandon(self) -> None:
        """Stop writing, whatever is left."""
        self.has_failed = True
        if self._scope is not None:
            self._scope.cancel()

    async def _write(self) -> None:
        batch = self._queue.take()
        count = len(batch.entries) + (batch.continuation is not None)
        try:
            missing = await self.backend.write(batch)
        except PartlyWrittenError as error:
            lost = [entry for entry in batch.entries if entry.node_id not in error.written]
            self.recorded += len(batch.entries) - len(lost)
            self._fail(lost, error.reason)
        except get_cancelled_exc_class():
            raise  # it has been abandoned
        except BaseException as error:  # told to the run, which raises it: SystemExit must not end this event loop
            self._fail(batch.entries, error)
            if not isinstance(error, Exception):
                self._on_failure(error)
        else:
            self.recorded += count
            kept = len(self._queue.kept_in(batch.entries))
            self._kept += kept
            if count > kept:
                self._on_recorded(count - kept, self.recorded - self._kept)
            if missing:
                self._on_not_durable(missing)
        finally:
            self._queue.in_hand = 0
            self._progress.set()
            self._progress = anyio.Event()

    def _fail(self, unwritten: Sequence[Entry], error: BaseException) -> None:
        """Write nothing any more; *unwritten* are those of the last batch that are not in the store."""
        self.has_failed = True
        lost = [e.node_id for e in (*unwritten, *self._queue.entries) if not is_of_undo(e.node_id)]
        self._queue.clear()
        self._loop.clear()
        failure = StateError(
            f"the state store failed ({describe(error)}): {self.recorded} settled nodes are recorded, "
            f"{len(lost)} are not",
            recorded=self.recorded,
            lost=lost,
        )
        failure.__cause__ = error
        self._on_failure(failure)
