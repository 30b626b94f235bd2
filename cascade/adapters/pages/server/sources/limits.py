"""Limits that are asked for from a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cascade.adapters.pages.server.sources.source import RefusedAction


def limits_in(given: Mapping[str, Any]) -> dict[str, Any]:
    """The limits in *given*: ``concurrency`` and ``rate``, each of them ``None`` to lift it.

    Raises:
        RefusedAction: If one is of a wrong type, or there is none.
    """
    found = {name: given[name] for name in ("concurrency", "rate") if name in given}
    concurrency, rate = found.get("concurrency"), found.get("rate")
    if (
        isinstance(concurrency, bool)
        or not isinstance(concurrency, int | None)
        or not isinstance(rate, str | None)
    ):
        raise RefusedAction("concurrency is a whole number, and rate a text such as 10/s")
    if not found:
        raise RefusedAction("a limit needs a concurrency, a rate, or both")
    return found
