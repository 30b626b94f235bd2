"""Observers: async functions over the events of a run, ready-made."""

from cascade.adapters.observers.lines import human_log, json_lines
from cascade.adapters.observers.progress import progress

__all__ = ["human_log", "json_lines", "progress"]
