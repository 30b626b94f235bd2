"""How long each node of a flow has taken: what ranks are made of, once the flow has been run.

They are kept by the *outline* of the flow: its tasks, and which node needs which. Flows of one outline have the
same node ids. Literal arguments and policies are no part of it, so a flow that is run daily on other data keeps
its outline; one with another node has a new one, for which nothing is known.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator
from hashlib import blake2b
from itertools import chain, islice
from typing import Final, cast

import attrs

from cascade.graph.nested import PAUSE_EVERY, Steps
from cascade.graph.nodes import Graph, Junction, MapNode, Row

UNKNOWN: Final = -1.0
_OUTLINE_BYTES: Final = 16
# Weight of one more run: the runs before count for the rest.
_NEWS: Final = 0.5


def outline_steps(graph: Graph) -> Steps[bytes]:
    """A digest of the tasks of *graph* and of their order; the same in every process."""
    digest = blake2b(digest_size=_OUTLINE_BYTES)
    kinds: dict[Hashable, int] = {}
    numbers = (kinds.setdefault(_kind(row), len(kinds)) for row in graph.rows)
    for part in (numbers, map(len, graph.sources), chain.from_iterable(graph.sources)):
        for packed in _packed(part):
            digest.update(packed)
            yield
    for kind in kinds:
        digest.update(_label(kind).encode("utf-8", "backslashreplace"))
    return digest.digest()


def _kind(row: Row) -> Hashable:
    """The same for rows that differ in arguments and policies only."""
    if isinstance(row, Junction):
        return row.label
    return (row.task,) if isinstance(row, MapNode) else cast("Hashable", row.task)


def _label(kind: Hashable) -> str:
    if isinstance(kind, str):
        return f"\0{kind}"
    is_map = isinstance(kind, tuple)
    task = kind[0] if isinstance(kind, tuple) else kind
    return f"\0{'map' if is_map else 'call'} {getattr(task, '__module__', '')} {getattr(task, 'name', '')}"


def _packed(numbers: Iterator[int]) -> Iterator[bytes]:
    while some := array("I", islice(numbers, PAUSE_EVERY)):
        yield some.tobytes()


@attrs.define(eq=False)
class NodeDurations:
    """Seconds that each node of the flows of one outline has taken.

    Attributes:
        outline: The outline.
        seconds: By node; ``UNKNOWN`` where there is none.
        has_learnt: Whether any of it was seen in this process.
    """

    outline: bytes
    seconds: array[float]
    has_learnt: bool = False

    @classmethod
    def none(cls, outline: bytes, size: int) -> NodeDurations:
        """Those of a flow of *size* nodes that has not been run."""
        return cls(outline, array("d", [UNKNOWN]) * size)

    def learn(self, index: int, seconds: float) -> None:
        """The node has taken so long; later runs count for more than earlier ones."""
        known = self.seconds[index]
        self.seconds[index] = seconds if known == UNKNOWN else known + (seconds - known) * _NEWS
        self.has_learnt = True

    def recall(self, packed: bytes) -> None:
        """Take over what :meth:`packed` gave in another process, unless this one has seen the flow itself."""
        if self.has_learnt or len(packed) != 4 * len(self.seconds):
            return
        self.seconds = array("d", array("f", packed))

    def packed(self) -> bytes:
        """For a store: four bytes a node."""
        return array("f", self.seconds).tobytes()
