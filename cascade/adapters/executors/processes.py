"""Worker processes: ``anyio.to_process``, which runs on either backend and can stop what it runs."""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs
from anyio import (
    BrokenResourceError,
    BrokenWorkerProcess,
    CapacityLimiter,
    ClosedResourceError,
    EndOfStream,
    IncompleteRead,
    to_process,
)

from cascade.adapters.executors.far_errors import FarError
from cascade.model.errors import GraphError, describe
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
        return FarError.of(error)


def _ready() -> None:
    """In the worker process: nothing; that it answers is the point."""


def _told(name: str, error: BrokenWorkerProcess) -> BrokenWorkerProcess:
    """What AnyIO says of a broken process, which may be nothing, with the task's name and a reason."""
    cause = error.__cause__
    if str(error):
        reason = f": {error}" + (f": {describe(cause)}" if cause else "")
    elif isinstance(cause, (BrokenResourceError, ClosedResourceError, EndOfStream, IncompleteRead)):
        reason = (
            " died before the task had ended, as one does that is killed for want of memory or calls os._exit; "
            "the system's log may say why"
        )
    else:
        reason = (
            f" gave an answer that cannot be read ({describe(cause) if cause else 'no reason given'}); nothing in "
            "the task may write to file descriptor 1, which carries the answers"
        )
    return BrokenWorkerProcess(f"the worker process of {name!r}{reason}")


@attrs.define(eq=False)
class ProcessExecutor:
    """Calls functions in worker processes; arguments and results are pickled.

    Cancelling kills the process. A process that dies is an ``anyio.BrokenWorkerProcess``.

    What a function raises is raised here with its type, its text and its attributes, also where its class does not
    unpickle by itself: then it is rebuilt without a call of its ``__init__``, and lacks attributes that cannot be
    pickled. If even that is impossible, as for a class that is local to a function, a ``RuntimeError`` gives type
    and text. A note has the traceback of the worker process.

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
            BrokenWorkerProcess: If the process dies.
        """
        place = importable_name(task)
        attempt = attempt_var.get(None)
        where = None
        if isinstance(attempt, Attempt):
            if attempt.timeout is not None:
                # Starting an interpreter must not count as the task's own time.
                await self._in_worker(task.name, _ready)
            attempt.begin()
            where = (attempt.run_id, attempt.node_id, attempt.number, attempt.turns, attempt.remaining())
        value = await self._in_worker(task.name, functools.partial(_call, *place, args, kwargs, where))
        if isinstance(value, FarError):
            raise value.near(task.name)
        return value

    async def _in_worker(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call for the task of this name in a worker process."""
        # Workers know the script that was started under this name, and so call its classes when they pickle them.
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
        try:
            return await to_process.run_sync(call, cancellable=True, limiter=self.limiter)
        except BrokenWorkerProcess as error:
            raise _told(name, error) from error.__cause__
