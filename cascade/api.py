"""The public functions: keyword settings in, an engine behind."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar, Unpack, overload

import anyio
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from cascade.graph.build import build
from cascade.graph.render import Format, render
from cascade.model.inputs import Provider, Resource
from cascade.model.lazies import LazyResult
from cascade.model.tasks import refuse_uncalled
from cascade.model.tracebacks import trimmed
from cascade.planning.solve import Plan, solve
from cascade.runtime.context.run_context import Execution
from cascade.runtime.context.settings import AsRun, shows_settings
from cascade.runtime.durability.history import NodeRecord, RunRecord
from cascade.runtime.engine.engine import Engine
from cascade.runtime.engine.handle import Run
from cascade.runtime.engine.history import recorded_run, recorded_runs
from cascade.runtime.foundation.task_context import ambient

__all__ = [
    "NodeRecord",
    "RunRecord",
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

T = TypeVar("T")


def _engine(settings: AsRun) -> Engine:
    """An engine of these settings; without any, that of the task which asks, if it is one."""
    attempt = ambient()
    if attempt is not None and not settings and isinstance(attempt.surroundings, Execution):
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
    flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None, **settings: Unpack[AsRun]
) -> Any: ...
@shows_settings
async def run(
    flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None, **settings: Unpack[AsRun]
) -> Any:
    """Run *flow* and return its value.

    A container of lazies gives the same container of values; a plain value is returned as it is. Inside an async
    task, and without settings, the run shares the limits, threads and rules of the run around it.

    If cancelled, tasks see cancellation, resources are closed, accepted state is written and the last event is
    delivered before the cancellation goes on. When this returns or raises, nothing of the run is alive.

    Args:
        flow: What to run.
        params: Values of its Params, by name.
        run_id: Id of the run; a new one by default.
        settings: See :class:`~cascade.runtime.context.settings.Settings`.

    Raises:
        GraphError: If the flow contradicts itself.
        InputError: If inputs are missing, malformed or unknown.
        CapacityError: If a claim exceeds what there is.
        ResourceNotFoundError: If an injected resource has no provider.
        DependencyMissingError: If the target was skipped.
        BaseException: The first failure itself; with other settings of ``on_error``, ``RunFailed``.
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
    """Run *flow* on an event loop of its own and return its value: for plain scripts.

    Control-C ends it, after the clean-up, in a plain ``KeyboardInterrupt``.

    Works in any thread that runs no event loop, such as the worker threads of a web framework. If the scope
    around such a thread is cancelled, the run goes on, and the thread is waited for.

    Args:
        flow: As of :func:`run`.
        params: As of :func:`run`.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: Options of AnyIO for that backend.
        run_id: As of :func:`run`.
        settings: As of :func:`run`.

    Raises:
        RuntimeError: Inside an event loop, which it would block, or inside a task of a flow.
    """
    _refuse_loop()
    options = dict(backend_options or {})
    if backend == "trio":
        # An interrupt between two of our steps could leave half of one behind; at a checkpoint it cannot.
        options.setdefault("restrict_keyboard_interrupt_to_checkpoints", True)
    call = partial(run, flow, params, run_id=run_id, **settings)
    context = copy_context()
    context.run(_forget_loop)
    with trimmed:
        return context.run(anyio.run, call, backend=backend, backend_options=options)


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


@shows_settings
@asynccontextmanager
async def start(
    flow: Any, /, params: Mapping[str, Any] | None = None, *, run_id: str | None = None, **settings: Unpack[AsRun]
) -> AsyncIterator[Run]:
    """Start *flow*, and get a :class:`Run` to follow and steer it; leaving the block waits for its end.

    Subscriptions made before the first await of the block see everything. An exception in the block cancels the
    run. One error leaves the block as itself; if block and run fail differently, both leave in a group. What
    ``Run.result()`` has raised is not raised again.
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
    """Run *flow* as a task of a nursery: ``run = await nursery.start(cascade.serve, flow)``."""
    with trimmed:
        async with start(flow, params, run_id=run_id, **settings) as handle:
            task_status.started(handle)


def plan(flow: Any) -> Plan:
    """The stages in which *flow* would run.

    Raises:
        GraphError: If the flow contradicts itself.
        TypeError: If it is a task that has not been called.
    """
    with trimmed:
        refuse_uncalled(flow)
        return solve(build(flow))


def visualize(flow: Any, format: Format = "mermaid") -> str:  # the natural name
    """A picture of *flow* as text: ``"mermaid"``, ``"dot"``, ``"text"`` or ``"json"``.

    Raises:
        GraphError: If the flow contradicts itself.
        ValueError: If there is no such format.
    """
    solved = plan(flow)
    return render(solved.graph, solved.levels, format)


def dry_run(flow: Any) -> str:
    """What running *flow* would do, stage by stage, as text; nothing runs."""
    return visualize(flow, "text")


def override_resource(engine: Engine, name: str, provider: Resource | Provider) -> AbstractContextManager[None]:
    """Provide the resource *name* by *provider* to the runs of *engine* that start inside the block.

    Args:
        engine: The engine.
        name: The resource to replace.
        provider: A resource, or a bare generator function.
    """
    return engine.overriding(name, provider)
