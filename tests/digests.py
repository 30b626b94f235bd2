"""What tests of digests share."""

from __future__ import annotations

from typing import Any

from cascade.graph.identity import value_digest


def digest(value: Any) -> bytes:
    """The digest of *value*, which errors call ``value``."""
    return value_digest(value, "value")
