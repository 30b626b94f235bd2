"""How long nodes took is in the store, for the order of nodes in other processes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.adapters.state import kept_durations
from cascade.adapters.state.kept_durations import surplus
from cascade.runtime.context.durations import OF_PROCESS
from cascade.runtime.durability.records import Closing, Opening
from state.stores import StoreUnderTest

anyio_backend = virtual_loops


@cascade.task(constraints={"slot": 1})
async def work(seconds: float, *_: object) -> None:
    await pass_time(seconds)


def flow() -> list[Any]:
    """Two slots need 9 seconds for it if it is known which node is long, and 10 otherwise."""
    return [*[work(1, work(1, work(1))) for _ in range(4)], work(6)]


async def makespan(target: Any, state: Any, schedule: Any = "eager") -> float:
    """Virtual seconds that a process takes which knows nothing but what is in the store."""
    OF_PROCESS.forget()
    engine = cascade.Engine(state=state, schedule=schedule, system_resources={"slot": 2})
    began = anyio.current_time()
    await engine.run(target)
    return anyio.current_time() - began


async def test_another_process_learns_from_the_store(durable: StoreUnderTest) -> None:
    assert [await makespan(flow(), durable.state) for _ in range(3)] == [10, 9, 9]


async def test_so_it_does_of_flows_that_a_task_returns(durable: StoreUnderTest) -> None:
    @cascade.task
    async def grows() -> Any:
        return flow()

    assert [await makespan(grows(), durable.state) for _ in range(2)] == [10, 9]


async def test_a_changed_flow_finds_nothing(durable: StoreUnderTest) -> None:
    await makespan(flow(), durable.state)
    assert await makespan([*flow(), work(0)], durable.state) == 10


async def test_the_stages_neither_ask_nor_tell(durable: StoreUnderTest) -> None:
    await makespan(flow(), durable.state, "stages")
    assert await durable.open("look").durations() == {}


async def test_a_simple_store_knows_none(any_store: StoreUnderTest) -> None:
    await makespan(flow(), any_store.state)
    assert await makespan(flow(), any_store.state) in (9, 10)


async def finish(store: StoreUnderTest, run_id: str, durations: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Let a run end with *durations*; returns what the store has then."""
    backend = store.open(run_id)
    await backend.begin(Opening(True, [], b"flow", {}))
    await backend.finish(Closing("succeeded", durations=durations))
    found = dict(await backend.durations())
    await backend.aclose()
    return found


async def test_a_store_keeps_what_was_written_last(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_durations, "MOST_FLOWS", 3)
    for number in range(6):
        found = await finish(durable, f"run{number}", {b"flow %d" % number: b"1234" * number + b"5678"})
    assert found == {b"flow %d" % number: b"1234" * number + b"5678" for number in (3, 4, 5)}
    assert await finish(durable, "same", {b"flow 3": b"9999"}) == {**found, b"flow 3": b"9999"}
    assert b"flow 4" not in await finish(durable, "next", {b"flow 9": b"9999"})


@pytest.mark.parametrize(
    ("sizes", "gone"),
    [
        ([400_000, 400_000, 400_000, 200_000], [2]),
        ([2_000_000, 10], [0]),
        ([1] * 66, [64, 65]),
        ([], []),
    ],
)
def test_what_has_no_room_is_let_go_of(sizes: list[int], gone: list[int]) -> None:
    assert list(surplus(enumerate(sizes))) == gone


async def test_a_file_from_before_gets_the_table_when_there_is_something_for_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await makespan(flow(), f"sqlite:///{path}", "stages")
    assert "durations" not in tables(path)
    await makespan(flow(), f"sqlite:///{path}")
    assert "durations" in tables(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        connection.execute("DROP TABLE durations")
    assert [await makespan(flow(), f"sqlite:///{path}") for _ in range(2)] == [10, 9]


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


async def test_nodes_are_not_written_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    await makespan(flow(), f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT length(seconds) FROM durations").fetchall()
    assert rows == [(13 * 4,)]


async def test_a_key_of_somebody_else_in_redis_is_left_alone(redis_url: str) -> None:
    from redis import Redis

    with Redis.from_url(redis_url) as client:
        client.flushdb()
        client.set("cascade:durations", "mine")
        assert [await makespan(flow(), redis_url) for _ in range(2)] == [10, 10]
        assert client.get("cascade:durations") == b"mine"
        client.delete("cascade:durations")
        await makespan(flow(), redis_url)
        assert 0 < client.ttl("cascade:durations") <= 86_400
        client.hset("cascade:durations", "short", b"1")
        assert await makespan(flow(), redis_url) == 9
