"""Records that are deleted, moved or replaced while a run writes them: the run says so, and does not go on."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from plain_tasks import step

import cascade
from cascade import api
from cascade.cache import MISS, Hit, SQLiteCacheStore
from cascade.runtime.durability.records import Batch, Closing, Entry, Opening
from cascade.state import RedisStateBackend, SQLiteStateBackend
from cascade.testing import record_events
from state.stores import RedisServer

pytestmark = pytest.mark.loop

OPENING = Opening(False, ("target",), b"flow", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the state file is: a link to a folder, as one may be to the present release."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    return tmp_path / "link"


def delete(folder: Path) -> None:
    for path in folder.glob("runs.db*"):
        path.unlink()


def delete_the_main_file(folder: Path) -> None:
    (folder / "runs.db").unlink()


def delete_the_log(folder: Path) -> None:
    (folder / "runs.db-wal").unlink()


def delete_the_index_of_the_log(folder: Path) -> None:
    (folder / "runs.db-shm").unlink()


def move(folder: Path) -> None:
    (folder / "runs.db").rename(folder / "old.db")


def put_another_in_its_place(folder: Path) -> None:
    shutil.copy(folder / "runs.db", folder / "copy.db")
    (folder / "copy.db").rename(folder / "runs.db")


def remove_the_folder(folder: Path) -> None:
    shutil.rmtree(folder.resolve())


def rename_the_folder(folder: Path) -> None:
    folder.resolve().rename(folder.parent / "elsewhere")


def lead_to_another_folder(folder: Path) -> None:
    (folder.parent / "other").mkdir()
    shutil.copy(folder / "runs.db", folder.parent / "other")
    folder.unlink()
    folder.symlink_to(folder.parent / "other")


MISHAPS: list[Callable[[Path], None]] = [
    delete, delete_the_main_file, delete_the_log, delete_the_index_of_the_log, move, put_another_in_its_place,
    remove_the_folder, rename_the_folder, lead_to_another_folder,
]  # fmt: skip
every_mishap = pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.__name__)
SAID = r"(runs\.db|runs\.db-wal|runs\.db-shm)'.* was deleted, moved or replaced while it was in use"


# -- SQLite ----------------------------------------------------------------------------------------------------


@every_mishap
async def test_a_run_whose_file_vanishes_fails_and_says_so(folder: Path, mishap: Callable[[Path], None]) -> None:
    @cascade.task
    async def befall(_: Any) -> None:
        mishap(folder)

    flow = step(step(befall(step(1))))
    engine = cascade.Engine(state=f"sqlite:///{folder}/runs.db")
    with record_events(engine) as recorded, pytest.raises(cascade.StateError, match=SAID) as caught:
        await engine.run(flow, run_id="night")
    assert (caught.value.recorded, caught.value.lost) == (1, ("befall",))
    assert [event.total for event in recorded.of(cascade.StateRecorded)] == [1]
    assert len(recorded.of(cascade.RunFinished)[0].failures) == 1


@every_mishap
async def test_a_run_that_writes_nothing_notices_at_a_heartbeat(
    folder: Path, mishap: Callable[[Path], None]
) -> None:
    backend = SQLiteStateBackend("night", str(folder / "runs.db"))
    await backend.begin(OPENING)
    await backend.heartbeat()
    mishap(folder)
    with pytest.raises(cascade.StateError, match=SAID):
        await backend.heartbeat()
    await backend.aclose()


@pytest.mark.parametrize("operation", ["write", "finish", "clear", "adopt", "forget", "recall", "get_results"])
async def test_every_operation_notices(folder: Path, operation: str) -> None:
    backend = SQLiteStateBackend("night", str(folder / "runs.db"))
    await backend.begin(OPENING)
    delete(folder)
    arguments: dict[str, Any] = {
        "write": Batch([Entry("a", 1)]), "finish": Closing("succeeded"), "adopt": b"other", "forget": ["a"],
        "recall": ["a"], "get_results": ["a"],
    }  # fmt: skip
    with pytest.raises(cascade.StateError, match=SAID):
        await getattr(backend, operation)(*[arguments[name] for name in arguments if name == operation])
    await backend.aclose()


async def test_what_is_at_the_path_afterwards_is_left_as_it_is(folder: Path) -> None:
    path = str(folder / "runs.db")
    backend = SQLiteStateBackend("night", path)
    await backend.begin(OPENING)
    delete(folder)
    other = SQLiteStateBackend("day", path)
    await other.begin(OPENING)
    await other.write(Batch([Entry("a", 1)]))
    with pytest.raises(cascade.StateError, match=SAID):
        await backend.write(Batch([Entry("b", 2)]))
    await backend.aclose()
    await other.write(Batch([Entry("c", 3)]))
    await other.finish(Closing("succeeded"))
    await other.aclose()
    [run] = await api.recorded_runs(f"sqlite:///{path}")
    assert (run.run_id, run.status, run.counts) == ("day", "succeeded", {"succeeded": 2})


async def test_a_file_that_stays_where_it_is_is_not_missed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is one whose path is relative, wherever the process goes; nor one that somebody else tidies up."""
    monkeypatch.chdir(folder)

    @cascade.task
    async def go(_: Any) -> None:
        os.chdir("/")
        with sqlite3.connect(folder / "runs.db") as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            other.execute("PRAGMA optimize")
        other.close()

    flow = step(step(go(step(1))))
    assert await cascade.run(flow, state="sqlite:///runs.db", run_id="night") is None


async def test_a_row_that_is_deleted_under_a_run_is_missed(folder: Path) -> None:
    backend = SQLiteStateBackend("night", str(folder / "runs.db"))
    await backend.begin(OPENING)
    with sqlite3.connect(folder / "runs.db") as other:
        other.execute("DELETE FROM events")
        other.execute("DELETE FROM runs")
    other.close()
    with pytest.raises(cascade.StateError, match="the record of run 'night' is gone from the store"):
        await backend.heartbeat()
    # Its number may be that of another run by now, which counts its beginnings from one too.
    another = SQLiteStateBackend("day", str(folder / "runs.db"))
    await another.begin(OPENING)
    with pytest.raises(cascade.StateError, match="the record of run 'night' is gone from the store"):
        await backend.write(Batch([Entry("a", 1)]))
    await backend.aclose()
    await another.aclose()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [("PRAGMA max_page_count = 1", "full"), ("PRAGMA query_only = ON", "readonly")],
    ids=["full", "read-only"],
)
async def test_a_disk_that_takes_no_more_fails_the_run(folder: Path, spoil: str, said: str) -> None:
    backend = SQLiteStateBackend("night", str(folder / "runs.db"))

    @cascade.task
    async def befall(_: Any) -> bytes:
        backend._file.connection().execute(spoil).fetchall()
        return b"\0" * 100_000

    with pytest.raises(cascade.StateError, match=f"{said}.*: 1 settled nodes are recorded, 1 are not"):
        await cascade.run(step(befall(step(1))), state=lambda _: backend, run_id="night")
    backend._file.close()


async def test_a_cache_file_that_vanishes_is_made_anew(folder: Path) -> None:
    store = SQLiteCacheStore(folder / "runs.db")
    await store.set("key", 1, None)
    assert await store.get("key") == Hit(1)
    delete(folder)
    assert await store.get("key") is MISS
    await store.set("key", 2, None)
    await store.close()
    other = SQLiteCacheStore(folder / "runs.db")
    assert await other.get("key") == Hit(2)
    await other.close()
    remove_the_folder(folder)
    with pytest.raises(cascade.StateError, match="there is no folder"):
        await store.get("key")


# -- Redis -----------------------------------------------------------------------------------------------------


KEYS = ["results", "nodes", "meta", "lease"]


@pytest.mark.parametrize("lost", ["all", *KEYS])
async def test_a_run_whose_keys_vanish_fails_and_says_so(client: Any, redis_url: str, lost: str) -> None:
    @cascade.task
    async def befall(_: Any) -> None:
        if lost == "all":
            await anyio.to_thread.run_sync(client.flushall)
        else:
            await anyio.to_thread.run_sync(client.delete, f"cascade:run:night:{lost}")

    said = "is gone from the store" if lost in ("all", "lease") else "Redis has lost records"
    with pytest.raises(cascade.StateError, match=said) as caught:
        await cascade.run(step(step(befall(step(1)))), state=redis_url, run_id="night")
    assert caught.value.lost == ("befall",)


@pytest.mark.parametrize("lost", ["all", *KEYS])
async def test_keys_that_vanish_are_missed_at_a_heartbeat(client: Any, lost: str) -> None:
    backend = RedisStateBackend("night", client)
    await backend.begin(OPENING)
    await backend.write(Batch([Entry("a", 1)]))
    await backend.heartbeat()
    if lost == "all":
        client.flushall()
    else:
        client.delete(f"cascade:run:night:{lost}")
    with pytest.raises(cascade.StateError, match=r"gone from the store|has lost records"):
        await backend.heartbeat()
    await backend.aclose()


async def test_a_server_that_is_replaced_by_an_older_state_is_noticed(client: Any) -> None:
    backend = RedisStateBackend("night", client)
    await backend.begin(OPENING)
    kept = {key: client.dump(key) for key in client.keys("*")}
    await backend.write(Batch([Entry("a", 1)]))
    client.flushall()
    for key, dumped in kept.items():
        client.restore(key, 0, dumped)
    with pytest.raises(cascade.StateError, match="older state"):
        await backend.write(Batch([Entry("b", 2)]))
    await backend.aclose()


async def test_who_was_flushed_and_overtaken_writes_nothing(client: Any) -> None:
    """The lease of the other counts beginnings from one again, as its own did."""
    backend, other = RedisStateBackend("night", client), RedisStateBackend("night", client)
    await backend.begin(OPENING)
    client.flushall()
    await other.begin(OPENING)
    with pytest.raises(cascade.StateError, match="taken over by process"):
        await backend.write(Batch([Entry("a", 1)]))
    assert not await other.has_result("a")
    await other.write(Batch([Entry("a", 2)]))
    await other.aclose()


async def test_records_that_were_forgotten_on_purpose_are_not_missed(client: Any) -> None:
    backend = RedisStateBackend("night", client)
    await backend.begin(OPENING)
    await backend.write(Batch([Entry("a", 1), Entry("b", None, "Pruned", "skipped")]))
    await backend.write(Batch([Entry("b", 2)]))
    await backend.forget(["a", "b"])
    await backend.heartbeat()
    await backend.write(Batch([Entry("a", 1)]))
    await backend.clear()
    await backend.finish(Closing("succeeded"))
    await backend.aclose()


async def test_a_run_that_lost_its_digests_is_not_gone_on_with(client: Any, redis_url: str) -> None:
    backend = RedisStateBackend("night", client)
    await backend.begin(OPENING)
    await backend.write(Batch([Entry("step", 1)]))
    await backend.aclose()
    client.delete("cascade:run:night:nodes")
    with pytest.raises(cascade.StateError, match="has lost records"):
        await cascade.run(step(2), state=redis_url, run_id="night")
    assert await cascade.run(step(2), state=redis_url, run_id="night", on_change="recompute") == 2


async def test_records_that_live_for_seconds_outlive_the_pauses_between_heartbeats(client: Any) -> None:
    assert RedisStateBackend("night", client, ttl=3).heartbeat_every == 1
    assert RedisStateBackend("night", client).heartbeat_every == 8


async def test_a_server_that_is_started_again_empty_is_noticed(own_redis: RedisServer) -> None:
    @cascade.task
    async def restart(_: Any) -> None:
        await anyio.to_thread.run_sync(own_redis.stop)
        shutil.rmtree(own_redis.folder / "appendonlydir")
        await anyio.to_thread.run_sync(own_redis.start)

    with pytest.raises(cascade.StateError, match="is gone from the store"):
        await cascade.run(step(restart(step(1))), state=own_redis.url, run_id="night")
