"""What runs the functions of tasks, seen from everywhere else."""

from __future__ import annotations

from typing import Any, Protocol

from cascade.model.tasks import Task


class Executor(Protocol):
    """Calls the functions of tasks, in some place.

    ``execute`` returns what the function returns and raises what it raises. If it is cancelled, it must not return
    before the function has stopped, unless the function cannot be stopped.
    """

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call ``task.func(*args, **kwargs)`` and return its value.

        If cancelled, stop the function if possible, and wait until it has stopped.

        Args:
            task: The task.
            args: Positional arguments, without lazies.
            kwargs: Arguments by name, without lazies.

        Raises:
            BaseException: What the function raises.
        """
        ...
