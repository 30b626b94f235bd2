"""Runs of other processes, which a page steers over a connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from cascade.adapters.pages.server.sources.limits import limits_in
from cascade.adapters.pages.server.sources.source import AUTHOR, RefusedAction
from cascade.model.rules import ControlRule, Kind, Pause
from cascade.model.shown.raised import describe
from cascade.runtime.control.commands import tell
from cascade.runtime.control.connector import Connector
from cascade.runtime.control.plane import UNSET, limits
from cascade.runtime.control.remote_client import Remote

# Seconds in which a run has to answer.
_PATIENCE: Final = 5.0


@attrs.frozen(eq=False)
class RemoteRuns:
    """The runs that a connector reaches.

    Attributes:
        connector: The connector; connected.
        url: What it is called, without passwords.
    """

    connector: Connector
    url: str

    async def reaches(self, run_id: str) -> bool:
        """Whether a process that executes the run is connected."""
        return any(run_id in engine.runs for engine in await Remote(self.connector).engines())

    async def rules(self, run_id: str) -> list[ControlRule]:
        """The rules that may hold the run."""
        rules = await Remote(self.connector).rules()
        return [rule for rule in rules if rule.scope == f"run:{run_id}" or not rule.scope.startswith("run:")]

    async def act(self, run_id: str, action: str, given: Mapping[str, Any]) -> str:
        """Do it.

        Raises:
            RefusedAction: If it cannot be done, or the run does not answer.
        """
        scope = f"run:{run_id}"
        try:
            match action, given:
                case "pause", _:
                    return await self._say(run_id, rules=[Pause(scope=scope, author=AUTHOR)])
                case "resume", _:
                    return await self._say(run_id, lifted=[(scope, "pause")])
                case "limit", _:
                    said = limits_in(given)
                    rules, kinds = limits(
                        scope, said.get("concurrency", UNSET), said.get("rate", UNSET), None, None, AUTHOR
                    )
                    return await self._say(run_id, rules, [(scope, kind) for kind in kinds])
                case "cancel", _:
                    return await self._told(run_id, command="cancel-run")
                case "cancel_node", {"node": str(node_id)}:
                    return await self._told(run_id, command="cancel", node=node_id)
        except (ValueError, OSError) as error:
            raise RefusedAction(describe(error)) from error
        raise RefusedAction(f"there is no action {action!r:.100} of that form")

    async def _say(
        self, run_id: str, rules: Sequence[ControlRule] = (), lifted: Sequence[tuple[str, Kind]] = ()
    ) -> str:
        answer = await Remote(self.connector).say(rules, lifted, patience=_PATIENCE)
        if run_id in answer.obeying:
            return "the run has acknowledged it"
        raise RefusedAction(f"run {run_id!r} has not acknowledged it; it holds as soon as the run hears of it")

    async def _told(self, run_id: str, **command: str) -> str:
        reply = await tell(self.connector, run_id, _PATIENCE, **command)
        if reply is None:
            raise RefusedAction(f"run {run_id!r} has not answered")
        if reply.verdict == "refused":
            raise RefusedAction(reply.text)
        return reply.text
