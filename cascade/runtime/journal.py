"""The journal: settled nodes on their way to the state store, in order and in batches, beside the work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import attrs
from anyio import CancelScope

from cascade.model.errors import StateError, describe
from cascade.model.outcomes import SkipReason
from cascade.runtime.state import StateBackend


@attrs.frozen
class Entry:
    """A settled node: a result, or the reason of a skip."""

    node_id: str
    value: Any
    reason: SkipReason | None = None


@attrs.define(eq=False)
class Journal:
    """Writes entries to a backend, one batch at a time.

    Attributes:
        backend: The store.
        on_recorded: Called with the number of entries of a batch, and of all, once they are in the store.
        on_failure: Called when the store fails; nothing is written after that.
        period: Seconds after which entries are written without being asked for.
        largest: Number of entries at which they are.
        added: Entries taken.
        recorded: Entries that are in the store.
    """

    backend: StateBackend
    on_recorded: Callable[[int, int], None]
    on_failure: Callable[[StateError], None]
    period: float = math.inf
    largest: float = 1000
    added: int = 0
    recorded: int = 0
    _entries: list[Entry] = attrs.field(factory=list)
    # Number of entries, of all that were added, that somebody waits to see recorded.
    _wanted: int = 0
    _is_closing: bool = False
    _has_failed: bool = False
    _scope: CancelScope | None = None
    _news: anyio.Event = attrs.field(factory=anyio.Event)
    _progress: anyio.Event = attrs.field(factory=anyio.Event)

    def add(self, entry: Entry) -> None:
        """Queue *entry*."""
        if self._has_failed:
            return
        self._entries.append(entry)
        self.added += 1
        if len(self._entries) == 1 or len(self._entries) == self.largest:
            self._news.set()

    async def flush(self) -> None:
        """Wait until all that was added so far is in the store, or the store has failed."""
        target = self.added
        while self.recorded < target and not self._has_failed:
            self._wanted = max(self._wanted, target)
            self._news.set()
            await self._progress.wait()

    async def close(self) -> None:
        """Write what is left, and end :meth:`run`."""
        self._is_closing = True
        self._news.set()
        await self.flush()

    async def run(self) -> None:
        """Write until closed. The run has a task for this."""
        with CancelScope(shield=True) as self._scope:
            while self._entries or not self._is_closing:
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
        self._has_failed = True
        if self._scope is not None:
            self._scope.cancel()

    def _is_due(self) -> bool:
        is_wanted = self.recorded < self._wanted or self._is_closing
        return bool(self._entries) and (is_wanted or len(self._entries) >= self.largest)

    async def _write(self) -> None:
        batch, self._entries = self._entries, []
        results = {entry.node_id: entry.value for entry in batch if entry.reason is None}
        skips = [entry for entry in batch if entry.reason is not None]
        lost = batch
        try:
            await self.backend.put_results(results)
            lost = skips
            await self.backend.mark_all_skipped({entry.node_id: str(entry.reason) for entry in skips})
        except Exception as error:
            self.recorded += len(batch) - len(lost)
            self._fail([*lost, *self._entries], error)
        else:
            self.recorded += len(batch)
            self.on_recorded(len(batch), self.recorded)
        self._progress.set()
        self._progress = anyio.Event()

    def _fail(self, lost: list[Entry], error: Exception) -> None:
        self._has_failed = True
        self._entries.clear()
        failure = StateError(
            f"the state store failed ({describe(error)}): {self.recorded} settled nodes are recorded, "
            f"{len(lost)} are not",
            recorded=self.recorded,
            lost=[entry.node_id for entry in lost],
        )
        failure.__cause__ = error
        self.on_failure(failure)
