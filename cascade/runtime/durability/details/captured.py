"""What nodes print and log, on its way to their records. Only for a run that is asked to keep it."""

from __future__ import annotations

import threading
from collections import deque
from contextvars import ContextVar
from typing import Final

import attrs

from cascade.model.shown.secrets import Secrets
from cascade.model.shown.text import counted
from cascade.runtime.foundation.task_context import ambient

# Characters that are kept of what one node writes: of the beginning, and of the end.
FIRST: Final = 4_096
LAST: Final = 12_288
# Nodes that have written and have not ended; of more, nothing is kept.
MOST_NODES: Final = 10_000


@attrs.define(eq=False)
class _Text:
    """The beginning and the end of a long text."""

    head: str = ""
    tail: deque[str] = attrs.field(factory=deque)
    # Characters in the tail, and those that were dropped between the two.
    kept: int = 0
    dropped: int = 0

    def add(self, text: str) -> None:
        room = FIRST - len(self.head)
        if room > 0:
            self.head += text[:room]
            text = text[room:]
        if not text:
            return
        self.tail.append(text)
        self.kept += len(text)
        while self.kept > LAST and len(self.tail) > 1:
            gone = len(self.tail.popleft())
            self.kept, self.dropped = self.kept - gone, self.dropped + gone
        if self.kept > LAST:  # one very long piece
            gone = self.kept - LAST
            self.tail[0] = self.tail[0][gone:]
            self.kept, self.dropped = LAST, self.dropped + gone

    def shown(self, secrets: Secrets) -> str:
        """The text without *secrets*, also such that were written piece by piece."""
        tail = "".join(self.tail)
        if not self.dropped:
            return secrets.redact(self.head + tail)
        # Where it is cut, a secret may be cut in two, and would not be found: so much is left out.
        head, tail = secrets.redact(self.head), secrets.redact(tail)
        whole, slack = len(head) + len(tail), secrets.longest
        head, tail = head[: max(len(head) - slack, 0)], tail[slack:]
        dropped = self.dropped + whole - len(head) - len(tail)
        return f"{head}\n... ({counted(dropped, 'character')} left out) ...\n{tail}"


@attrs.define(eq=False)
class Captured:
    """Takes what nodes write, in whatever thread they run, until it is recorded.

    Attributes:
        runs: Ids of the runs that record it.
    """

    runs: set[str] = attrs.field(factory=set)
    _texts: dict[tuple[str, str], _Text] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def write(self, text: str) -> None:
        """Keep *text* for the node in which the caller runs; outside attempts and after them, it is not kept."""
        attempt = ambient()  # what is over has been recorded
        if attempt is not None and text:
            self.put(attempt.run_id, attempt.node_id, text)

    def put(self, run_id: str, node_id: str, text: str) -> None:
        """Keep *text*, which the node *node_id* has written."""
        if run_id not in self.runs:
            return
        key = run_id, node_id
        with self._lock:
            known = self._texts.get(key)
            if known is None and len(self._texts) < MOST_NODES:
                known = self._texts[key] = _Text()
            if known is not None:
                known.add(text)

    def text_of(self, run_id: str, node_id: str, secrets: Secrets, *, is_last: bool) -> str | None:
        """What a node has written so far, without *secrets*; ``None`` if nothing.

        Args:
            run_id: The run.
            node_id: The node.
            secrets: What is left out.
            is_last: Whether the node has ended, so that it need not be kept any more.
        """
        if (run_id, node_id) not in self._texts:
            return None
        with self._lock:
            found = self._texts.pop((run_id, node_id)) if is_last else self._texts[run_id, node_id]
            return found.shown(secrets)


# What takes the output of nodes, for runs that begin in this context; None: it is not kept.
captured_var: ContextVar[Captured | None] = ContextVar("cascade_captured", default=None)
