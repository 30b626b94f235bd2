"""The events of one run, on their way to the bus."""

from __future__ import annotations

import time
from typing import Any, Protocol

import attrs

from cascade.model.calls.callee import Callee
from cascade.model.events import Event, NodeEvent, TaskExecutionFinished, TaskExecutionStarted
from cascade.model.shown.secrets import Secrets, kept_secrets
from cascade.runtime.observation.bus import EventBus
from cascade.runtime.observation.outcome_stream import NodeSettled
from cascade.runtime.observation.tracing import Tracing


class Subject(Protocol):
    """What node events are about."""

    @property
    def node_id(self) -> str:
        """The node."""
        ...

    @property
    def task(self) -> Callee:
        """Its task."""
        ...

    @property
    def label(self) -> str | None:
        """What people call it."""
        ...


@attrs.define(eq=False)
class RunEvents:
    """Numbers the events of a run and hides secrets in them. An event is made only if somebody listens.

    Attributes:
        run_id: The run.
        bus: Where events go, and from there to the engine's bus.
        secrets: Texts that no event shows.
        tracing: Follows the run from around its calls; ``None`` if nobody does.
    """

    run_id: str
    bus: EventBus
    secrets: Secrets = attrs.field(factory=kept_secrets)
    tracing: Tracing | None = None
    _seq: int = 0

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to events of class *kind*."""
        return self.bus.wants(kind)

    def wants_attempts(self) -> bool:
        """Whether anybody is told when a node starts or ends."""
        wants = self.bus.wants
        return wants(TaskExecutionStarted) or wants(TaskExecutionFinished) or wants(NodeSettled)

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Publish an event of class *kind*, without secrets, if anybody listens."""
        if self.bus.wants(kind):
            if self.secrets.longest:
                fields = {name: _without(value, self.secrets) for name, value in fields.items()}
            self._seq += 1
            self.bus.publish(kind(seq=self._seq, timestamp=time.time(), run_id=self.run_id, **fields))

    def emit_node(self, kind: type[NodeEvent], subject: Subject, **fields: Any) -> None:
        """Publish an event about a node, if anybody listens."""
        if self.bus.wants(kind):
            names = {"task_id": subject.node_id, "task_name": subject.task.name, "label": subject.label}
            self.emit(kind, **names, **fields)


def _without(value: Any, secrets: Secrets) -> Any:
    """*value*, a field of an event, without *secrets*."""
    if isinstance(value, str):
        return secrets.redact(value)
    if type(value) is tuple:
        return tuple(_without(item, secrets) for item in value)
    return value
