"""Executors: objects that call the functions of tasks, in this process, in worker processes, or on a cluster."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cascade.adapters.executors.processes import ProcessExecutor
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.foundation.executor import Executor
from cascade.runtime.foundation.lazy_import import adapters_of
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

if TYPE_CHECKING:  # at run time they are imported when they are first used; see __getattr__
    from cascade.adapters.remote.dask import DaskExecutor
    from cascade.adapters.remote.futures import FuturesExecutor
    from cascade.adapters.remote.ray import RayExecutor

__all__ = [
    "KEEP_ABOVE",
    "AttemptInfo",
    "DaskExecutor",
    "Earlier",
    "Executor",
    "FuturesExecutor",
    "KeptValue",
    "LocalExecutor",
    "NotMade",
    "ProcessExecutor",
    "Raised",
    "RayExecutor",
    "RemoteCall",
    "RemoteExecutor",
    "RemoteOutcome",
    "Returned",
    "Stayed",
    "ValuesLost",
]

# Imported when asked for: most programs use none of them.
__getattr__: Callable[[str], Any] = adapters_of(
    __name__,
    {
        "DaskExecutor": "remote.dask:DaskExecutor",
        "RayExecutor": "remote.ray:RayExecutor",
        "FuturesExecutor": "remote.futures:FuturesExecutor",
    },
)
