"""Executors: where the functions of tasks run."""

from cascade.adapters.executors.processes import ProcessExecutor
from cascade.runtime.execution.attempt import Executor
from cascade.runtime.execution.executor import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "ProcessExecutor"]
