"""Stores that are locked, silent or away: they are waited for, not for ever, and no longer than anybody wants."""

from __future__ import annotations

import os
import signal
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from halting import stopped
from plain_tasks import step
from virtual_time import in_virtual_time, pass_time

import cascade
from cascade import api
from cascade.adapters import redis_client
from cascade.cache import MISS, InputCache, RedisCacheStore, SQLiteCacheStore
from cascade.runtime.durability.records import Opening
from cascade.state import RedisStateBackend, SQLiteStateBackend
from cascade.testing import record_events
from state.stores import RedisServer

pytestmark = pytest.mark.loop

OPENING = Opening(False, ("target",), b"flow", {})


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that is writing to the file."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
    finally:
        connection.close()


# -- an SQLite file that somebody else is writing to, in virtual time ---------------------------------------------


OPERATIONS: dict[str, Callable[[SQLiteStateBackend], Any]] = {
    "put_result": lambda backend: backend.put_result("a", 1),
    "begin": lambda backend: backend.begin(OPENING),
    "adopt": lambda backend: backend.adopt(b"other"),
    "clear": lambda backend: backend.clear(),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


@in_virtual_time
@every_operation
async def test_a_locked_file_is_waited_for(tmp_path: Path, operation: Any) -> None:
    path = tmp_path / "runs.db"
    backend = SQLiteStateBackend("night", str(path))
    await backend.put_result("first", 0)

    async def unlock(connection: sqlite3.Connection) -> None:
        await pass_time(15)
        connection.execute("ROLLBACK")

    with locked(path) as connection:
        async with anyio.create_task_group() as group:
            group.start_soon(unlock, connection)
            began = anyio.current_time()
            await operation(backend)
            assert anyio.current_time() - began == pytest.approx(15, abs=0.1)
    await backend.aclose()


@in_virtual_time
@every_operation
async def test_whoever_waits_for_a_locked_file_can_be_cancelled(tmp_path: Path, operation: Any) -> None:
    path = tmp_path / "runs.db"
    backend = SQLiteStateBackend("night", str(path))
    await backend.put_result("first", 0)
    with locked(path):
        began = anyio.current_time()
        with anyio.move_on_after(15) as scope:
            await operation(backend)
        assert scope.cancelled_caught
        assert anyio.current_time() - began == 15
    await backend.aclose()


@in_virtual_time
async def test_no_thread_waits_for_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself would wait as long as a connection says, and nothing could cancel that."""
    connect: Any = sqlite3.connect
    waits: list[float] = []

    def connect_and_note(*args: Any, timeout: float = 5.0, **more: Any) -> Any:
        waits.append(timeout)
        return connect(*args, timeout=timeout, **more)

    monkeypatch.setattr(sqlite3, "connect", connect_and_note)
    backend = SQLiteStateBackend("night", str(tmp_path / "runs.db"))
    await backend.put_result("first", 0)
    await backend.aclose()
    assert set(waits) == {0}


@in_virtual_time
async def test_a_file_that_stays_locked_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    backend = SQLiteStateBackend("night", str(path))
    await backend.put_result("first", 0)
    with locked(path):
        began = anyio.current_time()
        with pytest.raises(cascade.StateError, match=r"in use by another program for more than 20 s.*is locked"):
            await backend.put_result("a", 1)
        assert anyio.current_time() - began == pytest.approx(20, abs=0.1)
    await backend.aclose()


@in_virtual_time
@pytest.mark.parametrize("kind", ["state", "cache"])
async def test_a_file_in_another_mode_that_is_locked_when_it_is_opened_is_waited_for(
    tmp_path: Path, kind: str
) -> None:
    """Its mode can be changed only while nobody writes."""
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE of_another_program (x)")
    other.close()

    async def unlock(connection: sqlite3.Connection) -> None:
        await pass_time(15)
        connection.execute("COMMIT")

    with locked(path) as connection:
        connection.execute("INSERT INTO of_another_program VALUES (1)")
        async with anyio.create_task_group() as group:
            group.start_soon(unlock, connection)
            if kind == "state":
                assert await cascade.run(step(1), state=f"sqlite:///{path}", run_id="night") == 1
            else:
                store = SQLiteCacheStore(path)
                assert await store.get("key") is MISS
                await store.close()


async def test_many_open_a_file_at_once_that_is_not_there(tmp_path: Path) -> None:
    backends = [SQLiteStateBackend(f"run {number}", str(tmp_path / "runs.db")) for number in range(12)]
    caches = [SQLiteCacheStore(tmp_path / "cache.db") for _ in range(12)]

    async def use(backend: SQLiteStateBackend, cache: SQLiteCacheStore) -> None:
        await backend.begin(OPENING)
        await backend.put_result("a", 1)
        await cache.set(backend.run_id, 1, 100)
        assert await cache.get("nothing") is MISS

    async with anyio.create_task_group() as group:
        for backend, cache in zip(backends, caches, strict=True):
            group.start_soon(use, backend, cache)
    for backend, cache in zip(backends, caches, strict=True):
        await backend.aclose()
        await cache.close()
    assert len(await api.recorded_runs(f"sqlite:///{tmp_path / 'runs.db'}")) == 12


@in_virtual_time
async def test_a_run_that_is_cancelled_while_its_file_is_locked_ends_in_time_and_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    holders: list[Any] = []

    @cascade.task
    async def lock(_: Any) -> None:
        holders.append(locked(path))
        holders[0].__enter__()

    began = anyio.current_time()
    with anyio.move_on_after(5), pytest.raises(TimeoutError, match="state store"):
        await cascade.run(step(lock(step(1))), state=f"sqlite:///{path}", run_id="night", cleanup_timeout=3)
    assert anyio.current_time() - began == pytest.approx(8, abs=2)
    holders[0].__exit__(None, None, None)
    # This process is alive, and yet the run is known to be over.
    assert await cascade.run(step(1), state=f"sqlite:///{path}", run_id="night", on_change="recompute") == 1


# -- a Redis server that does not answer -------------------------------------------------------------------------


def be_impatient(patched: pytest.MonkeyPatch) -> None:
    """Give a server up soon. Not to be said of one that is to answer: a loaded machine may make it late."""
    patched.setattr(redis_client, "PATIENCE", 0.3)
    patched.setattr(redis_client, "GRACE", 0.1)


@contextmanager
def silent(server: RedisServer) -> Iterator[None]:
    """A server that says nothing in the block, and is given up soon."""
    with stopped(server), pytest.MonkeyPatch.context() as patched:
        be_impatient(patched)
        yield


@contextmanager
def clients(server: RedisServer) -> Iterator[list[Any]]:
    """Clients of all sorts: with bounds of their own, without any, and patient ones."""
    import redis

    port = server.port
    found = [redis.Redis.from_url(server.url, socket_timeout=15), redis.Redis(port=port, socket_timeout=None)]
    yield found
    for client in found:
        client.close()


async def test_a_server_that_says_nothing_is_given_up(own_redis: RedisServer) -> None:
    with clients(own_redis) as found:
        for number, client in enumerate(found):
            backend = RedisStateBackend(f"night {number}", client)
            await backend.begin(OPENING)
            with silent(own_redis), anyio.fail_after(60):
                with pytest.raises(cascade.StateError, match=f"cannot be used for run 'night {number}'"):
                    await backend.put_result("a", 1)
                await backend.aclose()


async def test_whoever_waits_for_a_silent_server_can_be_cancelled(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "PATIENCE", 100.0)
    monkeypatch.setattr(redis_client, "GRACE", 0.1)
    with clients(own_redis) as found:
        for number, client in enumerate(found):
            backend, cache = RedisStateBackend(f"night {number}", client), RedisCacheStore(client)
            await backend.begin(OPENING)
            calls = [backend.put_result("a", 1), backend.heartbeat(), backend.get_result("a"), cache.get("key")]
            for call in calls:
                assert await backend.get_result("nothing") is None  # it is connected
                with stopped(own_redis), anyio.fail_after(60):
                    with anyio.move_on_after(0.05) as scope:
                        await call
                    assert scope.cancelled_caught
            await backend.put_result("b", 2)
            assert await backend.get_result("b") == 2
            await backend.aclose()


async def test_a_write_that_is_under_way_when_its_caller_is_cancelled_is_done(own_redis: RedisServer) -> None:
    backend = RedisStateBackend.of_url(own_redis.url, "night")
    await backend.begin(OPENING)
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            await backend.put_result("a", bytes(1_000_000))
    assert await backend.has_result("a")
    await backend.aclose()


async def test_a_run_whose_server_falls_silent_fails(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @cascade.task
    async def silence(_: Any) -> None:
        assert own_redis.process is not None
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        be_impatient(monkeypatch)

    try:
        with anyio.fail_after(60), pytest.raises(cascade.StateError, match="1 settled nodes are recorded"):
            await cascade.run(step(silence(step(1))), state=own_redis.url, run_id="night")
    finally:
        assert own_redis.process is not None
        os.kill(own_redis.process.pid, signal.SIGCONT)


async def test_a_cache_that_says_nothing_is_done_without(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade.adapters.cache.redis.PATIENCE", 0.2)
    with clients(own_redis) as found:
        flow = step(1).with_cache(InputCache(RedisCacheStore(found[1])))
        with silent(own_redis), anyio.fail_after(60), record_events(engine := cascade.Engine()) as recorded:
            assert await engine.run(flow) == 1
        assert {event.code for event in recorded.of(cascade.EngineWarning)} == {"cache-failed"}


async def test_a_lease_that_others_change_all_the_time_is_given_up(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis

    def conflict(*_: Any) -> Any:
        raise redis.WatchError("Watched variable changed.")

    backend = RedisStateBackend.of_url(own_redis.url, "night")
    await backend.begin(OPENING)
    with monkeypatch.context() as patched:
        be_impatient(patched)
        patched.setattr(redis.client.Pipeline, "_execute_transaction", conflict)
        with pytest.raises(cascade.StateError, match="Watched variable changed"):
            await backend.put_result("a", 1)
    await backend.put_result("a", 1)
    await backend.aclose()


async def test_a_wrong_password_is_not_tried_again(own_redis: RedisServer) -> None:
    import redis

    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("requirepass", "sesame")
    url = own_redis.url.replace("redis://", "redis://:wrong@")
    with anyio.fail_after(60), pytest.raises(cascade.StateError, match="password"):
        await cascade.run(step(1), state=url)


async def test_runs_at_a_silent_server_are_not_waited_for_by_whoever_is_cancelled(own_redis: RedisServer) -> None:
    with stopped(own_redis), anyio.move_on_after(0.05) as scope:
        await api.recorded_runs(own_redis.url)
    assert scope.cancelled_caught


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_an_error_of_the_server_quotes_no_value(own_redis: RedisServer) -> None:
    import redis

    @cascade.task
    async def secret() -> str:
        return "hunter2 " * 10

    @cascade.task
    async def fill() -> bytes:
        return b"hunter2" * 500_000

    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 2_500_000)
    flow = [step(fill()), step(secret())]
    engine = cascade.Engine(state=own_redis.url)
    full = pytest.raises(cascade.StateError, match="command not allowed when used memory")
    with record_events(engine) as recorded, full as caught:
        await engine.run(flow, run_id="night")
    said = "".join(traceback.format_exception(caught.value)) + str(recorded.of(cascade.RunFinished))
    assert "hunter2" not in said
    assert "OutOfMemoryError" in said


async def test_a_cache_that_is_full_quotes_no_value(own_redis: RedisServer) -> None:
    import redis

    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 2_500_000)
        flow = step(b"hunter2" * 500_000).with_cache(InputCache(RedisCacheStore(client)))
        with record_events(engine := cascade.Engine()) as recorded:
            await engine.run(flow)
    [warning] = recorded.of(cascade.EngineWarning)
    assert "hunter2" not in warning.message
    assert "OutOfMemoryError" in warning.message
