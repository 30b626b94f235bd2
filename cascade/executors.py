"""Executors: objects that call the functions of tasks, in this process or in worker processes."""

from cascade.adapters.executors.processes import ProcessExecutor
from cascade.runtime.attempt import Executor
from cascade.runtime.executor import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "ProcessExecutor"]
