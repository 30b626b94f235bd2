"""Follows one run from around its calls."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from types import CoroutineType
from typing import Any

import attrs
from opentelemetry.context import attach, get_current
from opentelemetry.trace import Span, Tracer, set_span_in_context

from cascade.adapters.telemetry import carriers
from cascade.adapters.telemetry.metrics import OUTCOME, OUTCOMES, REASON, STATUS, TASK, LiveRun, Metrics
from cascade.adapters.telemetry.spans import RUN, Call, Spans
from cascade.model.calls.callee import Callee
from cascade.model.errors import AttemptCancelled
from cascade.model.outcomes import Done, Failed, NodeOutcome, Skipped
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.observation.tracing import Queues, TracedAttempt


def begin_run(tracer: Tracer, metrics: Metrics, run_context: RunContext) -> RunTrace:
    """Begin the span of a run, which is the current one for all that the run starts."""
    base = run_context.tasks.base
    spans = Spans(tracer, metrics, run_context.run_id, run_context.events.secrets)
    above = base.run(get_current)
    attributes = {RUN: run_context.run_id, "cascade.run.schedule": run_context.settings.schedule}
    span = spans.start("cascade.run", above, attributes)
    spans.context = set_span_in_context(span, above)
    base.run(attach, spans.context)
    live = LiveRun(run_context.progress.counts)
    metrics.begin(live)
    return RunTrace(run_context, spans, span, live)


@attrs.define(eq=False)
class RunTrace:
    """Follows one run.

    Attributes:
        run_context: The run.
        spans: Makes its spans.
        span: Its own span.
        live: What is measured of it while it goes on.
    """

    run_context: RunContext
    spans: Spans
    span: Span
    live: LiveRun
    # Calls that somebody else ends: attempts, and coroutines that sync functions have given.
    _attempts: dict[TracedAttempt, Call] = attrs.field(factory=dict)
    _rests: dict[Call, None] = attrs.field(factory=dict)

    # -- plain nodes ---------------------------------------------------------------------------------------

    def around(
        self, func: Callable[..., Any], task: Callee, node_id: str, turn: int, label: str | None
    ) -> Callable[..., Any]:
        """What to call in place of *func* for the one attempt of a plain node."""
        spans = self.spans
        if task.is_async:
            return self._around_async(func, task, node_id, turn, label)

        def traced(*args: Any, **kwargs: Any) -> Any:
            call = spans.begin(task, node_id, spans.parent(node_id), turn=turn, label=label)
            attach(call.context)
            try:
                value = func(*args, **kwargs)
            except BaseException as error:
                spans.end(call, error)
                raise
            if type(value) is CoroutineType:
                self._rests[call] = None
                return self._finish(call, value)
            spans.end(call)
            return value

        return traced

    def _around_async(
        self, func: Callable[..., Any], task: Callee, node_id: str, turn: int, label: str | None
    ) -> Callable[..., Any]:
        spans = self.spans

        async def traced(*args: Any, **kwargs: Any) -> Any:
            call = spans.begin(task, node_id, spans.parent(node_id), turn=turn, label=label)
            attach(call.context)
            try:
                value = await func(*args, **kwargs)
            except BaseException as error:
                spans.end(call, error)
                raise
            spans.end(call)
            return value

        return traced

    async def _finish(self, call: Call, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await what a sync function gave, perhaps in another context than that of the call."""
        attach(call.context)
        try:
            value = await coroutine
        except BaseException as error:
            self._end_rest(call, error)
            raise
        self._end_rest(call, None)
        return value

    def _end_rest(self, call: Call, error: BaseException | None) -> None:
        if call in self._rests:
            del self._rests[call]
            self.spans.end(call, error)

    # -- attempts ------------------------------------------------------------------------------------------

    def enter(self, attempt: TracedAttempt) -> None:
        """The function of *attempt* is about to be called, or goes on, in the present context."""
        attach(self._call_of(attempt).context)

    def carrier(self, attempt: TracedAttempt) -> dict[str, str]:
        """What another process has to be sent, in which the function of *attempt* is about to be called."""
        try:
            return carriers.pack(self._call_of(attempt).context)
        except Exception as error:  # propagators are user code
            self.spans.note(error)
            return {}

    def leave(self, attempt: TracedAttempt, error: BaseException | None) -> None:
        """*attempt* has ended; does nothing if its function was not called."""
        call = self._attempts.pop(attempt, None)
        if call is not None:
            self.spans.end(call, error)

    def _call_of(self, attempt: TracedAttempt) -> Call:
        call = self._attempts.get(attempt)
        if call is None:
            spans, node_id = self.spans, attempt.node_id
            above, turn = spans.around_calls(node_id), attempt.turns[-1]
            label = self.run_context.progress.labels.get(node_id)
            call = spans.begin(attempt.task, node_id, above, attempt=attempt.number, turn=turn, label=label)
            self._attempts[attempt] = call
            if attempt.is_over:  # nobody waits for its thread, and `leave` may have come before this
                self.leave(attempt, AttemptCancelled())
        return call

    def waited(self, task: Callee, seconds: float, reason: str) -> None:
        """A node has waited for admission."""
        self.spans.metrics.wait_seconds.record(seconds, {TASK: task.name, REASON: reason})

    # -- nodes that are more than one call -----------------------------------------------------------------

    @contextmanager
    def node(self, node_id: str, task: Callee, turn: int, label: str | None) -> Iterator[NodeSpan]:
        """A block in which a node lives that is more than one call."""
        with self.spans.block(node_id, task.name, turn=turn, label=label, function=task.full_name) as span:
            yield NodeSpan(self.spans, span)

    @contextmanager
    def flow_of(self, node_id: str) -> Iterator[None]:
        """A block in which the flow runs that a node has returned."""
        if self.spans.has_block(node_id):
            yield
            return
        name = node_id.rpartition("/")[2].partition("#")[0].partition("[")[0]
        with self.spans.block(node_id, name) as span:
            try:
                yield
            except BaseException as error:
                if not self.spans.is_cancellation(error):
                    self.spans.fail(span, error)
                raise

    # -- the run -------------------------------------------------------------------------------------------

    def watch(self, queues: Queues) -> None:
        """The run has lanes; they are not kept alive."""
        self.live.queues.add(queues)

    def finish(self, status: str, error: BaseException | None, counts: Mapping[str, int]) -> str | None:
        """The run has ended; returns what went wrong with the tracing itself, if anything did."""
        for attempt in tuple(self._attempts):
            self.leave(attempt, AttemptCancelled())
        for call in tuple(self._rests):
            self._end_rest(call, AttemptCancelled())
        begun, spans = self.run_context.beginning, self.spans
        try:
            try:
                self.span.set_attribute(STATUS, status)
                for outcome in OUTCOMES:
                    self.span.set_attribute(f"cascade.nodes.{outcome}", counts[outcome])
            finally:
                spans.metrics.end(self.live, status, max(0.0, begun.clock() - begun.at))
        except Exception as raised:  # what a tracer or a meter raises fails no run
            spans.note(raised)
        if error is not None and status == "Failed":
            spans.fail(self.span, error)
        spans.stop(self.span)
        return spans.trouble


@attrs.frozen(eq=False)
class NodeSpan:
    """The span of a node that is more than one call."""

    spans: Spans
    span: Span

    def ended(self, outcome: NodeOutcome, attempts: int) -> None:
        """The node has ended so, after so many attempts."""
        try:
            self.span.set_attribute("cascade.attempts", attempts)
            self.span.set_attribute(OUTCOME, _word(outcome))
            if isinstance(outcome, Done) and outcome.from_cache:
                self.span.set_attribute("cascade.cache.hit", value=True)
        except Exception as error:
            self.spans.note(error)
        if isinstance(outcome, Failed):
            self.spans.fail(self.span, outcome.error)


def _word(outcome: NodeOutcome) -> str:
    if isinstance(outcome, (Done, Failed, Skipped)):
        return {Done: "succeeded", Failed: "failed", Skipped: "skipped"}[type(outcome)]
    return "cancelled"
