"""What waits to be written to a state store."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import anyio
import attrs

from cascade.runtime.durability.records import Batch, Continuation, Entry, is_of_undo

# Batches that may wait to be written before the scheduler starts no more nodes.
MOST_WAITING: Final = 10


@attrs.define(eq=False)
class WriteQueue:
    """The next batch, and whether it is due.

    Attributes:
        largest: Entries at which a batch is due; infinite if it is written at the end only.
        entries: Nodes that have settled, in order.
        most: Entries that may wait or be in hand; with so many, no node should start.
        in_hand: Entries that are being written.
        is_closing: Whether nothing more will come, so that everything is due.
        news: Set when the writer has to look again.
    """

    largest: float
    entries: list[Entry] = attrs.field(factory=list)
    most: float = attrs.field(init=False)
    in_hand: int = 0
    is_closing: bool = False
    news: anyio.Event = attrs.field(factory=anyio.Event)
    _notes: list[Entry] = attrs.field(factory=list)
    _continuation: Continuation | None = None
    _is_urgent: bool = False
    # Entries that were here, and have been taken or dropped.
    _gone: int = 0
    # Whether there was any entry that outlives the turn of a loop.
    _keeps: bool = False

    def __attrs_post_init__(self) -> None:
        self.most = MOST_WAITING * self.largest

    @property
    def added(self) -> int:
        """Number of entries that have been added so far. The beginning of a turn counts as one."""
        return self._gone + self._waiting()

    def _waiting(self) -> int:
        return len(self.entries) + (self._continuation is not None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self.entries or self._notes) and self._continuation is None

    def add(self, entry: Entry) -> None:
        """Queue the outcome of a node."""
        entries = self.entries
        entries.append(entry)
        if (count := len(entries)) == 1 or count >= self.largest:
            self.news.set()

    def keep(self, entry: Entry) -> None:
        """Queue what is about undoing, and outlives the turn of a loop."""
        self._keeps = True
        self.add(entry)

    def kept_in(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those of *entries* that are about undoing."""
        return [entry for entry in entries if is_of_undo(entry.node_id)] if self._keeps else []

    def note(self, entry: Entry) -> None:
        """Queue a node that failed, was cancelled, or waits for another attempt."""
        self._notes.append(entry)
        if entry.status == "retrying" and math.isfinite(self.largest):
            # Written at once: the pause before the next attempt is when a run is likely to be killed.
            self._is_urgent = True
            self.news.set()
        elif len(self._notes) >= self.largest:  # so many failures that their details should not fill the memory
            self._is_urgent = True
            self.news.set()

    def start_over(self, turn: Batch) -> int:
        """Queue *turn* of a loop in place of all entries; returns how many need not be written any more."""
        # The queued entries belong to earlier turns, whose records this turn deletes.
        kept = self.kept_in(self.entries)
        dropped = self._waiting() - len(kept)
        self._gone += dropped
        self.entries, self._continuation = [*kept, *turn.entries], turn.continuation
        self._notes = [*self.kept_in(self._notes), *turn.notes]
        self._is_urgent = True
        self.news.set()
        return dropped

    def is_due(self, *, is_wanted: bool) -> bool:
        """Whether a batch is to be written now.

        Args:
            is_wanted: Whether a caller of ``flush`` waits for what is queued.
        """
        is_asked_for = is_wanted or self.is_closing or self._is_urgent
        return (is_asked_for and not self.is_empty) or len(self.entries) >= self.largest

    async def until_news(self, period: float) -> bool:
        """Wait for news; returns ``False`` if entries have waited for *period* seconds instead."""
        self.news = anyio.Event()
        with anyio.move_on_after(period if self.entries else None) as patience:
            await self.news.wait()
        return not patience.cancelled_caught

    def take(self) -> Batch:
        """Everything that is queued, to be written now."""
        self._gone += self._waiting()
        batch = Batch(self.entries, self._standing_notes(), self._continuation)
        self.entries, self._notes, self._continuation, self._is_urgent = [], [], None, False
        self.in_hand = len(batch.entries)
        return batch

    def _standing_notes(self) -> list[Entry]:
        """The notes, without those that another attempt follows of nodes that have ended since.

        Stores write notes after entries, so such a note would take the place of the outcome.
        """
        if not self._notes or not self.entries:
            return self._notes
        ended = {entry.node_id for entry in self.entries}
        return [note for note in self._notes if note.status != "retrying" or note.node_id not in ended]

    def clear(self) -> None:
        """Drop everything."""
        self.entries.clear()
        self._notes.clear()
        self._continuation = None
