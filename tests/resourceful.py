"""Tasks that need a resource, and what tests of resources are asked for in turn."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from strategies_runtime import Log

import cascade

DB = cascade.inject("db")


@cascade.task
async def use(value: Any = None, db: Any = DB) -> Any:
    """Gives the resource ``db``."""
    return db


@cascade.task
async def use_forever(db: Any = DB) -> None:
    """Holds the resource ``db`` until it is cancelled."""
    await anyio.sleep_forever()


@pytest.fixture
def log_of_providers() -> Log:
    """For a module: ``log = log_of_providers``."""
    return Log()


@pytest.fixture(params=["run", "task"])
def each_scope(request: pytest.FixtureRequest) -> Any:
    """For a module: ``scope = each_scope``."""
    return request.param


@pytest.fixture(params=["async", "sync"])
def async_or_sync(request: pytest.FixtureRequest) -> bool:
    """For a module: ``is_async = async_or_sync``."""
    return bool(request.param == "async")
