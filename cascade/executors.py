"""Executors: objects that call the functions of tasks, in this process, in worker processes, or on a cluster."""

from cascade.adapters.executors.processes import ProcessExecutor
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.foundation.executor import Executor
from cascade.runtime.foundation.remote_executor import (
    KEEP_ABOVE,
    AttemptInfo,
    Earlier,
    KeptValue,
    NotMade,
    Raised,
    RemoteCall,
    RemoteExecutor,
    RemoteOutcome,
    Returned,
    Stayed,
    ValuesLost,
)

__all__ = [
    "KEEP_ABOVE",
    "AttemptInfo",
    "Earlier",
    "Executor",
    "KeptValue",
    "LocalExecutor",
    "NotMade",
    "ProcessExecutor",
    "Raised",
    "RemoteCall",
    "RemoteExecutor",
    "RemoteOutcome",
    "Returned",
    "Stayed",
    "ValuesLost",
]
