"""The journal of a run that keeps what its nodes write."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import attrs

from cascade.model.shown.secrets import Secrets
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.details.captured import Captured
from cascade.runtime.durability.details.records import NodeDetail
from cascade.runtime.durability.journal import Journal
from cascade.runtime.durability.records import Entry

# Entries at which a batch is written, at most: each may have thousands of characters.
LARGEST: Final = 100


class CapturingJournal(Journal):
    """Adds to each entry what the node has written.

    Args:
        captured: Where that is.
        secrets: What is left out of it.
        on_written: Called with the entry of a node that has ended, and with what it wrote.
        largest: Number of entries at which they are written, at most 100 unless it is infinite.
        as_journal: Everything else that a journal takes.
    """

    def __init__(
        self,
        captured: Captured,
        secrets: Secrets,
        on_written: Callable[[Entry, str], None],
        *,
        backend: StateBackend,
        largest: float,
        **as_journal: Any,
    ) -> None:
        super().__init__(
            backend, largest=min(largest, LARGEST) if math.isfinite(largest) else largest, **as_journal
        )
        self._captured = captured
        self._secrets = secrets
        self._on_written = on_written
        captured.runs.add(self.backend.run_id)

    def add(self, entry: Entry, *, outlives: bool = False) -> None:
        """Queue *entry* with what its node has written."""
        text = self._captured.text_of(
            self.backend.run_id, entry.node_id, self._secrets, is_last=entry.status != "retrying"
        )
        if text is not None:
            entry = entry._replace(detail=attrs.evolve(entry.detail or NodeDetail(), log=text))
            if entry.status != "retrying":
                self._on_written(entry, text)
        super().add(entry, outlives=outlives)
