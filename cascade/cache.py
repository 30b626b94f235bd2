"""Cache policies and stores."""

from cascade.adapters.cache.files import FileExistenceCache
from cascade.adapters.cache.inputs import CacheStore, InputCache, MemoryCacheStore
from cascade.model.policies import MISS, CachePolicy, Hit, Miss

__all__ = [
    "MISS",
    "CachePolicy",
    "CacheStore",
    "FileExistenceCache",
    "Hit",
    "InputCache",
    "MemoryCacheStore",
    "Miss",
]
