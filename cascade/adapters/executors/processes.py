"""Worker processes: ``anyio.to_process``, which runs on either backend and can stop what it runs."""

from __future__ import annotations

import functools
import importlib
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, ClassVar

import attrs
from anyio import CapacityLimiter, to_process

from cascade.model.errors import GraphError, annotate
from cascade.model.tasks import Task
from cascade.runtime.attempt import Attempt
from cascade.runtime.current import attempt_var


def importable_name(task: Task[..., Any]) -> tuple[str, str]:
    """Module and qualified name under which a process finds *task*.

    Raises:
        GraphError: If it would not find it there.
    """
    module, qualname = task.__module__, task.__qualname__
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not task:
        raise GraphError(
            f"{task.name!r} cannot run in a process: {module}.{qualname} is not that task; define it at the top "
            "level of a module that can be imported"
        )
    return module, qualname


@attrs.define(eq=False)
class FarAttempt:
    """In the worker process: an attempt whose run is in another. Cancelling or delaying it ends the process.

    Attributes:
        seconds: From its start to the effective deadline.
    """

    run_id: str
    node_id: str
    number: int
    turns: Sequence[int]
    seconds: float
    surroundings: object = None
    claim: object = None
    is_over: bool = False
    _started: float = attrs.field(factory=time.monotonic)

    def remaining(self) -> float:  # pragma: no cover  # in the worker process
        """Seconds to the effective deadline."""
        return self.seconds - (time.monotonic() - self._started)

    def check(self) -> None:
        """Nothing: a process that is to stop is killed."""


def _call(
    module: str,
    qualname: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    where: tuple[str, str, int, Sequence[int], float] | None,
) -> Any:  # pragma: no cover  # in the worker process
    """In the worker process: call the function of the task under this name."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if where is not None:
        attempt_var.set(FarAttempt(*where))
    try:
        return found.func(*args, **kwargs)
    except Exception as error:
        # Pickling drops the traceback; its text says where in the function it was.
        annotate(error, "in the worker process:\n" + "".join(traceback.format_exception(error)).rstrip())
        raise


def _ready() -> None:
    """In the worker process: nothing; that it answers is the point."""


@attrs.define(eq=False)
class ProcessExecutor:
    """Calls functions in worker processes; arguments and results are pickled.

    Cancelling kills the process.

    Args:
        limiter: Bounds the number of processes at work.
    """

    limiter: CapacityLimiter
    # See LocalExecutor: an attempt begins once its process is there.
    marks_start: ClassVar[bool] = True

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function in a worker process.

        Raises:
            GraphError: If a process cannot import the task.
        """
        place = importable_name(task)
        attempt = attempt_var.get(None)
        where = None
        if isinstance(attempt, Attempt):
            if attempt.timeout is not None:
                # Starting an interpreter must not count as the task's own time.
                await to_process.run_sync(_ready, cancellable=True, limiter=self.limiter)
            attempt.begin()
            where = (attempt.run_id, attempt.node_id, attempt.number, attempt.turns, attempt.remaining())
        call = functools.partial(_call, *place, args, kwargs, where)
        return await to_process.run_sync(call, cancellable=True, limiter=self.limiter)
