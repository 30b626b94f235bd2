"""Plain nodes that wait behind others of their task that ask for admission, and need no tasks of their own.

Only a hundred nodes of one task and priority ask at once. If none of these can be admitted, no later one can be
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

    While anybody waits behind the nodes of a task, at least one of these asks, or is about to be started. If it
    goes to a lane then, nobody asks, and those behind are to be started too.

    Attributes:
        ranks: How urgent nodes are, if that matters.
        priorities: How urgent the user says they are, if anything is said.
        told: Nodes of whose waiting somebody has been told.
    """

    ranks: Sequence[float] | None
    priorities: Sequence[int] | None = None
    told: set[int] = attrs.field(factory=set)
    # By task and priority.
    _asking: dict[tuple[Callee, int], set[int]] = attrs.field(factory=dict)
    _behind: dict[tuple[Callee, int], Queue] = attrs.field(factory=dict)

    def __len__(self) -> int:
        """How many wait behind those that ask."""
        return sum(map(len, self._behind.values()))

    def _key(self, task: Callee, index: int) -> tuple[Callee, int]:
        return task, 0 if self.priorities is None else self.priorities[index]

    def is_full(self, task: Callee, index: int) -> bool:
        """Whether the node, a call of *task*, need not ask yet."""
        return len(self._asking.get(self._key(task, index), ())) >= MOST_ASKING

    def ask(self, task: Callee, index: int) -> None:
        """The node begins to ask."""
        self._asking.setdefault(self._key(task, index), set()).add(index)

    def wait(self, task: Callee, index: int) -> None:
        """The node waits behind those that ask."""
        key = self._key(task, index)
        behind = self._behind.get(key)
        if behind is None:
            behind = self._behind[key] = deque() if self.ranks is None else RankedQueue(self.ranks)
        behind.append(index)

    def disperse(self) -> list[int]:
        """Let go of all nodes that wait behind others; returns them, each task's in their order."""
        behind, self._behind = self._behind, {}
        return [index for waiting in behind.values() for index in _taken(waiting)]

    def left_alone(self) -> list[int]:
        """Let go of nodes behind others of which none asks any more, as lanes took the last; returns them."""
        alone = [key for key in self._behind if key not in self._asking]
        return [index for key in alone for index in _taken(self._behind.pop(key))]

    def leave(self, task: Callee, index: int, *, all_at_once: bool) -> list[int]:
        """The node has been admitted, or asks no longer. A second call does nothing.

        Returns:
            The nodes that are to ask now: the next one, or all there are.
        """
        key = self._key(task, index)
        asking = self._asking.get(key, set())
        if index not in asking:
            return []
        asking.remove(index)
        if not asking:
            del self._asking[key]
        behind = self._behind.get(key, deque())
        following = [behind.popleft() for _ in range(len(behind) if all_at_once else min(len(behind), 1))]
        if not behind:
            self._behind.pop(key, None)
        return following


def _taken(waiting: Queue) -> list[int]:
    return [waiting.popleft() for _ in range(len(waiting))]
