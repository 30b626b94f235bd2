"""Failures at each write of a store: what is there afterwards is the old state or the new, never half of one."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from plain_tasks import step

import cascade
from cascade.adapters import redis_client, sqlite_file
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.durability.records import Batch, Closing, Continuation, Entry, Opening
from cascade.state import RedisStateBackend, SQLiteStateBackend
from cascade.testing import record_events
from state.stores import RedisServer, empty_redis

OLD = [Entry("a", 1, digest=b"A"), Entry("b", None, "ConditionFalse", "skipped", b"B")]
NEW = Batch([Entry("c", 3), Entry("d", None, "Pruned", "skipped")], [Entry("e", status="failed", error="no")])
LOOP = Batch([Entry("f", 6)], continuation=Continuation(7, 5))
OPENING = Opening(False, ("target",), b"flow", {})

OPERATIONS: dict[str, Callable[[StateBackend], Any]] = {
    "write": lambda backend: backend.write(NEW),
    "loop": lambda backend: backend.write(LOOP),
    "clear": lambda backend: backend.clear(),
    "forget": lambda backend: backend.forget(["a", "b"]),
    "adopt": lambda backend: backend.adopt(b"other"),
    "finish": lambda backend: backend.finish(Closing("succeeded", result=(1,))),
}


async def state_of(backend: StateBackend) -> Any:
    """All that a new run would learn from the store."""
    past = await backend.begin(OPENING)
    nodes = sorted(past.nodes or ())
    state = (
        past.status,
        past.flow_digest,
        past.result,
        past.continuation,
        nodes,
        await backend.get_results(nodes),
    )
    await backend.aclose()
    return repr(state)


class FailingConnection(sqlite3.Connection):
    """Raises at one statement, before or after it is executed."""

    left = -1
    is_after = False
    count = 0

    def execute(self, *args: Any) -> Any:
        return self._failing(super().execute, args)

    def executemany(self, *args: Any) -> Any:
        return self._failing(super().executemany, args)

    def _failing(self, execute: Callable[..., Any], args: Any) -> Any:
        kind = FailingConnection
        kind.count += 1
        kind.left -= 1
        if kind.left == 0 and not kind.is_after:
            raise sqlite3.OperationalError("disk I/O error")
        done = execute(*args)
        if kind.left == 0:
            raise sqlite3.OperationalError("database or disk is full")
        return done


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FailingConnection]]:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", functools.partial(connect, factory=FailingConnection))
    FailingConnection.left = -1
    yield FailingConnection
    FailingConnection.left = -1


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_sqlite_has_the_old_state_or_the_new(
    operation: str, tmp_path: Path, failing: type[FailingConnection]
) -> None:
    async def begun(name: str) -> SQLiteStateBackend:
        backend = SQLiteStateBackend("night", str(tmp_path / name))
        await backend.begin(OPENING)
        await backend.write(Batch(OLD))
        return backend

    async def seen(name: str) -> Any:
        return await state_of(SQLiteStateBackend("night", str(tmp_path / name)))

    backend = await begun("old")
    await backend.aclose()
    old = await seen("old")
    backend = await begun("new")
    failing.count = 0
    await OPERATIONS[operation](backend)
    statements = failing.count
    await backend.aclose()
    new = await seen("new")
    assert old != new
    for number in range(1, statements + 1):
        for is_after in (False, True):
            name = f"{number}-{is_after}"
            backend = await begun(name)
            failing.left, failing.is_after = number, is_after
            with pytest.raises(sqlite3.OperationalError, match="disk"):
                await OPERATIONS[operation](backend)
            await backend.aclose()
            assert await seen(name) in (old, new), name


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_redis_does_it_all_once_the_connection_is_back(
    operation: str, moment: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis

    empty_redis(redis_url)
    monkeypatch.setattr(redis_client, "FIRST_PAUSE", 0.001)
    execute = redis.client.Pipeline.execute
    lost: list[int] = []

    def failing(self: Any, *args: Any) -> Any:
        if lost or not self.watching:  # what reads changes nothing
            return execute(self, *args)
        lost.append(1)
        if moment == "during":
            self.connection.send_command("MULTI")
            for words, _ in self.command_stack:
                self.connection.send_command(*words)
            self.connection.disconnect()
        elif moment == "after":
            execute(self, *args)
        raise redis.ConnectionError(f"lost {moment}")

    async def outcome(run_id: str, *, fails: bool) -> Any:
        backend = RedisStateBackend.of_url(redis_url, run_id)
        await backend.begin(OPENING)
        await backend.write(Batch(OLD))
        with monkeypatch.context() as patched:
            if fails:
                patched.setattr(redis.client.Pipeline, "execute", failing)
            await OPERATIONS[operation](backend)
        await backend.aclose()
        return await state_of(RedisStateBackend.of_url(redis_url, run_id))

    assert await outcome("failing", fails=True) == await outcome("sound", fails=False)
    assert lost


async def test_a_server_that_comes_back_within_the_budget_loses_nothing(own_redis: RedisServer) -> None:
    @cascade.task
    async def restart(_: Any) -> str:
        await anyio.to_thread.run_sync(own_redis.stop)
        return "stopped"

    @cascade.task
    async def come_back(_: Any) -> str:
        await anyio.to_thread.run_sync(own_redis.start)
        return "back"

    stopped = restart([step(number) for number in range(20)])
    flow = step([stopped, come_back(None).after(stopped)])
    engine = cascade.Engine(state=own_redis.url, schedule="eager")
    with record_events(engine) as recorded:
        assert await engine.run(flow, run_id="night") == ["stopped", "back"]
    assert recorded.of(cascade.StateRecorded)[-1].total == 23
    backend = RedisStateBackend.of_url(own_redis.url, "night")
    assert len(await backend.recall([*(f"step#{n}" for n in range(2, 22)), "step", "restart", "come_back"])) == 23
    await backend.aclose()


async def test_a_server_that_stays_away_fails_the_run_and_it_says_what_is_recorded(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @cascade.task
    async def stop(_: Any) -> None:
        await anyio.to_thread.run_sync(own_redis.stop)
        monkeypatch.setattr(redis_client, "PATIENCE", 0.2)

    with pytest.raises(cascade.StateError, match="2 settled nodes are recorded, 1 are not") as caught:
        await cascade.run(step(stop([step(1), step(2)])), state=own_redis.url, run_id="night")
    assert caught.value.lost == ("stop",)
    assert caught.value.recorded == 2


async def test_a_server_that_is_not_there_fails_the_run_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    monkeypatch.setattr(redis_client, "PATIENCE", 0.1)
    with pytest.raises(cascade.StateError, match="Redis cannot be used"):
        await cascade.run(step(1), state="redis://127.0.0.1:1/0")


async def test_a_locked_file_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "PATIENCE", 0.05)
    path = tmp_path / "runs.db"

    @cascade.task
    async def lock(_: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        holders.append(connection)
        return connection

    holders: list[sqlite3.Connection] = []
    with pytest.raises(cascade.StateError, match=r"database is locked.*: 1 settled nodes are recorded"):
        await cascade.run(step(lock(step(1))), state=f"sqlite:///{path}", run_id="night", durability="task")
    for connection in holders:
        connection.close()
