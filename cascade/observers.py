"""Ready-made observers: async functions that read the events of a run and show or write them."""

from cascade.adapters.observers.hooks import on_failure, on_finish
from cascade.adapters.observers.lines import human_log, json_lines
from cascade.adapters.observers.progress import progress
from cascade.adapters.observers.report import report
from cascade.adapters.telemetry.log_ids import LogIds
from cascade.adapters.telemetry.opening import open_telemetry

__all__ = ["LogIds", "human_log", "json_lines", "on_failure", "on_finish", "open_telemetry", "progress", "report"]
