"""Runs in a state store, for a page; whether a process executes them or not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import anyio
import attrs

from cascade.adapters.pages.document.recorded import chronicle_of, recorded_document
from cascade.adapters.pages.document.troubles import MOST_OUTPUTS
from cascade.adapters.pages.server.sources.metrics import in_text, recorded_nodes_by, runs_by
from cascade.adapters.pages.server.sources.remote import RemoteRuns
from cascade.adapters.pages.server.sources.source import (
    ACTIONS,
    QUIET,
    RefusedAction,
    Shown,
    Update,
    control,
    how_it_goes_on,
)
from cascade.model.errors import CascadeError, StateError
from cascade.model.rules import ControlRule
from cascade.model.shown.raised import describe
from cascade.model.shown.text import one_line
from cascade.runtime.durability.history import RunRecord
from cascade.runtime.engine.history import recorded_runs, run_to_show
from cascade.runtime.engine.sending import send

# Seconds between two looks into the store, for the list and for a run; and for a run that nobody executes.
_LIST_EVERY: Final = 2.0
_RUN_EVERY: Final = 1.0
_STILL_EVERY: Final = 5.0
# What a look may take of all time: one part in so many.
_SHARE: Final = 10
# Runs in the list, and targets of each.
_MOST_RUNS: Final = 1000
_MOST_TARGETS: Final = 5


@attrs.define(eq=False)
class StoredRuns:
    """The runs in a store.

    Attributes:
        state: URL of the store.
        remote: The way to the processes that execute them; ``None`` if there is none.
        only: Nothing: there may be more runs at any time.
        start: Nothing: links lead to the list.
    """

    state: str
    remote: RemoteRuns | None = None
    only: str | None = None
    start: str | None = None

    async def runs(self) -> list[dict[str, Any]]:
        """All runs, the latest first."""
        return [_row(run) for run in (await recorded_runs(self.state))[:_MOST_RUNS]]

    async def list_updates(self) -> AsyncGenerator[Update, None]:
        """The list, and again whenever it has changed."""

        async def look() -> Look:
            return Look([_said("runs", {"runs": await self.runs()})], _LIST_EVERY)

        async with aclosing(_polled(look)) as updates:
            async for update in updates:
                yield update

    async def show(self, run_id: str) -> Shown | None:
        """A run as it is recorded."""
        try:
            run = await run_to_show(self.state, run_id, MOST_OUTPUTS)
        except StateError:
            if any(known.run_id == run_id for known in await recorded_runs(self.state)):
                raise
            return None
        actions, why_not = await self._actions(run)
        chronicle = chronicle_of(run)
        return Shown(recorded_document(run, chronicle), chronicle.svg(), actions, why_not)

    async def updates(self, run_id: str) -> AsyncGenerator[Update, None]:
        """The whole document of the run, whenever it has changed, and what can be done."""

        async def look() -> Look:
            run = await run_to_show(self.state, run_id, MOST_OUTPUTS)
            sections = {name: value for name, value in recorded_document(run).items() if name != "version"}
            bars = {"from": 0, "add": sections.pop("bars", [])}
            is_executed = run.status == "running"
            rules, note = await self._rules(run_id) if is_executed else ([], self._note(run))
            known = control(run_id, rules, signals=None, is_over=run.status == "succeeded", note=note)
            said = [_said("changes", {"sections": sections, "bars": bars}), _said("control", known)]
            return Look(said, _RUN_EVERY if is_executed else _STILL_EVERY)

        async with aclosing(_polled(look)) as updates:
            async for update in updates:
                yield update

    async def metrics(self) -> str:
        """How many runs and nodes there are, by status."""
        runs = await recorded_runs(self.state)
        statuses: dict[str, int] = {}
        nodes: dict[str, int] = {}
        for run in runs:
            statuses[run.status] = statuses.get(run.status, 0) + 1
            for status, count in run.counts.items():
                nodes[status] = nodes.get(status, 0) + count
        return in_text([runs_by(statuses), recorded_nodes_by(nodes)])

    async def _rules(self, run_id: str) -> tuple[list[ControlRule], str]:
        """The rules that may hold a run which is executed; and why they are not known, if they are not."""
        if self.remote is None:
            return [], ""
        try:
            return await self.remote.rules(run_id), ""
        except OSError as error:
            return [], f"what holds it is not known: {one_line(describe(error))}"

    def _note(self, run: RunRecord) -> str:
        has_ended = run.status not in ("running", "succeeded")
        return how_it_goes_on(run.run_id, self.state) if has_ended and run.origin is not None else ""

    async def _actions(self, run: RunRecord) -> tuple[tuple[str, ...], str]:
        """What can be done with a run, and why not more."""
        if run.status == "succeeded":
            return (), ""
        if run.status != "running":
            return ("send",), ""
        if self.remote is None:
            return (
                "send",
            ), "to pause, limit and cancel it, start it with --control local: and this with --via local:"
        try:
            is_reached = await self.remote.reaches(run.run_id)
        except OSError as error:
            return ("send",), f"its process is out of reach: {one_line(describe(error))}"
        return (ACTIONS, "") if is_reached else (("send",), f"its process is not connected to {self.remote.url}")

    async def act(self, run_id: str, action: str, given: Mapping[str, Any]) -> str:
        """Do it.

        Raises:
            RefusedAction: If it cannot be done.
        """
        if action == "send":
            name, value = given.get("name"), given.get("value")
            if not isinstance(name, str) or not isinstance(value, str):
                raise RefusedAction("a signal has a name and a value")
            try:
                run = await send(run_id, name, value, state=self.state)
            except CascadeError as error:
                raise RefusedAction(str(error)) from error
            goes_on = "" if run.status == "running" else "; the run finds it when it is resumed"
            return f"signal {name!r} has been accepted{goes_on}"
        if self.remote is None:
            raise RefusedAction("no way to the process that executes it; start the page with --via")
        return await self.remote.act(run_id, action, given)


@attrs.frozen
class Look:
    """What a look has found.

    Attributes:
        updates: All that there is to say, whether it was said before or not.
        pause: Seconds until the next look, at least.
    """

    updates: list[Update]
    pause: float


def _said(name: str, value: object) -> Update:
    return Update(name, json.dumps(value, separators=(",", ":")).encode())


async def _polled(look: Callable[[], Awaitable[Look]]) -> AsyncGenerator[Update, None]:
    """What *look* finds, as far as it was not found before; why, if the store cannot be read any more, and no more
    then: whoever listens asks again after a while.
    """
    before: dict[str, bytes] = {}
    quiet = 0.0
    while True:
        begun = time.perf_counter()
        try:
            found = await look()
        except StateError as error:
            yield _said("lost", {"why": one_line(str(error))})
            return
        pause = max(found.pause, _SHARE * (time.perf_counter() - begun))
        for update in found.updates:
            if before.get(update.name) != update.data:
                before[update.name] = update.data
                quiet = 0.0
                yield update
        if quiet >= QUIET:
            quiet = 0.0
            yield Update("")
        quiet += pause
        await anyio.sleep(pause)


def _row(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "status": run.status,
        "created": run.created,
        "ended": run.updated if run.finished is None else run.finished,
        "counts": dict(run.counts),
        "flow": list(run.flow[:_MOST_TARGETS]),
        "error": run.error,
    }
