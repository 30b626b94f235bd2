"""Adapters by name: the core knows where they are, and imports one when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from cascade.model.calls.callee import Callee


def adapter(place: str) -> Any:
    """What stands at ``module:name`` below ``cascade.adapters``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"cascade.adapters.{module}"), name)


def adapters_of(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for *module*, which imports an adapter when it is first asked for its name.

    Args:
        module: The ``__name__`` of the module.
        places: By name: where the adapter stands, as :func:`adapter` takes it.
    """

    def find(name: str) -> Any:
        if name in places:
            return adapter(places[name])
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return find


def check_function(task: Callee) -> None:
    """See that a worker process can get the function of *task*.

    Raises:
        GraphError: If it cannot.
    """
    adapter("serialization.functions:check_function")(task)
