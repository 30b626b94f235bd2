"""New event loops, for flows that run in a script."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


def check_backend(backend: str) -> None:
    """See that the library of an event loop, ``"asyncio"`` or ``"trio"``, is installed.

    Raises:
        ImportError: If it is not. AnyIO would raise a ``LookupError`` that names an extra of its own.
    """
    if backend != "trio":
        return
    try:
        importlib.import_module("trio")
    except ModuleNotFoundError as error:
        if error.name != "trio":  # it is there, and lacks something
            raise
        raise ImportError(
            "backend 'trio' needs Trio, which is not installed; install the extra: "
            'pip install "cascade-anyio[trio]"'
        ) from error


def run_on(backend: str, function: Callable[[], Awaitable[T]], options: dict[str, Any]) -> T:
    """Call *function* on a new event loop. An interrupt (Control-C) comes between two of its steps, not amid one.

    Args:
        backend: ``"asyncio"`` or ``"trio"``.
        function: The function.
        options: AnyIO's options for that backend.

    Raises:
        ImportError: If *backend* is ``"trio"``, and Trio is not installed.
    """
    check_backend(backend)
    if backend == "asyncio":
        # Only this part knows asyncio, which takes a while to import.
        interrupts = importlib.import_module("cascade.adapters.interrupts")
        value: T = interrupts.run(function, options)
        return value
    options = {"restrict_keyboard_interrupt_to_checkpoints": True, **options}
    return anyio.run(function, backend=backend, backend_options=options)
