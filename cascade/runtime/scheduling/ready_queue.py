"""What waits for a lane, in the order in which it is to be taken. Used by the loop and by threads at once."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import attrs


class Queue(Protocol):
    """Numbers of nodes; each operation is one step to other threads."""

    def append(self, index: int, /) -> None:
        """Add a node."""
        ...

    def appendleft(self, index: int, /) -> None:
        """Give back a node that was taken: it is the next of its kind."""
        ...

    def popleft(self) -> int:
        """Take the next node.

        Raises:
            IndexError: If there is none.
        """
        ...

    def clear(self) -> None:
        """Forget all of them."""
        ...

    def __getitem__(self, place: int, /) -> int: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[int]: ...


@attrs.define(eq=False)
class RankedQueue:
    """The node of the highest priority goes first; of equals the highest rank, and then the one that came first.

    Attributes:
        ranks: By node.
        priorities: By node; ``None`` if there are none.
    """

    ranks: Sequence[float]
    priorities: Sequence[int] | None = None
    _heap: list[tuple[Any, int, int]] = attrs.field(factory=list)
    _came: Iterator[int] = attrs.field(factory=itertools.count)

    def _urgency(self, index: int) -> Any:
        """The smaller, the sooner it goes."""
        rank = -self.ranks[index]
        return rank if self.priorities is None else (-self.priorities[index], rank)

    def append(self, index: int) -> None:
        """Add a node."""
        heapq.heappush(self._heap, (self._urgency(index), next(self._came), index))

    def appendleft(self, index: int) -> None:
        """Give back a node that was taken: it is the next of its rank."""
        heapq.heappush(self._heap, (self._urgency(index), -1, index))

    def popleft(self) -> int:
        """Take the node that goes first.

        Raises:
            IndexError: If there is none.
        """
        return heapq.heappop(self._heap)[2]

    def outranks(self, index: int) -> bool:
        """Whether somebody here goes before *index*."""
        try:
            return bool(self._heap[0][0] < self._urgency(index))
        except IndexError:  # another thread has taken the last one
            return False

    def clear(self) -> None:
        """Forget all of them."""
        self._heap.clear()

    def __getitem__(self, place: int) -> int:
        return self._heap[place][2]

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[int]:
        return iter([index for _, _, index in sorted(self._heap)])


def most_urgent_first(indices: Iterable[int], priorities: Sequence[int] | None) -> Iterable[int]:
    """*indices* by priority, the highest first, and in their order among equals; as they are if there are none."""
    return indices if priorities is None else sorted(indices, key=lambda index: -priorities[index])
