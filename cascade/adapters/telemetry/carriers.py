"""The context of a span on its way to another process: strings by name, as in the headers of a request.

Which strings these are, the global propagator of OpenTelemetry says: W3C trace context and baggage by default.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import propagate
from opentelemetry.context import Context, attach


def pack(context: Context) -> dict[str, str]:
    """What has to be sent."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return carrier


def receive(carrier: Mapping[str, str]) -> None:
    """In the other process: have the span that was sent be the current one in the present context."""
    attach(propagate.extract(carrier))
