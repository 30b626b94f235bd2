"""Workflows with structured concurrency: lazy task graphs on AnyIO, for asyncio and Trio.

Functions become tasks (``task``), calls of tasks become a graph (``LazyResult``), and ``run`` executes the graph.
Each name, and each of the modules ``cache``, ``control``, ``events``, ``executors``, ``observers``, ``state`` and
``testing``, is imported when it is first used: ``import cascade`` alone loads nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # at run time they are imported when they are first used; see __getattr__
    from cascade import cache as cache
    from cascade import control as control
    from cascade import events as events
    from cascade import executors as executors
    from cascade import observers as observers
    from cascade import state as state
    from cascade import testing as testing
    from cascade.api import dry_run, override_resource, plan, run, run_sync, serve, start, visualize
    from cascade.graph.canonical import NotDigestibleError
    from cascade.model.calls.decorator import task
    from cascade.model.calls.signals import signal
    from cascade.model.errors import (
        CapacityError,
        CascadeError,
        DeadlockError,
        DependencyMissingError,
        FlowChangedError,
        GraphError,
        InputError,
        LazyUseError,
        MapFailed,
        NodeNotFoundError,
        RaceFailed,
        ResourceNotFoundError,
        RouteNotFoundError,
        RunCancelled,
        RunFailed,
        RunInProgressError,
        RunSuspended,
        StateError,
        TaskCancelledError,
        TaskTimeoutError,
        WorkerLost,
    )
    from cascade.model.events import (
        AttemptStarted,
        ConnectorConnected,
        ConnectorDisconnected,
        ControlChanged,
        EngineWarning,
        Event,
        EventsDropped,
        LoopProgress,
        NodeEvent,
        ResourceAcquired,
        ResourceReleased,
        RunFinished,
        RunResumed,
        RunStarted,
        SignalAwaited,
        SignalReceived,
        StageFinished,
        StageStarted,
        StateRecorded,
        StaticAnalysisWarning,
        TaskBlocked,
        TaskExecutionFinished,
        TaskExecutionStarted,
        TaskRetrying,
        TaskSkipped,
        UndoFinished,
        UndoStarted,
    )
    from cascade.model.fallbacks import OrElse, OutcomeOf, Race, race, settled
    from cascade.model.flow import Router, gather, pipeline, sequence
    from cascade.model.inputs import Env, Param, Resource, inject, resource
    from cascade.model.lazies import LazyResult, MappedLazyResult
    from cascade.model.outcomes import Done, Failed, Outcome, Skipped
    from cascade.model.pages import Page
    from cascade.model.policies import Retry
    from cascade.model.skip_reasons import SkipReason
    from cascade.model.tasks import Partial, Task
    from cascade.planning.solve import Plan
    from cascade.runtime.engine.engine import Engine
    from cascade.runtime.engine.handle import Run
    from cascade.runtime.engine.sending import send
    from cascade.runtime.foundation.task_context import TaskContext, checkpoint, current
    from cascade.runtime.observation.bus import EventBus

__all__ = [
    "AttemptStarted",
    "CapacityError",
    "CascadeError",
    "ConnectorConnected",
    "ConnectorDisconnected",
    "ControlChanged",
    "DeadlockError",
    "DependencyMissingError",
    "Done",
    "Engine",
    "EngineWarning",
    "Env",
    "Event",
    "EventBus",
    "EventsDropped",
    "Failed",
    "FlowChangedError",
    "GraphError",
    "InputError",
    "LazyResult",
    "LazyUseError",
    "LoopProgress",
    "MapFailed",
    "MappedLazyResult",
    "NodeEvent",
    "NodeNotFoundError",
    "NotDigestibleError",
    "OrElse",
    "Outcome",
    "OutcomeOf",
    "Page",
    "Param",
    "Partial",
    "Plan",
    "Race",
    "RaceFailed",
    "Resource",
    "ResourceAcquired",
    "ResourceNotFoundError",
    "ResourceReleased",
    "Retry",
    "RouteNotFoundError",
    "Router",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunFinished",
    "RunInProgressError",
    "RunResumed",
    "RunStarted",
    "RunSuspended",
    "SignalAwaited",
    "SignalReceived",
    "SkipReason",
    "Skipped",
    "StageFinished",
    "StageStarted",
    "StateError",
    "StateRecorded",
    "StaticAnalysisWarning",
    "Task",
    "TaskBlocked",
    "TaskCancelledError",
    "TaskContext",
    "TaskExecutionFinished",
    "TaskExecutionStarted",
    "TaskRetrying",
    "TaskSkipped",
    "TaskTimeoutError",
    "UndoFinished",
    "UndoStarted",
    "WorkerLost",
    "checkpoint",
    "current",
    "dry_run",
    "gather",
    "inject",
    "override_resource",
    "pipeline",
    "plan",
    "race",
    "resource",
    "run",
    "run_sync",
    "send",
    "sequence",
    "serve",
    "settled",
    "signal",
    "start",
    "task",
    "visualize",
]

_MODULES: Final = ("cache", "control", "events", "executors", "observers", "state", "testing")

# The module that each public name comes from.
_HOMES: Final = {
    name: home
    for home, names in {
        "cascade.api": ("dry_run", "override_resource", "plan", "run", "run_sync", "serve", "start", "visualize"),
        "cascade.graph.canonical": ("NotDigestibleError",),
        "cascade.model.errors": (
            "CapacityError",
            "CascadeError",
            "DeadlockError",
            "DependencyMissingError",
            "FlowChangedError",
            "GraphError",
            "InputError",
            "LazyUseError",
            "NodeNotFoundError",
            "RaceFailed",
            "MapFailed",
            "ResourceNotFoundError",
            "RouteNotFoundError",
            "RunCancelled",
            "RunFailed",
            "RunInProgressError",
            "RunSuspended",
            "StateError",
            "TaskCancelledError",
            "TaskTimeoutError",
            "WorkerLost",
        ),
        "cascade.model.events": (
            "AttemptStarted",
            "ConnectorConnected",
            "ConnectorDisconnected",
            "ControlChanged",
            "EngineWarning",
            "Event",
            "EventsDropped",
            "LoopProgress",
            "NodeEvent",
            "ResourceAcquired",
            "ResourceReleased",
            "RunFinished",
            "RunResumed",
            "RunStarted",
            "SignalAwaited",
            "SignalReceived",
            "StageFinished",
            "StageStarted",
            "StateRecorded",
            "StaticAnalysisWarning",
            "TaskBlocked",
            "TaskExecutionFinished",
            "TaskExecutionStarted",
            "TaskRetrying",
            "TaskSkipped",
            "UndoFinished",
            "UndoStarted",
        ),
        "cascade.model.fallbacks": ("OrElse", "OutcomeOf", "Race", "race", "settled"),
        "cascade.model.flow": ("Router", "gather", "pipeline", "sequence"),
        "cascade.model.inputs": ("Env", "Param", "Resource", "inject", "resource"),
        "cascade.model.lazies": ("LazyResult", "MappedLazyResult"),
        "cascade.model.outcomes": ("Done", "Failed", "Outcome", "Skipped"),
        "cascade.model.skip_reasons": ("SkipReason",),
        "cascade.model.pages": ("Page",),
        "cascade.model.policies": ("Retry",),
        "cascade.model.calls.decorator": ("task",),
        "cascade.model.calls.signals": ("signal",),
        "cascade.model.tasks": ("Partial", "Task"),
        "cascade.planning.solve": ("Plan",),
        "cascade.runtime.engine.engine": ("Engine",),
        "cascade.runtime.engine.handle": ("Run",),
        "cascade.runtime.engine.sending": ("send",),
        "cascade.runtime.foundation.task_context": ("TaskContext", "checkpoint", "current"),
        "cascade.runtime.observation.bus": ("EventBus",),
    }.items()
    for name in names
}

if not TYPE_CHECKING:
    # Hidden from type checkers, which would take it for leave to use any name.
    def __getattr__(name: str) -> Any:
        # Imported when they are asked for: programs that use none of them start sooner.
        if name in _MODULES:
            return importlib.import_module(f"cascade.{name}")
        if name in _HOMES:
            thing = getattr(importlib.import_module(_HOMES[name]), name)
            globals()[name] = thing  # so that the next look-up does not come here
            return thing
        raise AttributeError(f"module 'cascade' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
