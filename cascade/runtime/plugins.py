"""Adapters by name: the core knows where they are, and imports one when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from cascade.model.tasks import Task


def adapter(place: str) -> Any:
    """What stands at ``module:name`` below ``cascade.adapters``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"cascade.adapters.{module}"), name)


def process_name(task: Task[..., Any]) -> tuple[str, str]:
    """Module and name under which a worker process finds *task*.

    Raises:
        GraphError: If it would not find it there.
    """
    return adapter("executors.processes:importable_name")(task)  # type: ignore[no-any-return]  # see its annotation
