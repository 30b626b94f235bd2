"""What holds a run of this process, and what a page can do about it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from cascade.adapters.pages.server.sources.limits import limits_in
from cascade.adapters.pages.server.sources.source import AUTHOR, RefusedAction, control, how_it_goes_on
from cascade.model.errors import CascadeError
from cascade.model.rules import ControlRule
from cascade.model.shown.text import one_line, without_secrets
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.durability.recovery import origin_var
from cascade.runtime.engine.diagnosis import Diagnosis
from cascade.runtime.engine.handle import Run
from cascade.runtime.engine.urls import outlives_process
from cascade.runtime.run.lifetime import RunLifetime

# Nodes whose waits are explained.
_MOST_BLOCKED: Final = 100
# Seconds between two looks at what each node waits for, at least, and at most one part in so many of all time.
_LOOK_EVERY: Final = 0.2
_LOOK_SHARE: Final = 50


@attrs.define(eq=False)
class Steering:
    """Looks at what holds a run, and does what is pressed.

    Attributes:
        lifetime: The run.
        run: Its handle; ``None`` if nothing can be changed.
    """

    lifetime: RunLifetime
    run: Run | None
    _seen: bytes = b""
    _look_at: float = 0.0

    @property
    def _run_context(self) -> RunContext:
        return self.lifetime.run_context

    # -- what is seen --------------------------------------------------------------------------------------

    def seen(self, *, is_over: bool) -> bytes:
        """What can be done, and what is waited for, as JSON; looked at now and then.

        Args:
            is_over: Whether the run has published its last event.
        """
        if is_over or time.perf_counter() >= self._look_at:
            begun = time.thread_time()
            found = self._last() if is_over else self._look()
            secrets = self._run_context.events.secrets
            shown = without_secrets(found, secrets) if secrets else found
            self._seen = json.dumps(shown, separators=(",", ":")).encode()
            taken = time.thread_time() - begun  # of the processor: on a busy machine, looks are no rarer
            self._look_at = time.perf_counter() + max(_LOOK_EVERY, _LOOK_SHARE * taken)
        return self._seen

    def _look(self) -> dict[str, Any]:
        explained = Diagnosis(self.lifetime).explain(_MOST_BLOCKED + 1)
        blocked = [
            {"id": one.node_id, "label": one.label, "why": [one_line(words) for words in one.blockers]}
            for one in explained[:_MOST_BLOCKED]
        ]
        return control(
            self._run_context.run_id,
            [rule for rule in self._run_context.shared.control.rules() if self._may_hold(rule)],
            blocked=blocked,
            has_more_blocked=len(explained) > _MOST_BLOCKED,
            signals=list(self._signals()),
        )

    def _last(self) -> dict[str, Any]:
        """What is to say at the end: how a run goes on that has failed, if its outcomes are kept and the command
        line has started it.
        """
        run_id, state = self._run_context.run_id, self._run_context.settings.state
        is_kept = isinstance(state, str) and outlives_process(state) and origin_var.get() is not None
        goes_on = is_kept and self.lifetime.status != "Succeeded"
        return control(run_id, (), is_over=True, note=how_it_goes_on(run_id, state) if goes_on else "")

    def _signals(self) -> Iterator[dict[str, str]]:
        """The signals that are waited for."""
        signals = self._run_context.signals
        for name in signals.waiting:
            said = signals.declared[name].declared
            yield {"name": name, "type": said.kind_name, "description": one_line(said.description)}

    def _may_hold(self, rule: ControlRule) -> bool:
        kind, _, name = rule.scope.partition(":")
        return kind != "run" or name == self._run_context.run_id

    # -- what is done --------------------------------------------------------------------------------------

    async def act(self, action: str, given: Mapping[str, Any]) -> str:
        """Do it; returns what is said of that.

        Raises:
            RefusedAction: If the run has ended, or cannot do that.
        """
        if self.run is None or self.lifetime.status is not None:
            raise RefusedAction("the run has ended")
        try:
            said = await self._act(self.run, action, given)
        except (CascadeError, ValueError, TypeError) as error:  # it says what is wrong with what was given
            raise RefusedAction(self._run_context.events.secrets.redact(str(error))) from error
        self._look_at = 0.0
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
