"""Running a flow and keeping all that can be seen of it, for tests of what a run computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

import cascade
from cascade.testing import Recorded, record_events


@attrs.frozen
class Observed:
    """A run that has ended.

    Attributes:
        value: What it returned; ``None`` if it raised.
        error: What it raised.
        recorded: Its events.
    """

    value: Any
    error: BaseException | None
    recorded: Recorded

    @property
    def started(self) -> list[str]:
        """Ids of the nodes whose function was called, in order."""
        return [event.task_id for event in self.recorded.of(cascade.TaskExecutionStarted)]

    @property
    def ran(self) -> list[str]:
        """Ids of the nodes whose function was called, sorted: which of several goes first is up to the loop."""
        return sorted(self.started)

    @property
    def skipped(self) -> dict[str, str]:
        """Ids of the skipped nodes, with their reasons."""
        events = self.recorded.of(cascade.TaskSkipped)
        found = {event.task_id: event.reason for event in events}
        assert len(found) == len(events), "a node was skipped twice"
        return found

    @property
    def finished(self) -> dict[str, str]:
        """Ids of the nodes that ended after they had begun, with their statuses."""
        return {event.task_id: event.status for event in self.recorded.of(cascade.TaskExecutionFinished)}

    @property
    def last(self) -> cascade.RunFinished:
        """The run's last event."""
        (last,) = self.recorded.of(cascade.RunFinished)
        return last

    def failures(self) -> list[BaseException]:
        """What went wrong, without the group around it."""
        if isinstance(self.error, cascade.RunFailed):
            return list(self.error.exceptions)
        return [] if self.error is None else [self.error]


async def observe(flow: Any, params: dict[str, Any] | None = None, **as_run: Any) -> Observed:
    """Run *flow*; what it raises is kept, not raised."""
    engine = cascade.Engine(**as_run)
    value, raised = None, None
    with record_events(engine) as recorded:
        try:
            value = await engine.run(flow, params)
        except Exception as error:
            raised = error
    return Observed(value, raised, recorded)


def held(engine: cascade.Engine) -> Mapping[str, Any]:
    """How much of each resource is held now."""
    return {name: amount for name, (amount, _) in engine.capacity().items()}


async def events_of(flow: Any, **settings: Any) -> Recorded:
    """The events of a run of *flow*, however it ends."""
    async with cascade.Engine(**settings) as engine:
        with record_events(engine) as recorded:
            try:
                await engine.run(flow, run_id="this run")
            except Exception:  # what the events say is looked at, not what is raised
                return recorded
    return recorded
