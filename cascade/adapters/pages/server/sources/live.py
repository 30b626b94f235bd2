"""A run of this process, for its page."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

import anyio
import attrs

from cascade.adapters.pages.document.changes import Mark
from cascade.adapters.pages.document.chronicle import Chronicle
from cascade.adapters.pages.document.shape import hidden, tasks_counted
from cascade.adapters.pages.server.sources.metrics import in_text, of_run
from cascade.adapters.pages.server.sources.pacing import Beat
from cascade.adapters.pages.server.sources.source import ACTIONS, QUIET, RefusedAction, Shown, Update
from cascade.adapters.pages.server.sources.steering import Steering
from cascade.runtime.observation.bus import EventStream

# Events that are read before others have their turn.
_SLICE: Final = 200


@attrs.define(eq=False)
class LiveRun:
    """One run of this process, which ends with the page.

    Attributes:
        steering: What holds the run, and what can be done about it.
        only: Its id.
        start: The same.
        chronicle: What its events have told.
        readers: How many browsers follow it.
        beat: When they are told what is new.
    """

    steering: Steering
    only: str | None = attrs.field(init=False)
    start: str | None = attrs.field(init=False)
    chronicle: Chronicle = attrs.field(factory=Chronicle)
    readers: int = 0
    beat: Beat = attrs.field(factory=Beat)
    _told: dict[Mark | None, tuple[bytes | None, Mark]] = attrs.field(factory=dict)
    _told_at: int = -1
    _is_over: bool = False
    _all_left: anyio.Event | None = None

    def __attrs_post_init__(self) -> None:
        self.only = self.start = self.steering.lifetime.run_context.run_id

    # -- events --------------------------------------------------------------------------------------------

    async def follow(self, events: EventStream) -> None:
        """Read the events of the run, until they end."""
        async for event in events:
            self.chronicle.hear(event)
            with suppress(anyio.WouldBlock, anyio.EndOfStream):
                for _ in range(_SLICE):
                    self.chronicle.hear(events.receive_nowait())
            self.beat.change()
        self._is_over = True
        self.beat.end()

    # -- what is shown -------------------------------------------------------------------------------------

    async def runs(self) -> list[dict[str, Any]]:
        """The run alone."""
        document = self.chronicle.document()
        run, ended = document["run"], document["run"]["finished"]
        return [{
            "id": run["id"], "status": run["status"], "created": run["started"],
            "ended": time.time() if ended is None else ended, "counts": run["counts"], "flow": run["targets"],
            "error": run["error"],
        }]  # fmt: skip

    async def list_updates(self) -> AsyncGenerator[Update, None]:
        """The run alone."""
        yield Update("runs", _json({"runs": await self.runs()}))

    async def show(self, run_id: str) -> Shown | None:
        """The run as it is now."""
        if run_id != self.only:
            return None
        why_not = "the run has ended" if self._is_over else ""
        actions = () if self._is_over else ACTIONS
        return Shown(self.chronicle.document(), self.chronicle.svg(), actions, why_not)

    async def updates(self, run_id: str) -> AsyncGenerator[Update, None]:
        """What changes in the run. A reader that is slow is told less often, and misses nothing that stays."""
        if run_id != self.only:
            return
        self.readers += 1
        try:
            async with aclosing(self._updates()) as updates:
                async for update in updates:
                    yield update
        finally:
            self.readers -= 1
            if self._all_left is not None and not self.readers:
                self._all_left.set()

    async def _updates(self) -> AsyncGenerator[Update, None]:
        mark: Mark | None = None
        heard = b""
        while True:
            is_over = self._is_over
            changes, mark = self._changes(mark)
            if changes is not None:
                yield Update("changes", changes)
            seen = self.steering.seen(is_over=is_over)
            if heard != seen:
                heard = seen
                yield Update("control", heard)
            if is_over:
                yield Update("end")
                return
            if not await self._next():
                yield Update("")

    async def until_left(self) -> None:
        """Wait until all readers have been told the end."""
        if self.readers:
            self._all_left = anyio.Event()
            await self._all_left.wait()

    async def _next(self) -> bool:
        """Wait for the next beat; returns ``False`` if there is none for long."""
        with anyio.move_on_after(QUIET):
            await self.beat.wait()
            return True
        return False

    def _changes(self, mark: Mark | None) -> tuple[bytes | None, Mark]:
        """What is new since *mark*, computed once a beat for all readers that are as far as that."""
        if self._told_at != self.beat.number:
            self._told.clear()
            self._told_at = self.beat.number
        if mark not in self._told:
            begun = time.thread_time()  # of the processor: on a busy machine, updates are no rarer
            changes, now = self.chronicle.changes(mark, time.time())
            self._told[mark] = (_json(changes) if changes else None, now)
            self.beat.spent += time.thread_time() - begun
        return self._told[mark]

    async def metrics(self) -> str:
        """The numbers of the run."""
        tasks = hidden(tasks_counted(self.chronicle.tally.tasks.values()))
        return in_text(of_run(self.chronicle.document(), tasks))

    async def act(self, run_id: str, action: str, given: Mapping[str, Any]) -> str:
        """Do it.

        Raises:
            RefusedAction: If the run has ended, or cannot do that.
        """
        if run_id != self.only:
            raise RefusedAction(f"there is no run {run_id!r:.200}")
        said = await self.steering.act(action, given)
        self.beat.change()
        return said


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
