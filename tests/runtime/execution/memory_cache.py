"""A cache of results for single tests."""

from __future__ import annotations

import pytest

from cascade.cache import InputCache, MemoryCacheStore


@pytest.fixture
def memory_cache() -> InputCache:
    """An empty cache in memory. For a module: ``cache = memory_cache``."""
    return InputCache(MemoryCacheStore())
