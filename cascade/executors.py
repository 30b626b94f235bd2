"""Executors: where the functions of tasks run."""

from cascade.adapters.executors.processes import ProcessExecutor
from cascade.runtime.attempt import Executor
from cascade.runtime.executor import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "ProcessExecutor"]
