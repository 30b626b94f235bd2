"""Tasks in worker processes, on any event loop."""

from __future__ import annotations

import pickle
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from weakref import WeakKeyDictionary

import attrs
from anyio import BrokenWorkerProcess, CancelScope, CapacityLimiter, WouldBlock, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled

from cascade.adapters.executors.frames import Buffer, Caller, Kind, frame
from cascade.adapters.executors.worker import GRACE, Worker, WorkerLostError
from cascade.adapters.serialization.calls import Refusal, do_nothing, refused_function
from cascade.adapters.serialization.context import variables_of
from cascade.adapters.serialization.errors import FarError
from cascade.adapters.serialization.functions import Reference, refer
from cascade.adapters.serialization.logs import present_levels
from cascade.adapters.serialization.main_module import MainModule
from cascade.adapters.serialization.values import (
    dump_arguments,
    dumps,
    named_arguments,
    shortened,
    unreadable_argument,
    unreadable_result,
    unsendable_result,
)
from cascade.model.tasks import Task
from cascade.runtime.execution.attempt.attempt import Attempt
from cascade.runtime.foundation.task_context import attempt_var
from cascade.runtime.observation.tracing import carrier_of

# A reference to the function, and the fields of a FarAttempt; None if the call belongs to no run.
Call = tuple[Reference, tuple[Any, ...] | None]

_NOTHING: Final = pickle.dumps(do_nothing)


@attrs.define(eq=False)
class ProcessExecutor:
    """Calls functions in worker processes. Each worker makes one call after another.

    An engine has one of its own and ends its workers when its last run ends. If you make one yourself, use it in
    an ``async with`` block: leaving the block ends its workers, and is not cancelled.

    To the worker go the function (by its name or, with cloudpickle, with its code), the arguments and the context
    variables, pickled. Back come the result or the exception, text for the standard streams, and log records.

    Args:
        limiter: Limits the number of calls, and so of processes, at a time.

    Attributes:
        marks_start: Whether ``execute`` itself marks the start of an attempt. Always true: the time until the
            worker is ready does not count.
    """

    limiter: CapacityLimiter
    # As for LocalExecutor; here an attempt begins when its process has been started.
    marks_start: ClassVar[bool] = True
    _main: MainModule | None = attrs.field(factory=MainModule.here, init=False)
    _idle: list[Worker] = attrs.field(factory=list, init=False)
    # One for each run.
    _callers: WeakKeyDictionary[object, Caller] = attrs.field(factory=WeakKeyDictionary, init=False)
    # The caller of the last call outside a run, with the context of that call.
    _outside: tuple[Context, Caller] | None = attrs.field(default=None, init=False)

    async def execute(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function in a worker process. A new worker is started if none is idle.

        If cancelled, this ends after the worker has been killed and what it had written has been shown. Programs
        that the function started are left alone.

        A program that the function starts and that outlives the call must not inherit standard output or error.
        Nobody reads them while the worker is idle, so the program blocks once the pipe is full (64 KB on Linux);
        its writes fail once the worker has ended. Give it a file or ``subprocess.DEVNULL``.

        Args:
            task: The task.
            args: Positional arguments; they are pickled.
            kwargs: Arguments by name; they are pickled.

        Raises:
            GraphError: If the worker cannot get the function.
            TypeError: If an argument or the result cannot be pickled, or not be unpickled where it arrives.
            anyio.BrokenWorkerProcess: If the worker dies or cannot start.
            BaseException: What the function raises, with its type, text and attributes; a note has the worker's
                traceback. An exception that cannot be pickled at all is described by a ``RuntimeError``.
        """
        function = refer(task, shares_main=self._shares_main)
        arguments = dump_arguments(task, args, kwargs, shares_main=self._shares_main)
        async with _held(self.limiter), self._worker(task) as worker:
            attempt = attempt_var.get(None)
            place: tuple[Any, ...] | None = None
            if isinstance(attempt, Attempt):
                attempt.place = f"process {worker.process.pid}"
                attempt.mark.set()  # not before: the time to start an interpreter is not the task's
                ends_by = time.monotonic() + attempt.remaining()
                place = (
                    attempt.run_id, attempt.node_id, attempt.number, attempt.turns, ends_by, attempt.undone,
                    carrier_of(attempt),
                )  # fmt: skip
            caller = self._caller(attempt)
            kind, data = await _ask(worker, caller, (function, place), arguments)
            if kind is Kind.REFUSAL:
                arguments_by_name = named_arguments(task, args, kwargs)
                raise await self._refusal(worker, caller, task, pickle.loads(data), arguments_by_name)
        return _value(task, kind, data)

    async def aclose(self) -> None:
        """End the idle workers. Calls that are under way go on, and the next call starts a new worker.

        The workers have one second together for what is registered with :mod:`atexit`; then they are killed. This
        wait is not cancelled.
        """
        workers, self._idle = self._idle, []
        for worker in workers:
            worker.hang_up()
        with CancelScope(shield=True):
            with move_on_after(GRACE if workers else 0):
                for worker in workers:
                    await worker.until_ended()
            for worker in workers:
                await worker.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def _shares_main(self) -> bool:
        return self._main is not None

    @asynccontextmanager
    async def _worker(self, task: Task[..., Any]) -> AsyncIterator[Worker]:
        """A worker for a call of *task*; kept for the next call afterwards, or killed if it cannot make one."""
        worker = await self._idle_worker() or _started(task)
        try:
            if not worker.is_ready:
                await self._load_main(worker, task)
            yield worker
        except WorkerLostError as lost:
            raise BrokenWorkerProcess(
                f"the worker process of {task.name!r} {await worker.fate()}, {lost}"
            ) from None
        finally:
            if worker.is_ready:
                self._idle.append(worker)
            else:
                await worker.kill()

    async def _idle_worker(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.poll() is None:
                return worker
            await worker.kill()  # it has ended meanwhile; this closes its channel
        return None

    async def _load_main(self, worker: Worker, task: Task[..., Any]) -> None:
        problem = await worker.load(self._main)
        if problem is not None:
            assert self._main is not None
            raise BrokenWorkerProcess(
                f"the worker process of {task.name!r} cannot load {self._main.path}: {problem}; put what starts "
                'the program under: if __name__ == "__main__":'
            )

    def _caller(self, attempt: object) -> Caller:
        """The context variables and log levels for a call; in a run, those of its first call."""
        if not isinstance(attempt, Attempt):
            return self._caller_outside_runs()
        run = attempt.surroundings
        if run not in self._callers:
            self._callers[run] = self._new_caller(run.tasks.base)
        return self._callers[run]

    def _caller_outside_runs(self) -> Caller:
        context = copy_context()
        if self._outside is None or not _are_same(context, self._outside[0]):
            self._outside = context, self._new_caller(context)
        return self._outside[1]

    def _new_caller(self, context: Context) -> Caller:
        return Caller(variables_of(context, shares_main=self._shares_main), present_levels())

    async def _refusal(
        self,
        worker: Worker,
        caller: Caller,
        task: Task[..., Any],
        refusal: Refusal,
        arguments: Iterable[tuple[str, Any]],
    ) -> Exception:
        """The error for *refusal*. Sends each of *arguments* alone, to find the one that cannot be read."""
        if refusal.what == "function":
            return refused_function(task, refusal.reason)
        for name, value in arguments:
            alone = dumps(((value,), {}), shares_main=self._shares_main)
            kind, data = await _ask(worker, caller, (_NOTHING, None), alone)
            if kind is Kind.REFUSAL:
                return unreadable_argument(task, name, pickle.loads(data).reason)
        return unreadable_argument(task, None, refusal.reason)


@asynccontextmanager
async def _held(limiter: CapacityLimiter) -> AsyncIterator[None]:
    """Hold a token of *limiter*. No checkpoint unless it has to wait, as that costs a turn of the event loop."""
    await checkpoint_if_cancelled()
    try:
        limiter.acquire_nowait()
    except WouldBlock:
        await limiter.acquire()
    try:
        yield
    finally:
        limiter.release()


def _are_same(one: Context, other: Context) -> bool:
    """Whether both have the same variables with identical values. No ``==``: values may be anything."""
    return len(one) == len(other) and all(
        variable in other and other[variable] is value for variable, value in one.items()
    )


def _started(task: Task[..., Any]) -> Worker:
    try:
        return Worker.start()
    except OSError as error:
        raise BrokenWorkerProcess(
            f"no worker process for {task.name!r} can be started: {shortened(error)}; let fewer run at a time"
        ) from error


async def _ask(worker: Worker, caller: Caller, call: Call, arguments: bytes) -> tuple[Kind, Buffer]:
    frames = [frame(Kind.CALL, pickle.dumps(call)), frame(Kind.ARGUMENTS, arguments)]
    if worker.caller is not caller:
        frames.insert(0, frame(Kind.CALLER, pickle.dumps(caller)))
        worker.caller = caller
    return await worker.ask(*frames)


def _value(task: Task[..., Any], kind: Kind, data: Buffer) -> Any:
    """The result that a worker sent.

    Raises:
        BaseException: What the function raised.
        TypeError: If the result could not be sent, or cannot be read.
    """
    if kind is Kind.UNSENDABLE:
        raise unsendable_result(task, bytes(data).decode())
    try:
        value = pickle.loads(data)
    except Exception as error:  # unpickling runs the code of the result's class, which may raise anything
        raise unreadable_result(task, error) from error
    if kind is Kind.ERROR:
        assert isinstance(value, FarError)
        raise value.near(task.name)
    return value
