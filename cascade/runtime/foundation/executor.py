"""What runs the functions of tasks, seen from everywhere else."""

from __future__ import annotations

from typing import Any, Protocol

from cascade.model.tasks import Task


class Executor(Protocol):
    """Runs the functions of tasks, somewhere.

    ``execute`` returns what the function returns and raises what it raises. Cancelling it must not return before
    the function has stopped, unless that cannot be stopped.
    """

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call ``task.func(*args, **kwargs)``."""
        ...
