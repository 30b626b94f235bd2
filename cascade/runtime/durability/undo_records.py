"""What a store has of the undos of an earlier execution: which successes, which of them are undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import (
    UNDO_BEGUN,
    UNDO_TIMES,
    Past,
    done_id,
    is_of_undo,
    undo_id,
)
from cascade.runtime.foundation.fairness import paced_list

# Ids that are asked for first, of a store that does not list its records; after that twice as many each time.
_FIRST = 1


@attrs.define(eq=False)
class RecordedUndos:
    """The records of an earlier execution that are about undoing.

    Attributes:
        successes: Numbers of the successes that can be undone, in order.
        done: Numbers of those that have been undone.
        has_begun: Whether undoing has begun.
        times: How often nodes were undone in executions before that, by what stands for them in idempotency keys.
        starts_over: Whether all records are to be deleted once the undo is complete, as the flow has changed.
    """

    successes: Sequence[int] = ()
    done: frozenset[int] = frozenset()
    has_begun: bool = False
    times: Mapping[str, int] = attrs.field(factory=dict)
    starts_over: bool = False

    @property
    def last(self) -> int:
        """The highest number that has been given."""
        return max([*self.successes, *self.done], default=0)

    def pending(self) -> Iterator[int]:
        """Numbers of the successes that have not been undone, in order."""
        return (number for number in self.successes if number not in self.done)

    def ids(self) -> list[str]:
        """The ids of the records, in the order in which they may be deleted."""
        begun = [UNDO_BEGUN] if self.has_begun else []
        return [*map(undo_id, self.successes), *map(done_id, self.done), *begun]


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
    return RecordedUndos(
        sorted(number for name, number in numbers.items() if name == undo_id(number)),
        frozenset(number for name, number in numbers.items() if name == done_id(number) and number),
        UNDO_BEGUN in ids,
        times,
    )
