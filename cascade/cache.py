"""Cache policies, which decide whether a call has to run, and the stores in which they keep results."""

from cascade.adapters.cache.files import FileExistenceCache
from cascade.adapters.cache.inputs import CacheStore, InputCache, MemoryCacheStore
from cascade.adapters.cache.redis import RedisCacheStore
from cascade.adapters.cache.sqlite import SQLiteCacheStore
from cascade.graph.canonical import register_digest
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
    "RedisCacheStore",
    "SQLiteCacheStore",
    "register_digest",
]
