"""What a run tells of itself.

``kinds`` and, for single nodes, ``node_kinds`` have the classes of events, ``records`` their form as plain data.
"""

from cascade.model.events.kinds import (
    ConnectorConnected,
    ConnectorDisconnected,
    ControlChanged,
    EngineWarning,
    Event,
    EventsDropped,
    LoopProgress,
    ResourceAcquired,
    ResourceReleased,
    RunFinished,
    RunResumed,
    RunStarted,
    SignalReceived,
    StageFinished,
    StageStarted,
    StateRecorded,
    StaticAnalysisWarning,
)
from cascade.model.events.kinds import RunStatus as RunStatus
from cascade.model.events.node_kinds import (
    AttemptStarted,
    NodeEvent,
    SignalAwaited,
    TaskBlocked,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
    UndoFinished,
    UndoStarted,
)
from cascade.model.events.node_kinds import BlockReason as BlockReason
from cascade.model.events.node_kinds import TaskStatus as TaskStatus
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
    "as_record",
]
