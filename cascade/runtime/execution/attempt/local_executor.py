"""The executor of this process: calls on the event loop and in worker threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any, ClassVar

import attrs
from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import EventLoopToken

from cascade.model.tasks import Task
from cascade.runtime.admission.pool import Slot
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.attempt import Attempt, enter
from cascade.runtime.execution.attempt.remote_calls import RemoteCalls
from cascade.runtime.execution.telling import this_thread
from cascade.runtime.foundation.executor import Executor
from cascade.runtime.foundation.step_in_context import call_in, drive
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.foundation.threads import in_thread, run_in_daemon_thread


@attrs.define(eq=False)
class ThreadCall:
    """A call of a sync function in a thread, and how it ended."""

    attempt: Attempt
    token: EventLoopToken
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        """Make the call. Never raises: what the function raises is kept as it is."""
        attempt = self.attempt
        attempt_var.set(attempt)
        try:
            attempt.mark.set_in_thread(self.token)
            enter(attempt)
            self.value = attempt.task.func(*self.args, **self.kwargs)
        except BaseException as error:  # handed over to the loop as it is, whatever it is
            self.error = error
        finally:
            attempt.place = this_thread()
            self.args, self.kwargs = (), {}  # the thread holds this call a little longer than the run lives
            attempt.end_in_thread()

    def result(self) -> Any:
        """The value, or the error raised again."""
        value, error = self.value, self.error
        self.value = self.error = None
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # or the traceback would keep this frame, and this frame the traceback


@attrs.define(eq=False)
class LocalExecutor:
    """Calls async functions on the event loop, and sync functions in worker threads, in place, or in worker
    processes, as the task's mode says.

    Args:
        limiter: Limits the worker threads. Not AnyIO's default limiter, which others use too.
        processes: Executor of tasks with ``mode="process"``.
        remote: What takes calls that leave this machine. ``None`` (default): nothing does.

    Attributes:
        marks_start: Whether ``execute`` itself marks the start of an attempt. Always true, because only the
            executor knows when a thread or process is free.
    """

    limiter: CapacityLimiter
    processes: Executor
    remote: RemoteCalls | None = None
    # Attempts count from the moment when there is a place for them, which only the executor knows.
    marks_start: ClassVar[bool] = True

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the task's function where its mode says. Only for attempts of the engine.

        If cancelled: an async function is cancelled. A thread is waited for, or left behind with
        ``abandon_on_cancel``. A worker process is killed.

        Args:
            task: The task.
            args: Positional arguments, without lazies.
            kwargs: Arguments by name, without lazies.

        Raises:
            BaseException: What the function raises.
        """
        attempt = attempt_var.get()
        assert isinstance(attempt, Attempt)  # plain nodes are called by lanes
        if self.remote is not None and Slot.REMOTE in attempt.claim.amounts:
            return await self.remote.execute(attempt, args, kwargs)
        if task.mode == "process":
            return await self.processes.execute(task, args, kwargs)
        if task.is_async or task.mode == "inline":
            context = attempt.surroundings.tasks.base.copy()
            context.run(attempt_var.set, attempt)
            attempt.mark.set()
            context.run(enter, attempt)
            return await call_in(context, task.func, args, kwargs, is_async=task.is_async)
        value = await self._call_in_thread(attempt, args, kwargs)
        if type(value) is CoroutineType:
            attempt.timing.ended = None  # the function has, but what it gave goes on
            context = attempt.surroundings.tasks.base.copy()
            context.run(attempt_var.set, attempt)
            context.run(enter, attempt)
            value = await drive(context, value)
        return value

    async def _call_in_thread(self, attempt: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = ThreadCall(attempt, attempt.timing.read_in_thread(), args, kwargs)
        crossers = attempt.surroundings.gate.crossers
        crossers.add(attempt.mark)
        try:
            if attempt.task.abandon_on_cancel:
                context = await self._thread_context()
                await run_in_daemon_thread(context, call.run, attempt.node_id)
            else:
                await in_thread(call.run, self.limiter)
        finally:
            crossers.discard(attempt.mark)
        return call.result()

    async def _thread_context(self) -> Context:
        """A context as AnyIO gives to its own threads, in which no event loop seems to run."""
        return await in_thread(copy_context, self.limiter)


def slot_of(task: Task[..., Any], resources: object, executor: Executor) -> Slot | None:
    """What an attempt of *task*, which injects *resources*, needs to be run by *executor*, if anything."""
    if not isinstance(executor, LocalExecutor) or task.is_async or task.mode == "inline":
        return None
    if executor.remote is not None and executor.remote.goes(task, resources):
        return Slot.REMOTE
    return Slot.PROCESS if task.mode == "process" else Slot.THREAD


@contextmanager
def looking_for_workers(run_context: RunContext) -> Iterator[None]:
    """While the block lasts, see now and then how many calls can run on the cluster, if there is one."""
    executor, tasks = run_context.shared.executor, run_context.tasks
    if not isinstance(executor, LocalExecutor) or executor.remote is None or tasks.work is None:
        yield
        return
    scope = CancelScope()
    tasks.spawn(tasks.work, executor.remote.keep_looking, scope)
    try:
        yield
    finally:
        scope.cancel()
