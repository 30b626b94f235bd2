"""The public functions: keyword settings in, an engine behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar, Unpack, overload

import anyio
from anyio import TASK_STATUS_IGNORED, from_thread
from anyio.abc import TaskStatus

from cascade.graph.build import build
from cascade.graph.render import Format, render
from cascade.model.inputs import Provider, Resource
from cascade.model.lazies import LazyResult
from cascade.model.tasks import refuse_uncalled
from cascade.planning.solve import Plan, solve
from cascade.runtime.current import ambient
from cascade.runtime.engine import Engine
from cascade.runtime.execution import Execution
from cascade.runtime.ledger import NodeRecord, RunRecord, recorded_run, recorded_runs
from cascade.runtime.run import Run
from cascade.runtime.settings import AsRun, shows_settings

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
        settings: See :class:`~cascade.runtime.settings.Settings`.

    Raises:
        GraphError: If the flow contradicts itself.
        InputError: If inputs are missing, malformed or unknown.
        CapacityError: If a claim exceeds what there is.
        ResourceNotFoundError: If an injected resource has no provider.
        DependencyMissingError: If the target was skipped.
        BaseException: The first failure itself; with other settings of ``on_error``, ``RunFailed``.
    """
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

    Args:
        flow: As of :func:`run`.
        params: As of :func:`run`.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: Options of AnyIO for that backend.
        run_id: As of :func:`run`.
        settings: As of :func:`run`.

    Raises:
        RuntimeError: Inside an event loop or a worker thread, where it would block a loop or hide from it.
    """
    _refuse_loop()
    options = dict(backend_options or {})
    if backend == "trio":
        # An interrupt between two of our steps could leave half of one behind; at a checkpoint it cannot.
        options.setdefault("restrict_keyboard_interrupt_to_checkpoints", True)
    call = partial(run, flow, params, run_id=run_id, **settings)
    return anyio.run(call, backend=backend, backend_options=options)


def _refuse_loop() -> None:
    remedy = "; use `await cascade.run(flow)` there"
    try:
        anyio.get_current_task()
    except RuntimeError:  # anyio.NoEventLoopError is one
        pass
    else:
        raise RuntimeError(f"run_sync cannot be used inside an event loop{remedy}")
    try:
        from_thread.check_cancelled()
    except RuntimeError:
        attempt = ambient()
        if attempt is None or attempt.surroundings is None:  # in a worker process, the run is far away
            return
    raise RuntimeError(
        "run_sync cannot be used inside a worker thread of an event loop; use "
        "`anyio.from_thread.run(cascade.run, flow)`, or return the lazy from the task"
    )


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
    async with start(flow, params, run_id=run_id, **settings) as handle:
        task_status.started(handle)


def plan(flow: Any) -> Plan:
    """The stages in which *flow* would run.

    Raises:
        GraphError: If the flow contradicts itself.
        TypeError: If it is a task that has not been called.
    """
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
