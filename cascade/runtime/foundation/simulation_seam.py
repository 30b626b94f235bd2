"""The seam through which a simulation takes the place of the event loop, the threads and chance.

Production has no pacer: an engine asks once, when it opens on an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from random import Random
from typing import Any, Protocol

from anyio import CapacityLimiter

from cascade.model.inputs import Resource
from cascade.runtime.foundation.executor import Executor


class Pacer(Protocol):
    """Decides which of the engine's tasks goes on next."""

    @property
    def rng(self) -> Random:
        """What the run draws its random numbers from."""
        ...

    def new_run_id(self) -> str:
        """The id of a run that was given none."""
        ...

    def elapsed(self) -> float:
        """What replaces the clock by which long steps are cut into slices."""
        ...

    def paced(self, func: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """*func*, to be started as a task that goes on only when it is chosen."""
        ...

    def executor(self, limiter: CapacityLimiter) -> Executor:
        """What calls functions, none of them in a thread or a process."""
        ...

    def provider(self, resource: Resource) -> Resource:
        """*resource*, provided without a thread."""
        ...


pacer_var: ContextVar[Pacer | None] = ContextVar("cascade_pacer", default=None)
