"""Spans and metrics that are kept in memory, and checks that hold for all of them."""

from __future__ import annotations

import threading
from typing import Any

import attrs
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import Tracer

import cascade
from cascade.runtime.context.settings import Observer


@attrs.define(eq=False)
class Recorder(SpanProcessor):
    """Keeps all spans, and knows which have not ended."""

    open: dict[int, Span] = attrs.field(factory=dict)
    ended: list[ReadableSpan] = attrs.field(factory=list)
    _lock: Any = attrs.field(factory=threading.Lock)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with self._lock:
            self.open[id(span)] = span

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self.ended.append(span)
            self.open = {key: known for key, known in self.open.items() if known.context != span.context}


@attrs.define(eq=False)
class RecordedSpans:
    """A tracer provider of its own, the observer that uses it, and what came of it."""

    recorder: Recorder = attrs.field(factory=Recorder)
    provider: TracerProvider = attrs.field(factory=lambda: TracerProvider(shutdown_on_exit=False))
    observer: Observer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.provider.add_span_processor(self.recorder)
        self.observer = cascade.observers.open_telemetry(self.provider, NoOpMeterProvider())

    @property
    def tracer(self) -> Tracer:
        """The user's own."""
        return self.provider.get_tracer("user")

    def paths(self) -> list[str]:
        """Each span with those above it, by kind and node; sorted. All have ended."""
        assert not self.recorder.open
        known = {span.context.span_id: span for span in self.recorder.ended if span.context is not None}

        def path(span: ReadableSpan) -> str:
            above = known.get(span.parent.span_id) if span.parent is not None else None
            return (f"{path(above)} > " if above is not None else "") + shown(span)

        return sorted(path(span) for span in self.recorder.ended)

    def of(self, **attributes: object) -> list[ReadableSpan]:
        """Those with these attributes, where ``_`` stands for a dot, in the order in which they began."""
        wanted = {f"cascade.{name.replace('_', '.')}": value for name, value in attributes.items()}
        found = [s for s in self.recorder.ended if wanted.items() <= dict(s.attributes or {}).items()]
        return sorted(found, key=lambda span: span.start_time or 0)

    def attempts(self) -> list[ReadableSpan]:
        """Those of calls."""
        return [span for span in self.recorder.ended if "cascade.attempt" in (span.attributes or {})]


def shown(span: ReadableSpan) -> str:
    """``run``, ``node#2``, ``node#2 (2)`` for its second attempt; ``!`` after what has failed."""
    attributes: dict[str, Any] = dict(span.attributes or {})
    text = str(attributes.get("cascade.node.id", span.name))
    if "cascade.attempt" in attributes:
        text += f" ({attributes['cascade.attempt']})"
    if "cascade.turn" in attributes:
        text += f" @{attributes['cascade.turn']}"
    return text + ("" if span.status.is_unset else "!")


def measured(reader: InMemoryMetricReader) -> dict[str, dict[tuple[str, ...], Any]]:
    """What is measured so far: by instrument and values of attributes, a number, or the count of a histogram."""
    data = reader.get_metrics_data()
    found: dict[str, dict[tuple[str, ...], Any]] = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = found.setdefault(metric.name, {})
                for point in metric.data.data_points:
                    key = tuple(str(value) for value in (point.attributes or {}).values())
                    points[key] = point.count if hasattr(point, "count") else point.value
    return found


def metered() -> tuple[InMemoryMetricReader, Observer]:
    """A reader of metrics, and an observer that makes them."""
    reader, provider = metered_alone()
    return reader, cascade.observers.open_telemetry(TracerProvider(shutdown_on_exit=False), provider)


def metered_alone() -> tuple[InMemoryMetricReader, MeterProvider]:
    """A reader of metrics, and what they have to be made with."""
    reader = InMemoryMetricReader()
    return reader, MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
