"""Deleting recorded runs, and finding what cannot be read, in every store that outlives the process."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from life import until
from plain_tasks import fail, step

import cascade
from cascade import api
from cascade.adapters.sqlite_file import PATIENCE
from cascade.adapters.state.ownership import Owner
from cascade.runtime.engine.upkeep import delete_runs, find_damage
from state.stores import StoreUnderTest
from state.test_ownership import elsewhere, set_lease, take


async def recorded(store: StoreUnderTest, *run_ids: str) -> None:
    """Record runs that have failed, with everything that a run can have."""
    flow = [step(1), step(cascade.signal("go", int)), fail()]
    for run_id in run_ids:
        async with cascade.start(flow, state=store.state, run_id=run_id, on_error="continue") as run:
            await run.send("go", 3)
            with pytest.raises(cascade.RunFailed):
                await run.result()


async def test_runs_are_deleted_whole_and_others_stay(durable: StoreUnderTest) -> None:
    await recorded(durable, "one", "two")
    two, one = await api.recorded_runs(durable.state)
    assert await delete_runs(durable.state, [one]) == ["one"]
    assert [run.run_id for run in await api.recorded_runs(durable.state)] == ["two"]
    whole = await api.recorded_run(durable.state, "two")
    assert whole.counts == two.counts
    assert [(signal.name, signal.value) for signal in whole.signals] == [("go", "3")]
    assert await find_damage(durable.state) == []
    # Its id is free again: nothing of it is left that another run could find.
    assert await cascade.run(step(7), state=durable.state, run_id="one") == 7
    again = await api.recorded_run(durable.state, "one")
    assert (again.epoch, again.signals, [node.node_id for node in again.nodes]) == (1, (), ["step"])


async def test_a_run_that_somebody_has_gone_on_with_is_not_deleted(durable: StoreUnderTest) -> None:
    await recorded(durable, "one")
    before = await api.recorded_runs(durable.state)
    await recorded(durable, "one")
    assert await delete_runs(durable.state, before) == []
    assert len(await api.recorded_runs(durable.state)) == 1
    assert await delete_runs(durable.state, [*await api.recorded_runs(durable.state), *before]) == ["one"]


async def test_a_run_that_is_executed_is_not_deleted(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(durable, monkeypatch, elsewhere())
    runs = await api.recorded_runs(durable.state)
    assert await delete_runs(durable.state, runs) == []
    set_lease(durable, time.time() - 10_000)
    assert await delete_runs(durable.state, runs) == ["night"]


async def test_a_run_of_this_machine_whose_process_has_ended_is_deleted(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner.here()
    await take(durable, monkeypatch, owner)
    runs = await api.recorded_runs(durable.state)
    assert await delete_runs(durable.state, runs) == []
    owner.release()
    assert await delete_runs(durable.state, runs) == ["night"]


async def test_damage_in_redis_is_found(redis_url: str, client: Any) -> None:
    for run_id in ("one", "two", "three"):
        await cascade.run([step(1), step(2)], state=redis_url, run_id=run_id)
    assert await find_damage(redis_url) == []
    client.hset("cascade:run:one:results", "step", b"\x80\x04\x95")
    client.hset("cascade:run:two:nodes", "step", "{")
    client.hset("cascade:run:two:meta", "result", b"")
    client.delete("cascade:run:three:results")
    client.set("cascade:run:three:results", "no hash")
    found = {(damage.run_id, damage.node_id): damage.what for damage in await find_damage(redis_url)}
    assert set(found) == {("one", "step"), ("two", "step"), ("two", None), ("three", None)}
    assert found["one", "step"].startswith("its value cannot be read: ")
    assert found["two", None].startswith("its result cannot be read: ")
    assert found["three", None].startswith("its keys cannot be read: ")


async def test_a_run_whose_id_is_no_text_is_deleted_by_the_name_that_is_shown(durable: StoreUnderTest) -> None:
    await recorded(durable, "one")
    if durable.name == "sqlite":
        with closing(sqlite3.connect(durable.state.removeprefix("sqlite:///"))) as file, file:
            file.execute("UPDATE runs SET run_id = CAST(x'ff' AS TEXT)")
    else:
        import redis

        with redis.Redis.from_url(durable.state) as client:
            for part in ("meta", "nodes", "results", "details", "signals", "lease"):
                client.rename(f"cascade:run:one:{part}", b"cascade:run:\xff:" + part.encode())
    runs = await api.recorded_runs(durable.state)
    assert [run.run_id for run in runs] == [r"\xff"]
    assert await delete_runs(durable.state, runs) == [r"\xff"]
    assert await api.recorded_runs(durable.state) == []


def fill(path: Path) -> None:
    """Make what is recorded of the run ``"one"`` large."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(
            "UPDATE nodes SET value = zeroblob(1000000) WHERE run = (SELECT id FROM runs WHERE run_id = 'one')"
        )


async def test_no_room_is_given_back_while_a_run_of_the_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    state = f"sqlite:///{path}"
    await cascade.run(step(1), state=state, run_id="one")
    fill(path)
    (one,) = await api.recorded_runs(state)
    async with cascade.start(cascade.signal("go"), state=state, run_id="two") as run:
        await until(lambda: bool(run.status().waiting))
        assert await delete_runs(state, [one]) == ["one"]
        assert path.stat().st_size > 1_000_000  # making it smaller would lock out the run all the while
        run.cancel()
    await cascade.run(step(1), state=state, run_id="one")
    (one,) = [known for known in await api.recorded_runs(state) if known.run_id == "one"]
    assert await delete_runs(state, [one]) == ["one"]
    assert path.stat().st_size < 1_000_000


async def test_giving_room_back_waits_for_no_reader(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    state = f"sqlite:///{path}"
    await cascade.run(step(1), state=state, run_id="one")
    fill(path)
    runs = await api.recorded_runs(state)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        begun = time.monotonic()
        assert await delete_runs(state, runs) == ["one"]
    assert time.monotonic() - begun < PATIENCE / 2
