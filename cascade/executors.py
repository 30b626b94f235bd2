"""Executors: where the functions of tasks run."""

from cascade.adapters.executors.processes import ProcessExecutor
from cascade.runtime.execution.executor import LocalExecutor
from cascade.runtime.foundation.executor import Executor

__all__ = ["Executor", "LocalExecutor", "ProcessExecutor"]
