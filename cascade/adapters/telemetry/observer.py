"""The observer that traces runs with OpenTelemetry."""

from __future__ import annotations

from typing import ClassVar, Final, Self

import attrs
from opentelemetry import metrics, trace

from cascade.adapters.telemetry.metrics import Metrics
from cascade.adapters.telemetry.run_trace import RunTrace, begin_run
from cascade.model.events import Event, RunFinished
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.observation.bus import EventStream

SCOPE: Final = "cascade"


@attrs.frozen(eq=False)
class OpenTelemetry:
    """Follows runs from around their calls, and listens to no events.

    Attributes:
        tracer: Makes the spans.
        instruments: What it counts and measures.
    """

    tracer: trace.Tracer
    instruments: Metrics
    __name__ = "open_telemetry"
    # For whoever subscribes it like another observer, which it needs not.
    kinds: ClassVar[tuple[type[Event], ...]] = (RunFinished,)

    @classmethod
    def of(
        cls, tracer_provider: trace.TracerProvider | None, meter_provider: metrics.MeterProvider | None
    ) -> Self:
        """An observer with these providers; the global ones by default."""
        return cls(
            trace.get_tracer(SCOPE, tracer_provider=tracer_provider),
            Metrics.of(meter_provider or metrics.get_meter_provider()),
        )

    def trace_run(self, run_context: RunContext) -> RunTrace:
        """Begin to follow a run."""
        return begin_run(self.tracer, self.instruments, run_context)

    async def __call__(self, events: EventStream) -> None:
        """Read *events*, and do nothing."""
        async for _ in events:
            pass
