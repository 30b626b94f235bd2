"""State backends."""

from cascade.adapters.state.memory import InMemoryStateBackend
from cascade.runtime.state import StateBackend

__all__ = ["InMemoryStateBackend", "StateBackend"]
