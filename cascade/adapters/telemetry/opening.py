"""``open_telemetry()``: where the library is not installed, one line says so."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from cascade.runtime.context.settings import Observer
from cascade.runtime.foundation.lazy_import import adapter

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


def open_telemetry(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Observer:
    """An observer that makes spans and metrics of runs with OpenTelemetry.

    A run has a span, below the one that is current where it is started. Each call of a task has a span, which is
    the current one while the function runs, in threads and other processes too: spans that the function makes are
    below it. A call with policies, a map, and a flow that a task has returned have a span of their own around
    those of their attempts, items or calls. No span has arguments, results or parameters, and texts of errors are
    without secrets.

    Nodes run in lanes as without it. All spans have ended when the run has; if the
    run is cancelled, without an error. Tracing that fails does not fail the
    run, and is published as an ``EngineWarning``.

    Args:
        tracer_provider: Makes the spans. ``None`` (default): the global provider of OpenTelemetry.
        meter_provider: Makes the metrics. ``None`` (default): the global provider of OpenTelemetry.

    Raises:
        ImportError: If OpenTelemetry is not installed.
    """
    if importlib.util.find_spec("opentelemetry") is None:
        raise ImportError(
            "open_telemetry() needs opentelemetry-api; install the extra: pip install 'cascade-anyio[otel]'"
        )
    observer: Observer = adapter("telemetry.observer:OpenTelemetry").of(tracer_provider, meter_provider)
    return observer
