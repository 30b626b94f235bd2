"""t. Tracing: what OpenTelemetry adds to each node of a map over 3 000 items, and of a loop of as many turns.

The baseline is the same flow without an observer. Spans go to an exporter that does nothing. What the SDK itself
takes to make as many spans by hand is shown beside it, as most of the difference is that.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from harness import Figure, Work, main, medians, sized
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider
from opentelemetry.util.types import AttributeValue

import cascade

SIZE = 3_000
# Microseconds a node more than without.
GOAL = 50.0


class Nowhere(SpanExporter):
    """Takes spans and does nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop *spans*."""
        del spans
        return SpanExportResult.SUCCESS


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


async def run_loop(size: int, observers: Sequence[Any] = ()) -> None:
    """A loop of *size* turns."""
    assert await cascade.run(countdown(size - 1), observers=observers) == 0


def exporting() -> TracerProvider:
    """A provider whose spans go nowhere."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return provider


async def make_spans(provider: TracerProvider, size: int) -> None:
    """As many spans as a flow has nodes, by hand."""
    tracer = provider.get_tracer("by hand")
    attributes: dict[str, AttributeValue] = {
        "run": "r",
        "node": "item[17]",
        "attempt": 1,
        "function": "module.item",
    }
    for _ in range(size):
        tracer.start_span("item", attributes=attributes).end()


async def cases(backend: str, rounds: int, options: argparse.Namespace) -> Sequence[Figure]:
    """Maps of both kinds of task, and a loop."""
    size = sized(options, SIZE)
    tracer, meter = exporting(), MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)
    observers = {
        "no SDK": cascade.observers.open_telemetry(NoOpTracerProvider(), NoOpMeterProvider()),
        "spans": cascade.observers.open_telemetry(tracer, NoOpMeterProvider()),
        "spans and metrics": cascade.observers.open_telemetry(tracer, meter),
    }
    flows: dict[str, Any] = {
        "sync": partial(run_map, sync_item, size),
        "async": partial(run_map, async_item, size),
        "loop": partial(run_loop, size),
    }
    works: dict[str, Work] = {"spans by hand": partial(make_spans, tracer, size)}
    for kind, flow in flows.items():
        works[f"{kind}, off"] = flow
        works |= {f"{kind}, {name}": partial(flow, [observer]) for name, observer in observers.items()}
    taken = await medians(rounds, **works)
    tracer.shutdown()
    meter.shutdown()
    us = {name: seconds / size * 1e6 for name, seconds in taken.items()}
    return [
        Figure(
            "t. tracing",
            backend,
            "us more",
            us[f"{kind}, {name}"] - us[f"{kind}, off"],
            GOAL,
            baselines={"off": us[f"{kind}, off"], "spans by hand": us["spans by hand"]},
            variant=f"{kind}, {name}",
            against="off",
            ratio=taken.ratio(f"{kind}, {name}", f"{kind}, off"),
        )
        for kind in flows
        for name in observers
    ]


if __name__ == "__main__":
    main(cases)
