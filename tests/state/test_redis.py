"""What only Redis has: its keys, their expiry, and the library that is needed."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from plain_tasks import step

import cascade
from cascade.api import recorded_run, recorded_runs
from cascade.cache import Hit, RedisCacheStore
from cascade.runtime.durability.records import Opening
from cascade.state import RedisStateBackend


async def test_results_and_skips_stand_under_the_keys_of_the_contract(client: Any) -> None:
    backend = RedisStateBackend("night", client)
    await backend.put_result("größe", {"a": 1})
    await backend.put_result("none", None)
    await backend.mark_skipped("b", "Pruned, später")
    results = client.hgetall("cascade:run:night:results")
    assert {key.decode(): pickle.loads(value) for key, value in results.items()} == {
        "größe": {"a": 1},
        "none": None,
    }
    assert client.hgetall("cascade:run:night:skipped") == {b"b": "Pruned, später".encode()}
    assert all(key.startswith(b"cascade:run:night:") for key in client.keys("*"))


@pytest.mark.parametrize("ttl", [86_400, 50])
async def test_every_write_renews_the_expiry_of_every_key(client: Any, ttl: int) -> None:
    def make(run_id: str) -> RedisStateBackend:
        return RedisStateBackend(run_id, client) if ttl == 86_400 else RedisStateBackend(run_id, client, ttl)

    await cascade.run(step([step(1), step()]), state=make, run_id="night")
    lives = {key: client.ttl(key) for key in client.keys("*")}
    assert lives
    assert all(ttl - 5 <= left <= ttl for left in lives.values())


async def test_a_backend_that_is_closed_gives_its_lease_back(client: Any) -> None:
    backend = RedisStateBackend("night", client)
    await backend.begin(Opening(False, ["step"], b"flow", {}))
    assert json.loads(client.get("cascade:run:night:lease"))["owner"] is not None
    await backend.aclose()
    assert json.loads(client.get("cascade:run:night:lease"))["owner"] is None


@pytest.mark.parametrize("version", [None, "1", "99"])
async def test_a_run_of_another_format_says_what_to_do(client: Any, version: str | None) -> None:
    def make(run_id: str) -> RedisStateBackend:
        return RedisStateBackend(run_id, client)

    await cascade.run(step(1), state=make, run_id="night")
    before = client.hgetall("cascade:run:night:meta")
    if version is None:
        client.hdel("cascade:run:night:meta", "format")
    else:
        client.hset("cascade:run:night:meta", "format", version)
    message = (
        f"'night' was recorded by another version of cascade: it has format {version or 1}, and this one reads 2"
    )
    with pytest.raises(cascade.StateError, match=message):
        await cascade.run(step(1), state=make, run_id="night", on_change="recompute")
    assert client.hgetall("cascade:run:night:meta")[b"updated"] == before[b"updated"]
    assert await cascade.run(step(2), state=make, run_id="another") == 2


async def test_results_written_by_others_are_found(client: Any) -> None:
    client.hset("cascade:run:night:results", "step", pickle.dumps(41))
    client.hset("cascade:run:night:skipped", "other", "Pruned")
    backend = RedisStateBackend("night", client)
    assert await backend.get_result("step") == 41
    assert set(await backend.recall(["step", "other", "none"])) == {"step", "other"}
    await backend.forget(["other"])
    assert await cascade.run(step(1), state=lambda _: backend, run_id="night") == 41


async def test_the_results_say_what_there_is_if_others_change_them(client: Any) -> None:
    backend = RedisStateBackend("night", client)
    await backend.put_result("a", 1)
    await backend.mark_skipped("b", "Pruned")
    client.hdel("cascade:run:night:results", "a")
    client.hset("cascade:run:night:results", "b", pickle.dumps(5))
    assert [await backend.has_result(name) for name in "ab"] == [False, True]
    assert await backend.get_results(["a", "b"]) == {"b": 5}
    assert [await backend.get_skip_reason(name) for name in "ab"] == [None, "Pruned"]


async def test_clear_leaves_nothing_of_a_run_that_nobody_executes(client: Any) -> None:
    backend = RedisStateBackend("night", client)
    await backend.put_result("a", 1)
    await backend.mark_skipped("b", "Pruned")
    await backend.clear()
    assert client.keys("*") == []


async def test_the_client_that_was_given_stays_open(client: Any) -> None:
    await cascade.run(step(1), state=lambda run_id: RedisStateBackend(run_id, client))
    assert client.ping()


@pytest.fixture
def strangers(client: Any) -> Callable[[], set[str]]:
    """The connections that the server has and did not have when the test began."""

    def ids() -> set[str]:
        client.ping()  # by the next command, the server has seen what was closed before this one
        return {entry["id"] for entry in client.client_list()}

    before = ids()
    return lambda: ids() - before


async def test_no_connection_of_a_run_is_open_when_it_is_over(
    redis_url: str, strangers: Callable[[], set[str]]
) -> None:
    seen: list[set[str]] = []

    @cascade.task
    async def look(after: object) -> None:
        seen.append(strangers())

    await cascade.run(look([step(1)]), state=redis_url, run_id="night")
    assert seen[0], "the run has no connection of its own"
    assert strangers() == set()


async def test_no_connection_is_open_when_records_have_been_read(
    redis_url: str, strangers: Callable[[], set[str]]
) -> None:
    await cascade.run(step(1), state=redis_url, run_id="night")
    assert [record.run_id for record in await recorded_runs(redis_url)] == ["night"]
    assert (await recorded_run(redis_url, "night")).status == "succeeded"
    assert strangers() == set()


async def test_a_cache_that_is_closed_has_no_connection_and_opens_one_again(
    client: Any, strangers: Callable[[], set[str]]
) -> None:
    cache = RedisCacheStore(client)
    await cache.set("key", 1, None)
    assert strangers()
    await cache.close()
    assert strangers() == set()
    assert await cache.get("key") == Hit(1)
    await cache.close()
    assert client.ping()


async def test_a_cache_is_closed_beside_requests_that_are_under_way(client: Any) -> None:
    cache = RedisCacheStore(client)
    await cache.set("key", "x" * 1_000_000, None)
    found: list[Any] = []

    async def read() -> None:
        for _ in range(20):
            found.append(await cache.get("key"))  # noqa: PERF401  # counted meanwhile

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(read)
        while len(found) < 60:
            await cache.close()
            await anyio.lowlevel.checkpoint()  # close() is shielded, and a reader may have failed
    assert found == [Hit("x" * 1_000_000)] * 60
    await cache.close()


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    message = (
        r"The 'redis' library is required for RedisStateBackend; "
        r"install it with: pip install 'cascade-anyio\[redis\]'"
    )
    with pytest.raises(ImportError, match=message):
        RedisStateBackend("night", None)
    with pytest.raises(ImportError, match=message):
        cascade.run_sync(step(1), state="redis://127.0.0.1:1/0")
    with pytest.raises(ImportError, match="The 'redis' library is required for RedisCacheStore"):
        RedisCacheStore(None)


def test_clients_that_cannot_work_are_refused() -> None:
    redis = pytest.importorskip("redis")
    with pytest.raises(TypeError, match="synchronous"):
        RedisStateBackend("night", redis.asyncio.Redis())
    with pytest.raises(TypeError, match="synchronous"):
        RedisStateBackend("night", "redis://127.0.0.1:1/0")
    with pytest.raises(ValueError, match="decode_responses=False"):
        RedisStateBackend("night", redis.Redis(decode_responses=True))
    with pytest.raises(ValueError, match="decode_responses=False"):
        RedisCacheStore(redis.Redis(decode_responses=True))


@pytest.mark.parametrize("ttl", [0, -1, 1.5, True, None])
def test_a_ttl_that_means_nothing_is_refused(ttl: Any) -> None:
    redis = pytest.importorskip("redis")
    with pytest.raises(ValueError, match="ttl is a whole number of seconds"):
        RedisStateBackend("night", redis.Redis(), ttl)
