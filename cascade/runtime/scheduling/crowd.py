"""Plain nodes that wait behind others of their task that ask for admission, and need no tasks of their own.

Only a hundred nodes of one task ask at once. If none of these can be admitted, no later node of the task can be
either, so the later ones wait by index and need no task yet. Each node that is admitted lets the next one ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import attrs

from cascade.model.calls.callee import Callee
from cascade.runtime.scheduling.ready_queue import Queue, RankedQueue

# Nodes of one task that ask at once. It bounds how many of the nodes that wait need a task, and nothing else.
MOST_ASKING: Final = 100


@attrs.define(eq=False)
class Crowd:
    """The plain nodes of a frame that lanes do not take, as a rule stands or somebody is told of each.

    While anybody waits behind the nodes of a task, at least one of these asks.

    Attributes:
        ranks: How urgent nodes are, if that matters.
        told: Nodes of whose waiting somebody has been told.
    """

    ranks: Sequence[float] | None
    told: set[int] = attrs.field(factory=set)
    _asking: dict[Callee, set[int]] = attrs.field(factory=dict)
    _behind: dict[Callee, Queue] = attrs.field(factory=dict)

    def __len__(self) -> int:
        """How many wait behind those that ask."""
        return sum(map(len, self._behind.values()))

    def is_full(self, task: Callee) -> bool:
        """Whether a node of *task* need not ask yet."""
        return len(self._asking.get(task, ())) >= MOST_ASKING

    def ask(self, task: Callee, index: int) -> None:
        """The node begins to ask."""
        self._asking.setdefault(task, set()).add(index)

    def wait(self, task: Callee, index: int) -> None:
        """The node waits behind those that ask."""
        behind = self._behind.get(task)
        if behind is None:
            behind = self._behind[task] = deque() if self.ranks is None else RankedQueue(self.ranks)
        behind.append(index)

    def disperse(self) -> list[int]:
        """Let go of all nodes that wait behind others; returns them, each task's in their order."""
        behind, self._behind = self._behind, {}
        return [index for waiting in behind.values() for index in _taken(waiting)]

    def leave(self, task: Callee, index: int, *, all_at_once: bool) -> list[int]:
        """The node has been admitted, or asks no longer. A second call does nothing.

        Returns:
            The nodes that are to ask now: the next one, or all there are.
        """
        asking = self._asking.get(task, set())
        if index not in asking:
            return []
        asking.remove(index)
        if not asking:
            del self._asking[task]
        behind = self._behind.get(task, deque())
        following = [behind.popleft() for _ in range(len(behind) if all_at_once else min(len(behind), 1))]
        if not behind:
            self._behind.pop(task, None)
        return following


def _taken(waiting: Queue) -> list[int]:
    return [waiting.popleft() for _ in range(len(waiting))]
