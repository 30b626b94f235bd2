"""The tasks and threads that a run has started."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Protocol

import attrs
from anyio.abc import TaskGroup

from cascade.runtime.foundation.simulation_seam import Pacer


class Watched(Protocol):
    """What may take longer than it should."""

    @property
    def node_id(self) -> str:
        """The node that runs."""
        ...

    @property
    def is_running(self) -> bool:
        """Whether any does."""
        ...

    def why_late(self) -> str | None:
        """What it should have kept to, if it has not."""
        ...


class ThreadWatch(Protocol):
    """Watches threads that may take longer than they should."""

    def add(self, attempt: Watched) -> None:
        """Watch *attempt*."""
        ...

    def remove(self, attempt: Watched) -> None:
        """Watch *attempt* no longer."""
        ...

    def start(self) -> None:
        """The run has been halted: all threads are late now."""
        ...

    def stop(self) -> None:
        """All threads have ended."""
        ...


@attrs.define(eq=False)
class RunTasks:
    """Starts the tasks of a run.

    Attributes:
        pacer: Decides which task goes on next, in a simulation.
        base: Context variables of whoever called ``run``; tasks start from copies of it.
        services: Tasks that outlive the nodes.
        has_services: Whether there was any.
        work: The nodes, and what they asked to be run; cancelled to halt the run.
        watch: Reports threads that take too long.
    """

    pacer: Pacer | None
    base: Context = attrs.field(factory=copy_context)
    services: TaskGroup | None = None
    has_services: bool = False
    work: TaskGroup | None = None
    watch: ThreadWatch = attrs.field(init=False)

    def spawn(self, group: TaskGroup, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Start a task in *group* that sees the context variables of the run's caller, and nobody else's."""
        if self.pacer is not None:
            func = self.pacer.paced(func)
        self.base.copy().run(partial(group.start_soon, func, *args))

    def start_service(self, func: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Start a task that outlives the nodes."""
        assert self.services is not None  # opened before anything of the run happens
        self.has_services = True
        self.spawn(self.services, func, *args)

    def cancel_work(self) -> None:
        """Cancel the nodes, and what they asked to be run."""
        if self.work is not None:
            self.work.cancel_scope.cancel()
