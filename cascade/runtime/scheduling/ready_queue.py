"""What waits for a lane, in the order in which it is to be taken. Used by the loop and by threads at once."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

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
    """The node of the highest rank goes first; of equal ones, the one that came first.

    Attributes:
        ranks: By node.
    """

    ranks: Sequence[float]
    _heap: list[tuple[float, int, int]] = attrs.field(factory=list)
    _came: Iterator[int] = attrs.field(factory=itertools.count)

    def append(self, index: int) -> None:
        """Add a node."""
        heapq.heappush(self._heap, (-self.ranks[index], next(self._came), index))

    def appendleft(self, index: int) -> None:
        """Give back a node that was taken: it is the next of its rank."""
        heapq.heappush(self._heap, (-self.ranks[index], -1, index))

    def popleft(self) -> int:
        """Take the node of the highest rank.

        Raises:
            IndexError: If there is none.
        """
        return heapq.heappop(self._heap)[2]

    def outranks(self, index: int) -> bool:
        """Whether somebody here goes before *index*."""
        try:
            return -self._heap[0][0] > self.ranks[index]
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
