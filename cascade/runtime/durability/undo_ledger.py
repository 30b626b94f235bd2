"""What a run would have to undo: its nodes that have succeeded and have an undo, in order of success.

Kept in memory, and with a state also in the store: each success is a record of its own, under a reserved id, that
outlives the turn of the loop to which the node belongs. See ``records.py`` for the ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from cascade.graph.nodes import Undo, task_of
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import UNDO_BEGUN, Entry, done_id, undo_id
from cascade.runtime.durability.recovery import PORTION
from cascade.runtime.durability.undo_records import RecordedUndos
from cascade.runtime.foundation.fairness import portions


@attrs.frozen(eq=False)
class Undoable:
    """A node that has succeeded, and what undoes it.

    Attributes:
        node_id: The node.
        task_name: Name of its task.
        undo: The task that undoes it.
        value: The value of the node.
        key: What stands for the node in idempotency keys.
    """

    node_id: str
    task_name: str
    undo: Undo
    value: object
    key: str

    @property
    def undo_name(self) -> str:
        """Name of the task that undoes it."""
        return task_of(self.undo).name


@attrs.define(eq=False)
class UndoLedger:
    """The successes of a run that can be undone, by number, in order.

    Attributes:
        pending: Those that have not been undone; ``None`` for one whose record has not been read.
        times: How often nodes were undone in earlier executions, by what stands for them in idempotency keys.
        has_begun: Whether an undo has begun.
        is_refused: Whether none may begin, as the store that should know of it has failed: whoever resumes the run
            goes on from what is recorded.
        journal: Writes; ``None`` without a state.
    """

    pending: dict[int, Undoable | None] = attrs.field(factory=dict)
    times: Mapping[str, int] = attrs.field(factory=dict)
    has_begun: bool = False
    is_refused: bool = False
    journal: Journal | None = None
    _last: int = 0

    def take_up(self, recorded: RecordedUndos) -> None:
        """Go on from what an earlier execution has *recorded*."""
        self.pending = dict.fromkeys(recorded.pending())
        self.times, self.has_begun, self._last = recorded.times, recorded.has_begun, recorded.last

    def note(self, undoable: Undoable) -> None:
        """A node has succeeded. To be called before the node itself is recorded: a store that is killed between
        the two has an undo too many, not one too few.
        """
        self._last += 1
        self.pending[self._last] = undoable
        if self.journal is not None:
            about = f"{undoable.undo_name}\n{undoable.node_id}"
            self.journal.keep(Entry(undo_id(self._last), undoable, task_name=about))

    async def begin(self) -> bool:
        """Record that from now on nodes are undone; returns whether they may be."""
        if not self.has_begun and self.journal is not None:
            self.journal.keep(Entry(UNDO_BEGUN, True))
        self.has_begun = await self._written()
        self.is_refused = not self.has_begun
        return self.has_begun

    async def done(self, number: int) -> bool:
        """Record that a node has been undone; returns whether the next one may be."""
        undoable = self.pending.pop(number)
        if self.journal is not None and undoable is not None:
            self.journal.keep(Entry(done_id(number), (undoable.node_id, undoable.key)))
        return await self._written()

    def failed(self, number: int, error: str) -> None:
        """Record, for people, that the undo of a node has failed."""
        if self.journal is not None:
            self.journal.add(Entry(done_id(number), status="failed", error=error))

    async def _written(self) -> bool:
        if self.journal is None:
            return True
        await self.journal.flush()
        return not self.journal.has_failed

    async def read(self, backend: StateBackend) -> None:
        """Read the records that have not been read; what cannot be read stays ``None``."""
        unread = [number for number, undoable in self.pending.items() if undoable is None]
        for portion in portions(unread, PORTION):
            values = await backend.get_readable_results([undo_id(number) for number in portion])
            for number in portion:
                found = values.get(undo_id(number))
                if isinstance(found, Undoable):
                    self.pending[number] = found

    async def forget(self, backend: StateBackend) -> None:
        """Delete the records: the run has succeeded."""
        if self.pending:
            await backend.forget([undo_id(number) for number in self.pending])

    def about(self, record_id: str) -> str:
        """What it means that the store could not take the record *record_id*."""
        of = [undoable for number, undoable in self.pending.items() if undo_id(number) == record_id and undoable]
        return f"the undo of {of[0].node_id!r} is not durable" if of else "an undo is not durable"

    def names(self, numbers: Iterable[int]) -> Iterator[str]:
        """The nodes with these *numbers*, as messages call them."""
        for number in numbers:
            undoable = self.pending[number]
            yield "a node whose record was not read" if undoable is None else repr(undoable.node_id)
