"""Caches across runs and processes: what every store does, and one computation at a time."""

from __future__ import annotations

import functools
import pickle
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import cascade
from cascade.cache import MISS, Hit, InputCache, MemoryCacheStore, RedisCacheStore, SQLiteCacheStore
from cascade.testing import record_events
from state.cleared import cleared
from state.stores import empty_redis

RAN: Counter[Any] = Counter()
GATES: dict[str, anyio.Event] = {}
nothing_has_run = cleared(RAN, GATES)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def cache_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Every cache store, real and empty."""
    if request.param == "memory":
        yield MemoryCacheStore()
    elif request.param == "sqlite":
        yield SQLiteCacheStore(tmp_path / "cache.db")
    else:
        import redis

        url = request.getfixturevalue("redis_url")
        empty_redis(url)
        with redis.Redis.from_url(url) as client:
            yield RedisCacheStore(client)


@cascade.task
async def work(value: Any) -> Any:
    RAN[value] += 1
    if gate := GATES.get("gate"):
        await gate.wait()
    if GATES.get("fail"):
        raise ValueError("no luck")
    return value


# -- stores ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 0, "", {"a": (1, {2})}, b"\x00" * 1_000_000])
async def test_a_store_gives_back_what_was_set(cache_store: Any, value: Any) -> None:
    assert await cache_store.get("key") is MISS
    await cache_store.set("key", value, None)
    await cache_store.set("other", 1, 100.0)
    assert await cache_store.get("key") == Hit(value)
    await cache_store.set("key", 2, None)
    assert await cache_store.get("key") == Hit(2)


async def test_sqlite_values_expire_and_are_deleted(tmp_path: Path) -> None:
    now = 1000.0
    store = SQLiteCacheStore(tmp_path / "cache.db", clock=lambda: now)
    await store.set("key", 1, 10)
    now = 1009.9
    assert await store.get("key") == Hit(1)
    now = 1010.0
    assert await store.get("key") is MISS
    await store.set("other", 2, None)
    assert store._file.connection().execute("SELECT key FROM cache").fetchall() == [("other",)]
    await store.close()
    assert await store.get("other") == Hit(2)
    await store.close()


@pytest.mark.parametrize("ttl", [10, None])
async def test_a_value_that_expires_does_not_live_on_because_the_clock_was_set_back(
    tmp_path: Path, ttl: float | None
) -> None:
    now = 100_000.0
    store = SQLiteCacheStore(tmp_path / "cache.db", clock=lambda: now)
    await store.set("key", 1, ttl)
    now -= 86_400
    assert await store.get("key") == (MISS if ttl else Hit(1))
    await store.set("key", 2, ttl)
    assert await store.get("key") == Hit(2)
    now += 11
    assert await store.get("key") == (MISS if ttl else Hit(2))
    await store.close()


async def test_a_file_of_an_earlier_version_is_used_on(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "cache.db") as file:
        file.execute("CREATE TABLE cache (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires REAL) WITHOUT ROWID")
        rows = [("old", pickle.dumps(1), 2000.0), ("gone", pickle.dumps(1), 1.0), ("ever", pickle.dumps(2), None)]
        file.executemany("INSERT INTO cache VALUES (?, ?, ?)", rows)
    file.close()
    stores = [SQLiteCacheStore(tmp_path / "cache.db", clock=lambda: 1000.0) for _ in range(5)]
    async with anyio.create_task_group() as group:
        for store in stores:
            group.start_soon(store.get, "old")
    assert [await stores[0].get(key) for key in ("old", "gone", "ever")] == [Hit(1), MISS, Hit(2)]
    await stores[1].set("new", 3, 5)
    assert await stores[2].get("new") == Hit(3)
    for store in stores:
        await store.close()


async def test_redis_values_expire(redis_url: str) -> None:
    import redis

    empty_redis(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        store = RedisCacheStore(client)
        await store.set("key", 1, 10)
        await store.set("soon", 1, 0.0001)
        await store.set("ever", 1, None)
        lives: Any = client.pttl("cascade:cache:key")
        assert 9000 < lives <= 10000
        assert client.pttl("cascade:cache:ever") == -1


# -- runs ------------------------------------------------------------------------------------------------------


async def test_a_second_run_finds_what_the_first_has_cached(cache_store: Any) -> None:
    flow = [work(value).with_cache(InputCache(cache_store)) for value in (None, 1, (1, 2))]
    assert await cascade.run(flow) == await cascade.run(flow) == [None, 1, (1, 2)]
    assert set(RAN.values()) == {1}


WORKER = """
import cascade
from cascade.cache import InputCache, SQLiteCacheStore

@cascade.task
def work(n, names):
    print("computed")
    return n + len(names)

cache = InputCache(SQLiteCacheStore({path!r}))
print(cascade.run_sync(work(1, {{"a", "b", "c"}}).with_cache(cache)))
"""


def test_another_process_finds_it_too(tmp_path: Path) -> None:
    script = tmp_path / "flow.py"
    script.write_text(WORKER.format(path=str(tmp_path / "cache.db")))
    run = functools.partial(
        subprocess.run, [sys.executable, str(script)], capture_output=True, text=True, check=True
    )
    assert run().stdout == "computed\n4\n"
    assert run().stdout == "4\n"


async def test_equal_calls_at_the_same_time_are_computed_once(cache_store: Any) -> None:
    cache = InputCache(cache_store)
    flow = [work(7).with_cache(cache) for _ in range(20)]
    with record_events(engine := cascade.Engine()) as recorded:
        assert await engine.run(flow) == [7] * 20
    assert RAN == {7: 1}
    assert len(recorded.of(cascade.TaskSkipped)) == 19


async def test_when_the_one_that_computes_fails_another_takes_its_place() -> None:
    cache = InputCache(MemoryCacheStore())
    GATES["fail"] = anyio.Event()
    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run([work(7).with_cache(cache) for _ in range(3)], on_error="continue")
    assert len(caught.value.exceptions) == 3
    assert RAN == {7: 3}


async def test_a_cancelled_computation_is_waited_for_no_longer() -> None:
    cache = InputCache(MemoryCacheStore())
    GATES["gate"] = anyio.Event()
    values: list[Any] = []

    async def run() -> None:
        values.append(await cascade.run(work(7).with_cache(cache)))

    async with anyio.create_task_group() as group:
        first = anyio.CancelScope()

        async def run_and_be_cancelled() -> None:
            with first:
                await run()

        group.start_soon(run_and_be_cancelled)
        while not RAN:
            await anyio.lowlevel.checkpoint()
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        GATES["gate"].set()
    assert values == [7]
    assert RAN == {7: 2}


async def test_a_store_that_fails_makes_nobody_wait_in_vain() -> None:
    class Broken:
        async def get(self, key: str) -> Any:
            raise OSError("no store")

        async def set(self, key: str, value: Any, ttl: float | None) -> None:
            raise OSError("no store")

    cache = InputCache(Broken())
    with record_events(engine := cascade.Engine()) as recorded:
        assert await engine.run([work(7).with_cache(cache) for _ in range(3)]) == [7, 7, 7]
    assert {event.code for event in recorded.of(cascade.EngineWarning)} == {"cache-failed"}


@cascade.task
async def deeper(n: int) -> Any:
    return n if n == 0 else deeper(n - 1).with_cache(ONE_KEY)


ONE_KEY = InputCache(MemoryCacheStore(), key=lambda _: "the same for all")


async def test_a_part_of_a_computation_does_not_wait_for_the_whole() -> None:
    with anyio.fail_after(60):
        assert await cascade.run([deeper(3).with_cache(ONE_KEY)]) == [0]


@cascade.task(constraints={"gpu": 1})
async def outer(cache: Any) -> Any:
    return await cascade.run(held(1).with_cache(cache))


@cascade.task(constraints={"gpu": 1})
async def held(n: int) -> int:
    return n


async def test_a_run_inside_a_task_does_not_wait_for_one_outside() -> None:
    cache = InputCache(MemoryCacheStore())
    flow = [outer(cache), held(1).with_cache(cache)]
    with anyio.fail_after(60), pytest.raises(cascade.DeadlockError):
        await cascade.run(flow, system_resources={"gpu": 1})


async def test_an_argument_of_unknown_type_is_refused_with_its_path(cache_store: Any) -> None:
    class Opaque:
        pass

    with pytest.raises(TypeError, match=r"value\['a'\]\[1\]"):
        await cascade.run(work({"a": [1, Opaque()]}).with_cache(InputCache(cache_store)))
