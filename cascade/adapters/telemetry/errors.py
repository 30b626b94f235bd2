"""An error as attributes of a span."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

from cascade.model.shown.raised import describe
from cascade.model.shown.secrets import Secrets
from cascade.model.shown.tracebacks import text_of

# Characters of a traceback; of a longer one the end is kept, which has the error.
_MOST: Final = 8192


def type_of(error: BaseException) -> str:
    """The full name of the error's class, as the conventions of OpenTelemetry want it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def note_error(span: Span, error: BaseException, secrets: Secrets) -> None:
    """Say on *span* that it has ended with *error*, without *secrets*."""
    if not span.is_recording():
        return
    kind, text = type_of(error), secrets.redact(describe(error))
    span.set_status(Status(StatusCode.ERROR, text))
    span.set_attribute("error.type", kind)
    span.add_event(
        "exception",
        {
            "exception.type": kind,
            "exception.message": text.partition(": ")[2],
            "exception.stacktrace": secrets.redact(text_of(error))[-_MOST:],
        },
    )
