"""A run of this process, for its page."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs

from cascade.adapters.pages.document.chronicle import Chronicle
from cascade.adapters.pages.server.sources.limits import limits_in
from cascade.adapters.pages.server.sources.metrics import in_text, of_run
from cascade.adapters.pages.server.sources.pacing import Beat
from cascade.adapters.pages.server.sources.source import (
    ACTIONS,
    AUTHOR,
    QUIET,
    RefusedAction,
    Shown,
    Update,
    control,
    how_it_goes_on,
)
from cascade.model.errors import CascadeError
from cascade.model.rules import ControlRule
from cascade.model.text import one_line
from cascade.runtime.durability.recovery import origin_var
from cascade.runtime.engine.diagnosis import Diagnosis
from cascade.runtime.engine.handle import Run
from cascade.runtime.engine.urls import outlives_process
from cascade.runtime.observation.bus import EventStream
from cascade.runtime.run.lifetime import RunLifetime

if TYPE_CHECKING:
    from cascade.adapters.pages.document.changes import Mark

# Events that are read before others have their turn, and nodes whose waits are explained.
_SLICE: Final = 200
_MOST_BLOCKED: Final = 100
# Seconds between two looks at what each node waits for, at least, and at most one part in so many of all time.
_LOOK_EVERY: Final = 0.2
_LOOK_SHARE: Final = 50


@attrs.define(eq=False)
class LiveRun:
    """One run of this process, which ends with the page.

    Attributes:
        lifetime: The run.
        run: Its handle; ``None`` if nothing can be changed.
        only: Its id.
        start: The same.
        chronicle: What its events have told.
        readers: How many browsers follow it.
        beat: When they are told what is new.
    """

    lifetime: RunLifetime
    run: Run | None
    only: str | None = attrs.field(init=False)
    start: str | None = attrs.field(init=False)
    chronicle: Chronicle = attrs.field(factory=Chronicle)
    readers: int = 0
    beat: Beat = attrs.field(factory=Beat)
    _told: dict[Mark | None, tuple[bytes | None, Mark]] = attrs.field(factory=dict)
    _told_at: int = -1
    _control: bytes = b"{}"
    _look_at: float = 0.0
    _is_over: bool = False
    _all_left: anyio.Event | None = None

    def __attrs_post_init__(self) -> None:
        self.only = self.start = self.lifetime.run_context.run_id

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
            if heard != self._looked():
                heard = self._control
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
            begun = time.perf_counter()
            changes, now = self.chronicle.changes(mark, time.time())
            self._told[mark] = (_json(changes) if changes else None, now)
            self.beat.spent += time.perf_counter() - begun
        return self._told[mark]

    def _looked(self) -> bytes:
        """What can be done, and what is waited for: for readers, now and then."""
        begun = time.perf_counter()
        if begun >= self._look_at or self._is_over:
            self._control = _json(self._seen())
            spent = time.perf_counter() - begun
            self._look_at = begun + max(_LOOK_EVERY, _LOOK_SHARE * spent)
        return self._control

    def _seen(self) -> dict[str, Any]:
        run_context = self.lifetime.run_context
        if self._is_over:
            return control(run_context.run_id, (), is_over=True, note=self._how_it_goes_on())
        explained = Diagnosis(self.lifetime).explain(_MOST_BLOCKED + 1)
        blocked = [
            {"id": one.node_id, "label": one.label, "why": [one_line(words) for words in one.blockers]}
            for one in explained[:_MOST_BLOCKED]
        ]
        return control(
            run_context.run_id,
            [rule for rule in run_context.shared.control.rules() if self._is_about_us(rule)],
            blocked=blocked,
            has_more_blocked=len(explained) > _MOST_BLOCKED,
            signals=list(self._signals()),
        )

    def _signals(self) -> Iterator[dict[str, str]]:
        """The signals that are waited for."""
        signals = self.lifetime.run_context.signals
        for name in signals.waiting:
            said = signals.declared[name].declared
            yield {"name": name, "type": said.kind_name, "description": one_line(said.description)}

    def _how_it_goes_on(self) -> str:
        """How a run goes on that has failed, if its outcomes are kept and the command line has started it."""
        state, status = self.lifetime.run_context.settings.state, self.lifetime.status
        is_kept = isinstance(state, str) and outlives_process(state) and origin_var.get() is not None
        return how_it_goes_on(self.lifetime.run_context.run_id, state) if is_kept and status != "Succeeded" else ""

    def _is_about_us(self, rule: ControlRule) -> bool:
        kind, _, name = rule.scope.partition(":")
        return kind != "run" or name == self.only

    async def metrics(self) -> str:
        """The numbers of the run."""
        return in_text(of_run(self.chronicle.document()))

    # -- what is done --------------------------------------------------------------------------------------

    async def act(self, run_id: str, action: str, given: Mapping[str, Any]) -> str:
        """Do it.

        Raises:
            RefusedAction: If the run has ended, or cannot do that.
        """
        if run_id != self.only or self.run is None or self.lifetime.status is not None:
            raise RefusedAction("the run has ended" if run_id == self.only else f"there is no run {run_id!r:.200}")
        try:
            said = await self._act(self.run, action, given)
        except (CascadeError, ValueError, TypeError) as error:  # it says what is wrong with what was given
            raise RefusedAction(self.lifetime.run_context.events.secrets.redact(str(error))) from error
        self._look_at = 0.0
        self.beat.change()
        return said

    async def _act(self, run: Run, action: str, given: Mapping[str, Any]) -> str:
        match action, given:
            case "pause", _:
                await run.pause(author=AUTHOR)
                return "paused: nothing starts, what runs goes on"
            case "resume", _:
                await run.resume(author=AUTHOR)
                return "resumed"
            case "limit", _:
                await run.limit(**limits_in(given), author=AUTHOR)
                return "the limits are in force"
            case "cancel", _:
                run.cancel()
                return "the run is being cancelled"
            case "cancel_node", {"node": str(node_id)}:
                is_cancelled = run.cancel_node(node_id)
                return f"{node_id} is being cancelled" if is_cancelled else f"{node_id} has ended already"
            case "send", {"name": str(name), "value": str(value)}:
                await run.send(name, value)
                return f"signal {name!r} has been accepted"
        raise RefusedAction(f"there is no action {action!r:.100} of that form")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
