"""Adapters by name: the core knows where they are, and imports one when it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from cascade.model.calls.callee import Callee


def adapter(place: str) -> Any:
    """What stands at ``module:name`` below ``cascade.adapters``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"cascade.adapters.{module}"), name)


def check_function(task: Callee) -> None:
    """See that a worker process can get the function of *task*.

    Raises:
        GraphError: If it cannot.
    """
    adapter("serialization.functions:check_function")(task)
