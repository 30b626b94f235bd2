"""Values that are too large for the store: done, not durable; what is beside them is recorded."""

from __future__ import annotations

import functools
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import cascade
from cascade import api
from cascade.runtime.durability.records import Batch, Closing, Continuation, Entry, Opening
from cascade.state import RedisStateBackend, SQLiteStateBackend
from cascade.testing import record_events
from state.cleared import cleared
from state.stores import RedisServer, StoreUnderTest, empty_redis, store_at

OPENING = Opening(False, ("target",), b"flow", {})
LARGE = 2_000_000
RAN: Counter[str] = Counter()


class SmallConnection(sqlite3.Connection):
    """Takes a million bytes and a half where others take a thousand million."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_500_000)


@pytest.fixture(params=["sqlite", "redis"])
def small(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreUnderTest:
    """A store that takes less than others."""
    if request.param == "sqlite":
        monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=SmallConnection))
        return store_at("sqlite", f"sqlite:///{tmp_path / 'runs.db'}")
    import redis

    server: RedisServer = request.getfixturevalue("own_redis")
    with redis.Redis.from_url(server.url) as client:
        client.config_set("proto-max-bulk-len", 1024 * 1024)
    return store_at("redis", server.url)


nothing_has_run = cleared(RAN)


@cascade.task
async def small_one(n: int) -> int:
    RAN["small"] += 1
    return n


@cascade.task
async def huge() -> bytes:
    RAN["huge"] += 1
    return bytes(LARGE)


@cascade.task
async def size(data: bytes, *_: Any) -> int:
    RAN["size"] += 1
    if RAN["fail"]:
        raise ValueError("no luck")
    return len(data)


@cascade.task
async def spin(n: int, data: bytes) -> Any:
    return n if n == 4 else spin(n + 1, bytes(LARGE))


async def test_a_result_that_is_too_large_is_not_durable_and_the_others_are(small: StoreUnderTest) -> None:
    RAN["fail"] = 1
    flow = size(huge(), small_one(1), small_one(2))
    engine = cascade.Engine(state=small.state)
    with record_events(engine) as recorded, pytest.raises(ValueError, match="no luck"):
        await engine.run(flow, run_id="night")
    [warning] = [event for event in recorded.of(cascade.EngineWarning) if event.code == "not-durable"]
    assert "'huge' is not durable" in warning.message
    assert "the store takes" in warning.message
    run = await api.recorded_run(small.state, "night")
    assert {node.node_id: (node.status, node.is_durable) for node in run.nodes} == {
        "huge": ("succeeded", False), "small_one": ("succeeded", True), "small_one#2": ("succeeded", True),
        "size": ("failed", True),
    }  # fmt: skip
    RAN.clear()
    assert await cascade.run(flow, state=small.state, run_id="night") == LARGE
    assert RAN == {"huge": 1, "size": 1}


async def test_with_strict_state_its_task_fails(small: StoreUnderTest) -> None:
    flow = [small_one(1), size(huge())]
    with pytest.raises(cascade.StateError, match="the store takes"):
        await cascade.run(flow, state=small.state, run_id="night", strict_state=True)
    run = await api.recorded_run(small.state, "night")
    assert {node.node_id: node.status for node in run.nodes if node.status == "failed"} == {"huge": "failed"}


async def test_a_result_of_a_run_that_is_too_large_is_computed_again_if_asked_for(small: StoreUnderTest) -> None:
    engine = cascade.Engine(state=small.state)
    for _ in range(2):
        with record_events(engine) as recorded:
            assert await engine.run([small_one(1), huge()], run_id="night") == [1, bytes(LARGE)]
        warnings = [event.message for event in recorded.of(cascade.EngineWarning) if event.code == "not-durable"]
        assert [message.partition(" is not")[0] for message in warnings][-1] == "the result of 'the result'"
    assert RAN == {"small": 1, "huge": 2}


async def test_a_loop_whose_turns_are_too_large_is_told_of_and_goes_on(small: StoreUnderTest) -> None:
    engine = cascade.Engine(state=small.state, loop_record=(1, 1000))
    with record_events(engine) as recorded:
        assert await engine.run(spin(1, b""), run_id="night") == 4
    messages = [event.message for event in recorded.of(cascade.EngineWarning) if event.code == "not-durable"]
    assert len(messages) == 1
    assert "turn 2 of the loop" in messages[0]


async def test_errors_and_parameters_that_are_too_large_are_cut(small: StoreUnderTest) -> None:
    @cascade.task(retry=cascade.Retry(max_attempts=2))
    async def fail(_: Any) -> None:
        raise ValueError("x" * LARGE)

    with pytest.raises(ValueError, match="xxx"):
        await cascade.run(fail(cascade.Param("p")), {"p": "y" * LARGE}, state=small.state, run_id="night")
    run = await api.recorded_run(small.state, "night")
    assert run.error is not None
    assert run.nodes[0].error is not None
    assert len(run.error) < 11_000
    assert len(run.nodes[0].error) < 11_000
    assert f"({LARGE + len('ValueError: ')} characters)" in run.error


async def test_what_a_loop_goes_on_with_and_its_result_share_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=SmallConnection))
    backend = SQLiteStateBackend("night", str(tmp_path / "runs.db"))
    await backend.begin(OPENING)
    half = bytes(500_000)
    assert await backend.write(Batch(continuation=Continuation(2, half))) == []
    [(name, error)] = await backend.finish(Closing("succeeded", result=(half,)))
    assert name == "the result"
    assert "bytes" in str(error)
    await backend.aclose()


async def test_a_large_batch_is_written_to_redis_in_parts(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.adapters.state.redis.backend.MOST_AT_ONCE", 1000)
    backend = RedisStateBackend.of_url(redis_url, "night of parts")
    await backend.begin(OPENING)
    entries = [Entry(f"n{number}", bytes(400)) for number in range(10)]
    entries.insert(5, Entry("large", bytes(3000)))
    assert await backend.write(Batch(entries, [Entry("bad", status="failed")], Continuation(2, "on"))) == []
    assert len(await backend.recall([entry.node_id for entry in entries])) == 11
    await backend.aclose()
    again = RedisStateBackend.of_url(redis_url, "night of parts")
    past = await again.begin(OPENING)
    assert past.continuation == Continuation(2, "on")
    assert len(past.nodes or ()) == 11
    await again.clear()
    await again.aclose()


async def test_what_was_written_of_a_large_batch_is_counted(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis

    monkeypatch.setattr("cascade.adapters.state.redis.backend.MOST_AT_ONCE", 1)
    empty_redis(redis_url)
    changes: list[str] = []
    execute = redis.client.Pipeline.execute

    def failing(self: Any, *args: Any) -> Any:
        written = [
            words[2] for words, _ in self.command_stack if words[0] == "HSET" and words[1].endswith(":nodes")
        ]
        changes.extend(written)
        if len(changes) == 3 and written:
            raise redis.ResponseError("no luck")
        return execute(self, *args)

    monkeypatch.setattr(redis.client.Pipeline, "execute", failing)
    with pytest.raises(cascade.StateError, match="2 settled nodes are recorded, 2 are not") as caught:
        await cascade.run([small_one(n) for n in range(4)], state=redis_url, run_id="night", durability="exit")
    assert caught.value.lost == ("small_one#3", "small_one#4")
