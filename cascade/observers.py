"""Ready-made observers: async functions that read the events of a run and show or write them."""

from cascade.adapters.observers.lines import human_log, json_lines
from cascade.adapters.observers.progress import progress
from cascade.adapters.observers.report import report

__all__ = ["human_log", "json_lines", "progress", "report"]
