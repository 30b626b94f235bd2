"""What a run tells first: what it is about to do, and what was recorded of it earlier."""

from __future__ import annotations

from typing import Any

from cascade.graph.code import TaskNotDigestibleError
from cascade.graph.identity import Contents
from cascade.model.events import EngineWarning, RunResumed, RunStarted
from cascade.model.shown.text import without_secrets
from cascade.planning.sizes import Sizes, by_task, sizes_of
from cascade.runtime.context.run_context import RunContext
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.execution.restore import tell_recalled
from cascade.runtime.foundation.fairness import paced
from cascade.runtime.observation.details import FlowKnown, NodesRecalled
from cascade.runtime.run.preparation import Prepared


def tell_of_start(run_context: RunContext, prepared: Prepared) -> None:
    """Tell what is going to be run, and what is to be known of where it runs."""
    if run_context.events.wants(FlowKnown):
        run_context.events.emit(FlowKnown, graph=prepared.graph)
    if run_context.events.wants(RunStarted):
        _tell_what(run_context, prepared)
    executor = run_context.shared.executor
    if isinstance(executor, LocalExecutor) and executor.remote is not None:
        for code, message in executor.remote.executor.notices:
            run_context.events.emit(EngineWarning, code=code, message=message)


def _tell_what(run_context: RunContext, prepared: Prepared) -> None:
    graph, sizes, recovery = prepared.graph, _sizes(prepared), run_context.store.recovery
    run_context.events.emit(
        RunStarted,
        target_tasks=tuple(graph.name(member) for member in graph.members),
        params=_shown_params(run_context, prepared),
        calls=sizes.calls,
        maps=sizes.maps,
        is_resumed=recovery is not None and recovery.past.is_known,
    )


def _sizes(prepared: Prepared) -> Sizes:
    return sizes_of(prepared.graph, prepared.layout, prepared.inputs)


def _shown_params(run_context: RunContext, prepared: Prepared) -> dict[str, Any]:
    """The parameters as they may be shown.

    Those that only a later flow may know are left out: whether one of them is secret is not known yet.
    """
    params, secrets = prepared.params(), run_context.events.secrets
    return {name: without_secrets(value, secrets) for name, value in params.items()} if secrets else params


async def tell_of_the_past(run_context: RunContext, prepared: Prepared, *, is_finished: bool) -> None:
    """Tell what was recorded, and what could not be compared with it."""
    recovery = run_context.store.recovery
    if recovery is None:
        return
    past = recovery.past
    if past.is_known and run_context.events.wants(RunResumed):
        run_context.events.emit(
            RunResumed,
            recorded=len(past.nodes or ()),
            epoch=past.epoch,
            by_task=await paced(by_task(past.nodes or (), await recovery.recorded_items())),
            finished=past.finished if is_finished else None,
            is_finished=is_finished,
        )
    if recovery.ended and run_context.events.wants(NodesRecalled):
        await tell_recalled(run_context, recovery.ended, past.handled())
    _warn_of_strangers(run_context, recovery.contents)


def _warn_of_strangers(run_context: RunContext, contents: Contents) -> None:
    """Tell of tasks and values that have no digest, so that nobody knows whether they are as they were."""
    of_tasks: list[str] = []
    of_values: list[str] = []
    for name, error in contents.strangers.items():
        (of_tasks if isinstance(error, TaskNotDigestibleError) else of_values).append(f"{name!r} ({error})")
    for what, named in (
        ("run again whenever the run is resumed, as it is not known what their tasks do", of_tasks),
        ("compared with records by all but this, which has no digest", of_values),
    ):
        if named:
            message = f"{what}: {', '.join(named[:5])}"
            run_context.events.emit(EngineWarning, code="not-digestible", message=message)
