"""The functions that run flows and look at them. Each makes an engine from keyword settings."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar, Unpack, overload

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from cascade.model.inputs import Provider, Resource
from cascade.model.lazies import LazyResult
from cascade.model.shown.tracebacks import trimmed
from cascade.planning.preview import dry_run, plan, visualize
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.context.settings import AsRun, shows_settings
from cascade.runtime.durability.history import NodeRecord, RunRecord, UndoRecord
from cascade.runtime.engine.engine import Engine
from cascade.runtime.engine.handle import Run
from cascade.runtime.engine.history import recorded_run, recorded_runs
from cascade.runtime.foundation.async_context import async_context
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.foundation.task_context import ambient

__all__ = [
    "NodeRecord",
    "RunRecord",
    "UndoRecord",
    "dry_run",
    "override_resource",
    "plan",
    "recorded_run",
    "recorded_runs",
    "run",
    "run_sync",
    "serve",
    "start",
    "visualize",
]

K = TypeVar("K")
T = TypeVar("T")
T2 = TypeVar("T2")
T3 = TypeVar("T3")


def _engine(settings: AsRun) -> Engine:
    """An engine of these settings; without any, that of the task which asks, if it is one."""
    attempt = ambient()
    if attempt is not None and not settings and isinstance(attempt.surroundings, RunContext):
        engine = attempt.surroundings.shared.engine
        assert isinstance(engine, Engine)
        return engine
    return Engine(**settings)


@overload
async def run(
    flow: LazyResult[T],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> T: ...
@overload
async def run(
    flow: dict[K, LazyResult[T]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> dict[K, T]: ...
@overload
async def run(
    flow: list[LazyResult[T]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> list[T]: ...
@overload
async def run(
    flow: tuple[LazyResult[T], LazyResult[T2]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> tuple[T, T2]: ...
@overload
async def run(
    flow: tuple[LazyResult[T], LazyResult[T2], LazyResult[T3]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> tuple[T, T2, T3]: ...
@overload
async def run(
    flow: tuple[LazyResult[T], ...],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> tuple[T, ...]: ...
@overload
async def run(
    flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None, **settings: Unpack[AsRun]
) -> Any: ...
@shows_settings
async def run(
    flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None, **settings: Unpack[AsRun]
) -> Any:
    """Run a flow and return its value.

    A container of lazies gives the same container of values. A plain value is returned as it is. Inside an async
    task, and without settings, the run uses the engine of the run around it: its capacity, threads and control
    rules.

    If cancelled, the run ends in order: its tasks are cancelled, their threads are waited for, resources are
    closed, what was accepted for the store is written, and the last event is delivered. Then the cancellation goes
    on; a failure that was recorded before is raised instead. When this returns or raises, no task, thread or
    resource of the run is left, except threads of tasks with ``abandon_on_cancel``.

    Args:
        flow: A lazy result, a container of lazy results, or a plain value.
        params: Values of the flow's Params, by name. ``None`` (default): none.
        run_id: Id of the run, 1 to 200 printable characters. With a state, the same id resumes the run. ``None``
            (default): a new id.
        settings: The fields of :class:`~cascade.runtime.context.settings.Settings`, as keywords.

    Raises:
        GraphError: If the flow makes no sense.
        InputError: If parameters, environment variables or URLs are missing, malformed or unknown.
        CapacityError: If a claim exceeds the total of its resource.
        ResourceNotFoundError: If an injected resource has no provider.
        DependencyMissingError: If a target was skipped.
        FlowChangedError: If the run was recorded with another flow.
        RunInProgressError: If another process executes the run.
        StateError: If the state store fails.
        ConnectionError: If the cluster of the remote executor cannot be reached.
        RunFailed: With ``on_error="group"`` or ``"continue"``, if something failed.
        TypeError: If *flow* is a task that was not called, or a setting is unknown or has a wrong type.
        ValueError: If a setting is out of range.
        RuntimeError: If a worker process that imports the script gets here (start flows under
            ``if __name__ == "__main__":``), or the engine of the run around it serves another event loop.
        BaseException: With ``on_error="first"``, the first failure itself.
    """
    with trimmed:
        return await _engine(settings).run(flow, params, run_id=run_id)


@overload
def run_sync(
    flow: LazyResult[T],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> T: ...
@overload
def run_sync(
    flow: dict[K, LazyResult[T]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> dict[K, T]: ...
@overload
def run_sync(
    flow: list[LazyResult[T]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> list[T]: ...
@overload
def run_sync(
    flow: tuple[LazyResult[T], LazyResult[T2]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> tuple[T, T2]: ...
@overload
def run_sync(
    flow: tuple[LazyResult[T], LazyResult[T2], LazyResult[T3]],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> tuple[T, T2, T3]: ...
@overload
def run_sync(
    flow: tuple[LazyResult[T], ...],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> tuple[T, ...]: ...
@overload
def run_sync(
    flow: Any,
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> Any: ...
@shows_settings
def run_sync(
    flow: Any,
    /,
    params: Mapping[str, Any] | None = None,
    *,
    backend: str = "asyncio",
    backend_options: dict[str, Any] | None = None,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> Any:
    """Run a flow on a new event loop and return its value. For scripts.

    Works in every thread that runs no event loop, such as the worker threads of a web framework. A cancelled scope
    around such a thread does not cancel the run: the thread is waited for. Control-C cancels the run and, after
    the clean-up, raises ``KeyboardInterrupt``. On asyncio, a second Control-C cuts the clean-up short, shielded or
    not, and a third stops at once; Trio finishes what is shielded.

    Args:
        flow: As in :func:`run`.
        params: As in :func:`run`. ``None`` (default): none.
        backend: ``"asyncio"`` (default) or ``"trio"``.
        backend_options: AnyIO's options for that backend. ``None`` (default): none.
        run_id: As in :func:`run`. ``None`` (default): a new id.
        settings: As in :func:`run`.

    Raises:
        ImportError: If *backend* is ``"trio"``, and Trio is not installed.
        RuntimeError: If it is called inside an event loop, which it would block, or inside a task of a flow.
        BaseException: What :func:`run` raises.
    """
    _refuse_loop()
    run_on = adapter("event_loops:run_on")
    call = partial(run, flow, params, run_id=run_id, **settings)
    context = copy_context()
    context.run(_forget_loop)
    with trimmed:
        return context.run(run_on, backend, call, backend_options or {})


def _refuse_loop() -> None:
    """See that no event loop runs in this thread, and that no task of a flow waits for it."""
    try:
        anyio.get_current_task()
    except RuntimeError:  # anyio.NoEventLoopError is one
        pass
    else:
        raise RuntimeError(
            "run_sync cannot be used inside an event loop; use `await cascade.run(flow)` there, or in a worker "
            "thread `await anyio.to_thread.run_sync(cascade.run_sync, flow)`"
        )
    attempt = ambient()
    if attempt is not None and attempt.surroundings is not None:  # in a worker process, the run is far away
        raise RuntimeError(
            "run_sync cannot be used inside a task of a flow; return the lazy from the task, or use "
            "`anyio.from_thread.run(cascade.run, flow)`"
        )


def _forget_loop() -> None:
    """Have AnyIO see no event loop, in a context copied from code that runs in one to a thread that runs none."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        sniffio.current_async_library_cvar.set(None)


@overload
def start(
    flow: LazyResult[T],
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    **settings: Unpack[AsRun],
) -> AbstractAsyncContextManager[Run[T]]: ...
@overload
def start(
    flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None, **settings: Unpack[AsRun]
) -> AbstractAsyncContextManager[Run[Any]]: ...
@shows_settings
@async_context
async def start(
    flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None, **settings: Unpack[AsRun]
) -> AsyncGenerator[Run, None]:
    """Start a flow beside a block of code. The block gets a :class:`Run`, to follow the flow and to steer it.

    Leaving the block waits for the end of the run. Subscriptions made before the first ``await`` in the block get
    all events. An exception in the block cancels the run.

    If the scope around the block is cancelled, so is the run, which then ends in order as in :func:`run`.
    ``Run.cancel()`` cancels the run only: the block goes on, and leaving it raises nothing on that account. A
    failure of the run does not interrupt the block.

    Args:
        flow: As in :func:`run`.
        params: As in :func:`run`. ``None`` (default): none.
        run_id: As in :func:`run`. ``None`` (default): a new id.
        settings: As in :func:`run`.

    Raises:
        GraphError: On entry, if the flow makes no sense. So are all errors that :func:`run` raises before anything
            runs.
        InputError: On entry, if parameters, environment variables or URLs are wrong.
        StateError: On entry, if the store cannot be used; on exit, if it fails later.
        ConnectionError: On entry, if the cluster of the remote executor cannot be reached.
        TypeError: On entry, if *flow* is a task that was not called, or a setting is unknown or has a wrong type.
        ValueError: On entry, if a setting is out of range.
        BaseExceptionGroup: On exit, if the block and the run failed with different errors.
        BaseException: On exit, the error of the block or of the run, as it is. An error that ``Run.result()`` has
            raised already is not raised again.
    """
    with trimmed:
        async with _engine(settings).start(flow, params, run_id=run_id) as handle:
            yield handle


@shows_settings
async def serve(
    flow: Any,
    /,
    params: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    task_status: TaskStatus[Run] = TASK_STATUS_IGNORED,
    **settings: Unpack[AsRun],
) -> None:
    """Run a flow as a task of a nursery: ``run = await nursery.start(cascade.serve, flow)``.

    ``nursery.start`` returns the :class:`Run` once it has started. If the nursery is cancelled, the run is
    cancelled and ends in order, as in :func:`run`. After ``Run.cancel()`` the task just ends.

    Args:
        flow: As in :func:`run`.
        params: As in :func:`run`. ``None`` (default): none.
        run_id: As in :func:`run`. ``None`` (default): a new id.
        task_status: Given by ``nursery.start``. By default the Run is reported to nobody.
        settings: As in :func:`run`.

    Raises:
        BaseException: What :func:`run` raises. Errors before anything runs are raised by ``nursery.start``, later
            ones by the nursery, unless ``Run.result()`` has raised them already.
    """
    with trimmed:
        async with start(flow, params, run_id=run_id, **settings) as handle:
            task_status.started(handle)


def override_resource(engine: Engine, name: str, provider: Resource | Provider) -> AbstractContextManager[None]:
    """Replace a resource for the runs of an engine that start inside the block: ``with override_resource(...)``.

    Args:
        engine: The engine.
        name: The name of the resource.
        provider: A resource, or a bare generator function. The latter gets the scope of what it replaces.

    Raises:
        TypeError: When the block is entered, if *provider* is neither.
    """
    return engine.overriding(name, provider)
