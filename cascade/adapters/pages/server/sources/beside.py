"""A run of this process, among the others in its store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import attrs

from cascade.adapters.pages.server.sources.live import LiveRun
from cascade.adapters.pages.server.sources.source import Shown, Source, Update
from cascade.adapters.pages.server.sources.stored import StoredRuns


@attrs.define(eq=False)
class Beside:
    """One run of this process, and what its store has recorded of others.

    Attributes:
        live: The run.
        stored: The others.
        only: Nothing: there are others.
        start: The live run.
    """

    live: LiveRun
    stored: StoredRuns
    only: str | None = None
    start: str | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.start = self.live.only

    def _of(self, run_id: str) -> Source:
        return self.live if run_id == self.live.only else self.stored

    async def runs(self) -> list[dict[str, Any]]:
        """All runs in the store, the latest first."""
        return await self.stored.runs()

    def list_updates(self) -> AsyncGenerator[Update, None]:
        """The list, and again whenever it has changed."""
        return self.stored.list_updates()

    async def show(self, run_id: str) -> Shown | None:
        """A run as it is now."""
        return await self._of(run_id).show(run_id)

    def updates(self, run_id: str) -> AsyncGenerator[Update, None]:
        """What changes in a run."""
        return self._of(run_id).updates(run_id)

    async def metrics(self) -> str:
        """The numbers of the live run."""
        return await self.live.metrics()

    async def act(self, run_id: str, action: str, given: Mapping[str, Any]) -> str:
        """Do it.

        Raises:
            RefusedAction: If it cannot be done.
        """
        return await self._of(run_id).act(run_id, action, given)
