"""State backends."""

from cascade.adapters.state.memory import InMemoryStateBackend
from cascade.adapters.state.redis import RedisStateBackend
from cascade.adapters.state.sqlite import SQLiteStateBackend
from cascade.runtime.durability.backend import StateBackend

__all__ = ["InMemoryStateBackend", "RedisStateBackend", "SQLiteStateBackend", "StateBackend"]
