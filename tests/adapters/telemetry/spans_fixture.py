"""A fixture with an observer that traces, and what it traces; skips where the SDK is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from recorded_spans import RecordedSpans


@pytest.fixture
def recorded_spans() -> RecordedSpans:
    """What is traced."""
    pytest.importorskip("opentelemetry.sdk")
    from recorded_spans import RecordedSpans

    return RecordedSpans()
