"""What a run would have to undo: its nodes that have succeeded and have an undo, in order of success.

Kept in memory, and with a state also in the store: each success is a record of its own, under a reserved id, that
outlives the turn of the loop to which the node belongs. See ``records.py`` for the ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from cascade.graph.nodes import Undo, task_of
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import (
    UNDO_BEGUN,
    UNDO_TIMES,
    Entry,
    Past,
    done_id,
    is_of_undo,
    undo_id,
)
from cascade.runtime.foundation.fairness import paced_list, portions

# Records that are read at once.
_AT_ONCE: Final = 500
# Ids that are asked for first, of a store that does not list its records; after that twice as many each time.
_FIRST: Final = 1


@attrs.define(eq=False)
class RecordedUndos:
    """The records of an earlier execution that are about undoing.

    Attributes:
        successes: Numbers of the successes that can be undone, in order.
        done: Numbers of those that have been undone.
        has_begun: Whether undoing has begun.
        times: How often nodes were undone in executions before that, by what stands for them in idempotency keys.
        starts_over: Whether all records are to be deleted once the undo is complete, as the flow has changed.
        last: The highest number that has been given.
    """

    successes: Sequence[int] = ()
    done: frozenset[int] = frozenset()
    has_begun: bool = False
    times: Mapping[str, int] = attrs.field(factory=dict)
    starts_over: bool = False
    last: int = 0

    def pending(self) -> Iterator[int]:
        """Numbers of the successes that have not been undone, in order."""
        return (number for number in self.successes if number not in self.done)

    def ids(self) -> list[str]:
        """The ids of the records, in the order in which they may be deleted."""
        begun = [UNDO_BEGUN] if self.has_begun else []
        return [*map(undo_id, self.successes), *map(done_id, self.successes), *begun]


async def recorded_undos(backend: StateBackend, past: Past) -> tuple[RecordedUndos, Past]:
    """What *backend* has recorded of undos, and *past* without that."""
    if not past.is_known:
        return RecordedUndos(), past
    if past.nodes is None:
        listed = await _asked_for(backend)
    else:
        listed = await paced_list(name if is_of_undo(name) else None for name in past.nodes)
        if not listed:
            return RecordedUndos(), past
        nodes = await paced_list(None if is_of_undo(name) else name for name in past.nodes)
        past = attrs.evolve(past, nodes=nodes)
    return await _read(backend, listed), past


async def _asked_for(backend: StateBackend) -> list[str]:
    """The ids of the records about undos in a store that does not list its records, and so is asked for each."""
    found = list(await backend.recall([UNDO_TIMES]))
    first, count = 1, _FIRST
    while True:
        numbers = range(first, first + count)
        successes = await backend.recall([undo_id(number) for number in numbers])
        found += successes
        if len(successes) < count:
            break
        first, count = first + count, 2 * count
    if len(found) and (first > 1 or successes):
        found += await backend.recall([done_id(number) for number in range(first + len(successes))])
    return found


async def _read(backend: StateBackend, listed: Iterable[str]) -> RecordedUndos:
    ids = set(listed)
    numbers = {name: int(name.rpartition(":")[2]) for name in ids if name != UNDO_TIMES}
    times: Mapping[str, int] = {}
    if UNDO_TIMES in ids:
        times = (await backend.get_readable_results([UNDO_TIMES])).get(UNDO_TIMES, {})
    has_begun = UNDO_BEGUN in ids
    # Without the mark that undoing has begun, others are left over from an undo that was complete.
    done = (number for name, number in numbers.items() if has_begun and number and name == done_id(number))
    successes = sorted(number for name, number in numbers.items() if name == undo_id(number))
    last = max(numbers.values(), default=0)
    return RecordedUndos(successes, frozenset(done), has_begun, times, last=last)


@attrs.frozen(eq=False)
class Undoable:
    """A node that has succeeded, and what undoes it.

    Attributes:
        node_id: The node.
        task_name: Name of its task.
        undo: The task that undoes it.
        value: The value of the node.
        key: What stands for the node in idempotency keys.
        label: What people call the node.
    """

    node_id: str
    task_name: str
    undo: Undo
    value: object
    key: str
    label: str | None = None

    @property
    def undo_name(self) -> str:
        """Name of the task that undoes it."""
        return task_of(self.undo).name


@attrs.define(eq=False)
class UndoLog:
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

    def before(self) -> int:
        """How much was undone in earlier executions, after which numbers begin again."""
        return sum(self.times.values())

    def note(self, undoable: Undoable) -> None:
        """A node has succeeded. To be called before the node itself is recorded: a store that is killed between
        the two has an undo too many, not one too few.
        """
        self._last += 1
        self.pending[self._last] = undoable
        if self.journal is not None:
            about = f"{undoable.undo_name}\n{undoable.node_id}"
            self.journal.add(Entry(undo_id(self._last), undoable, task_name=about), outlives=True)

    async def begin(self) -> bool:
        """Record that from now on nodes are undone; returns whether they may be."""
        if not self.has_begun and self.journal is not None:
            self.journal.add(Entry(UNDO_BEGUN, True), outlives=True)
        self.has_begun = await self._written()
        self.is_refused = not self.has_begun
        return self.has_begun

    async def done(self, number: int) -> bool:
        """Record that a node has been undone; returns whether the next one may be."""
        undoable = self.pending.pop(number)
        if self.journal is not None and undoable is not None:
            self.journal.add(Entry(done_id(number), (undoable.node_id, undoable.key)), outlives=True)
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
        for portion in portions(unread, _AT_ONCE):
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
        undoable = self.pending.get(int(record_id.rpartition(":")[2]))
        return "an undo is not durable" if undoable is None else f"the undo of {undoable.node_id!r} is not durable"

    def names(self, numbers: Iterable[int]) -> Iterator[str]:
        """The nodes with these *numbers*, as messages call them."""
        for number in numbers:
            undoable = self.pending[number]
            yield "a node whose record was not read" if undoable is None else repr(undoable.node_id)
