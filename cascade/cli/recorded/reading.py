"""Asks a store from the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from cascade.cli.targets import UsageError
from cascade.model.errors import InputError, StateError

T = TypeVar("T")


def read(ask: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What *ask* returns for *args*.

    Raises:
        UsageError: If the store cannot be used, or what is asked for is not there.
    """
    try:
        return anyio.run(ask, *args)
    except (InputError, StateError, ImportError) as error:
        raise UsageError(str(error)) from error
