"""What a run tells of itself: ``kinds`` has the classes of events, ``records`` their form as plain data."""

from cascade.model.events.kinds import (
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
    StageFinished,
    StageStarted,
    StateRecorded,
    StaticAnalysisWarning,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.model.events.kinds import BlockReason as BlockReason
from cascade.model.events.kinds import RunStatus as RunStatus
from cascade.model.events.kinds import TaskStatus as TaskStatus
from cascade.model.events.records import SCHEMA_VERSION, as_record

__all__ = [
    "SCHEMA_VERSION",
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
    "StageFinished",
    "StageStarted",
    "StateRecorded",
    "StaticAnalysisWarning",
    "TaskBlocked",
    "TaskExecutionFinished",
    "TaskExecutionStarted",
    "TaskRetrying",
    "TaskSkipped",
    "as_record",
]
