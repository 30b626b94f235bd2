"""t. Tracing: what OpenTelemetry adds to each node of a map over 3 000 items, and of a loop of as many turns.

The baseline is the same flow without an observer. Spans go to an exporter that does nothing. What the SDK itself
takes is shown beside it: for spans in a plain loop, and in flows whose tasks make them. Nothing waits here, so
processor time is measured, and the least of the rounds is shown: what disturbs a round only adds to it.
"""

from __future__ import annotations

import argparse
import gc
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from harness import Figure, Work, main, sized
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider
from opentelemetry.util.types import AttributeValue

import cascade

SIZE = 3_000
# Microseconds a node more than without.
GOAL = 50.0
ABOVE = trace.SpanContext(1, 1, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
ATTRIBUTES: dict[str, AttributeValue] = {"run": "r", "node": "item[17]", "attempt": 1, "function": "module.item"}


class Nowhere(SpanExporter):
    """Takes spans and does nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop *spans*."""
        del spans
        return SpanExportResult.SUCCESS


PROVIDER = TracerProvider(shutdown_on_exit=False)
PROVIDER.add_span_processor(SimpleSpanProcessor(Nowhere()))
TRACER = PROVIDER.get_tracer("by hand")


@cascade.task
def sync_item(value: int) -> int:
    """Nothing, in a worker thread."""
    return value


@cascade.task
async def async_item(value: int) -> int:
    """Nothing, on the loop."""
    return value


@cascade.task
def countdown(left: int) -> Any:
    """Nothing, in a loop of tail calls."""
    return countdown(left - 1) if left else 0


async def run_map(item: Any, size: int, observers: Sequence[Any] = ()) -> None:
    """A map over *size* items."""
    assert len(await cascade.run(item.map(value=range(size)), observers=observers)) == size


async def run_loop(task: Any, size: int, observers: Sequence[Any] = ()) -> None:
    """A loop of *size* turns."""
    assert await cascade.run(task(size - 1), observers=observers) == 0


def make_span(value: int) -> int:
    """A span by hand, with as many attributes."""
    above = trace.set_span_in_context(trace.NonRecordingSpan(ABOVE))
    TRACER.start_span("item", above, attributes=ATTRIBUTES).end()
    return value


async def make_spans(size: int) -> None:
    """As many spans as a flow has nodes."""
    for number in range(size):
        make_span(number)


@cascade.task
def sync_span(value: int) -> int:
    """Make a span, in a worker thread."""
    return make_span(value)


@cascade.task
async def async_span(value: int) -> int:
    """Make a span, on the loop."""
    return make_span(value)


@cascade.task
def span_countdown(left: int) -> Any:
    """Make a span, in a loop of tail calls."""
    return span_countdown(make_span(left) - 1) if left else 0


async def least(rounds: int, works: dict[str, Work]) -> dict[str, float]:
    """The fewest seconds of processor time that each of *works* takes; they are measured in turns."""
    seconds = dict.fromkeys(works, math.inf)
    for _ in range(rounds + 1):
        for name, work in works.items():
            gc.collect()
            began = time.process_time()
            await work()
            seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Maps of both kinds of task, and a loop."""
    size = sized(options, SIZE)
    meter = MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)
    observers = {
        "no SDK": cascade.observers.open_telemetry(NoOpTracerProvider(), NoOpMeterProvider()),
        "spans": cascade.observers.open_telemetry(PROVIDER, NoOpMeterProvider()),
        "spans and metrics": cascade.observers.open_telemetry(PROVIDER, meter),
    }
    flows: dict[str, Any] = {
        "sync": partial(run_map, sync_item, size),
        "async": partial(run_map, async_item, size),
        "loop": partial(run_loop, countdown, size),
    }
    works: dict[str, Work] = {
        "by hand in a plain loop": partial(make_spans, size),
        "sync, by hand": partial(run_map, sync_span, size),
        "async, by hand": partial(run_map, async_span, size),
        "loop, by hand": partial(run_loop, span_countdown, size),
    }
    for kind, flow in flows.items():
        works[f"{kind}, off"] = flow
        works |= {f"{kind}, {name}": partial(flow, [observer]) for name, observer in observers.items()}
    taken = await least(rounds, works)
    meter.shutdown()
    us = {name: seconds / size * 1e6 for name, seconds in taken.items()}
    return [
        Figure(
            "t. tracing",
            backend,
            "us more",
            us[f"{kind}, {name}"] - us[f"{kind}, off"],
            GOAL,
            baselines={
                "off": us[f"{kind}, off"],
                "more with spans in the tasks by hand": us[f"{kind}, by hand"] - us[f"{kind}, off"],
                "by hand in a plain loop": us["by hand in a plain loop"],
            },
            variant=f"{kind}, {name}",
            against="off",
            ratio=us[f"{kind}, {name}"] / us[f"{kind}, off"],
        )
        for kind in flows
        for name in observers
    ]


if __name__ == "__main__":
    main(cases)
