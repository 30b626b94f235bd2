"""Executors: objects that call the functions of tasks, in this process or in worker processes."""

from cascade.adapters.executors.processes import ProcessExecutor
from cascade.runtime.execution.attempt.local_executor import LocalExecutor
from cascade.runtime.foundation.executor import Executor

__all__ = ["Executor", "LocalExecutor", "ProcessExecutor"]
