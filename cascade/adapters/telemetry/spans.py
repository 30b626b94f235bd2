"""The spans of one run: how they begin and end, and which is below which.

Contexts are attached and never detached: each call has context variables of its own, which are gone after it. So
nothing goes wrong where a coroutine ends in another context than it began in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs
from anyio import get_cancelled_exc_class
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, Tracer, set_span_in_context

from cascade.adapters.telemetry.errors import note_error, type_of
from cascade.adapters.telemetry.metrics import OUTCOME, Metrics
from cascade.model.calls.callee import Callee
from cascade.model.errors import AttemptCancelled
from cascade.model.shown.raised import describe
from cascade.model.shown.secrets import Secrets

RUN: Final = "cascade.run.id"
NODE: Final = "cascade.node.id"
LABEL: Final = "cascade.node.label"
ATTEMPT: Final = "cascade.attempt"
TURN: Final = "cascade.turn"
FUNCTION: Final = "code.function.name"


@attrs.define(eq=False)
class Call:
    """A call of a function that has begun.

    Attributes:
        span: Its span.
        context: What has that span as the current one.
        task: The name of its task.
        began: When, by ``time.perf_counter``.
    """

    span: Span
    context: Context
    task: str
    began: float


@attrs.define(eq=False)
class Spans:
    """Begins and ends the spans of a run.

    What a tracer raises stays here: its samplers and processors are user code, and no reason for a task to fail.

    Attributes:
        tracer: Makes them.
        metrics: Takes how long calls took.
        run_id: The run.
        secrets: Texts that no span shows.
        context: What has the span of the run as the current one.
        trouble: What a tracer raised first.
    """

    tracer: Tracer
    metrics: Metrics
    run_id: str
    secrets: Secrets
    context: Context = attrs.field(factory=Context)
    trouble: str | None = None
    # By node id, what has the span of a node as the current one that is more than one call.
    _above: dict[str, Context] = attrs.field(factory=dict)
    _cancellations: tuple[type[BaseException], ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._cancellations = (get_cancelled_exc_class(), AttemptCancelled, GeneratorExit)

    # -- which is below which ------------------------------------------------------------------------------

    def has_block(self, node_id: str) -> bool:
        """Whether the node has a span around those of its calls."""
        return node_id in self._above

    def parent(self, node_id: str) -> Context:
        """What the span of a node is below: that of the map or node which it is part of, or of the run."""
        if self._above and (node_id[-1] == "]" or "/" in node_id):
            whole = node_id[: max(node_id.rfind("["), node_id.rfind("/"))]
            return self._above.get(whole, self.context)
        return self.context

    def around_calls(self, node_id: str) -> Context:
        """What the spans of a node's attempts are below: its own span, if it has one."""
        return self._above.get(node_id) or self.parent(node_id)

    @contextmanager
    def block(
        self, node_id: str, name: str, *, turn: int = 1, label: str | None = None, function: str | None = None
    ) -> Iterator[Span]:
        """A span around those of the calls, items or parts of a node, for as long as the block lasts."""
        above, attributes = self.parent(node_id), self._attributes(node_id, turn, label)
        if function is not None:
            attributes[FUNCTION] = function
        span = self.start(name, above, attributes)
        self._above[node_id] = set_span_in_context(span, above)
        try:
            yield span
        finally:
            self._above.pop(node_id, None)
            self.stop(span)

    # -- calls ---------------------------------------------------------------------------------------------

    def begin(
        self,
        task: Callee,
        node_id: str,
        above: Context,
        *,
        attempt: int = 1,
        turn: int = 1,
        label: str | None = None,
    ) -> Call:
        """Begin the span of a call of *task*."""
        attributes = self._attributes(node_id, turn, label)
        attributes[ATTEMPT] = attempt
        attributes[FUNCTION] = task.full_name
        span = self.start(task.name, above, attributes)
        return Call(span, set_span_in_context(span, above), task.name, time.perf_counter())

    def end(self, call: Call, error: BaseException | None = None) -> None:
        """End the span of a call, which has raised *error* if that is not ``None``."""
        outcome, kind = "succeeded", ""
        try:
            if error is not None:
                outcome, kind = ("cancelled", "") if self.is_cancellation(error) else ("failed", type_of(error))
                call.span.set_attribute(OUTCOME, outcome)
            if kind and error is not None:
                note_error(call.span, error, self.secrets)
            self.metrics.called((call.task, outcome, kind), time.perf_counter() - call.began)
        except Exception as raised:
            self.note(raised)
        self.stop(call.span)

    def is_cancellation(self, error: BaseException) -> bool:
        """Whether *error* is a cancellation. Asked in any thread."""
        return isinstance(error, self._cancellations)

    # -- spans ---------------------------------------------------------------------------------------------

    def _attributes(self, node_id: str, turn: int, label: str | None) -> dict[str, Any]:
        attributes: dict[str, Any] = {RUN: self.run_id, NODE: node_id}
        if turn > 1:
            attributes[TURN] = turn
        if label is not None:
            attributes[LABEL] = self.secrets.redact(label)
        return attributes

    def start(self, name: str, above: Context, attributes: dict[str, Any]) -> Span:
        """Begin a span; one that does nothing, if the tracer raises."""
        try:
            return self.tracer.start_span(name, above, attributes=attributes)
        except Exception as error:
            self.note(error)
            return INVALID_SPAN

    def fail(self, span: Span, error: BaseException) -> None:
        """Say on *span* that it has ended with *error*."""
        try:
            note_error(span, error, self.secrets)
        except Exception as raised:
            self.note(raised)

    def stop(self, span: Span) -> None:
        """End a span."""
        try:
            span.end()
        except Exception as error:
            self.note(error)

    def note(self, error: Exception) -> None:
        """Keep what a tracer has raised, if it is the first."""
        if self.trouble is None:
            self.trouble = f"the observer open_telemetry raised {self.secrets.redact(describe(error))}"
