"""State backends: where the outcomes of a run are recorded, so that the run can be resumed."""

from cascade.adapters.state.memory import InMemoryStateBackend
from cascade.adapters.state.redis import RedisStateBackend
from cascade.adapters.state.sqlite import SQLiteStateBackend
from cascade.runtime.durability.backend import StateBackend

__all__ = ["InMemoryStateBackend", "RedisStateBackend", "SQLiteStateBackend", "StateBackend"]
