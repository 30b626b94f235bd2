"""Stores as fixtures."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from state.stores import (
    RedisServer,
    StoreUnderTest,
    empty_redis,
    faulty_store,
    memory_store,
    minimal_store,
    redis_program,
    redis_server,
    store_at,
)

DURABLE = ["sqlite", "redis"]


def _require_redis() -> None:
    """Skip the test if there is no redis-server and that is allowed."""
    if redis_program() is None:
        if os.environ.get("CASCADE_REQUIRE_SERVERS") == "1":
            pytest.fail("redis-server is not installed, and CASCADE_REQUIRE_SERVERS=1")
        pytest.skip("redis-server is not installed")
    if not importlib.util.find_spec("redis"):
        pytest.skip("the redis library is not installed")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis server, for many tests."""
    _require_redis()
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """A client of the real Redis server, past all stores; what earlier tests have left there is gone."""
    import redis

    empty_redis(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis server, which the test may stop and start."""
    _require_redis()
    with redis_server(tmp_path) as server:
        yield server


def _store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> StoreUnderTest:
    match kind:
        case "memory":
            return memory_store()
        case "minimal":
            return minimal_store()
        case "faulty":
            return faulty_store()
        case "redis":
            return empty_redis(request.getfixturevalue("redis_url"))
        case _:
            return store_at("sqlite", f"sqlite:///{tmp_path / 'runs.db'}")


@pytest.fixture(params=["memory", "minimal", "faulty", *DURABLE])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreUnderTest]:
    """Every store, simple ones too."""
    found = _store(request.param, request, tmp_path)
    yield found
    found.close()


@pytest.fixture(params=["memory", *DURABLE])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreUnderTest]:
    """The stores that compare digests and keep loops."""
    found = _store(request.param, request, tmp_path)
    yield found
    found.close()


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreUnderTest]:
    """The stores that outlive the process."""
    found = _store(request.param, request, tmp_path)
    yield found
    found.close()
