"""What stores keep of nodes that failed: why, with what they were called, when, where, in how many attempts."""

from __future__ import annotations

import itertools
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from plain_tasks import step

import cascade
from cascade import api
from cascade.runtime.durability.details import NodeDetail
from cascade.state import InMemoryStateBackend
from cascade.testing import Crash, FaultPlan, simulate
from state.stores import StoreUnderTest

BROKEN = {"is": True}


@pytest.fixture(autouse=True)
def broken() -> None:
    BROKEN["is"] = True


def deep(row: str) -> str:
    if BROKEN["is"] and "bad" in row:
        raise ValueError(f"cannot read {row}")
    return row


@cascade.task
async def read(row: str, strict: bool = True) -> str:
    return deep(row)


@cascade.task
def parse(row: str) -> str:
    return deep(row)


@cascade.task(retry=cascade.Retry(max_attempts=3))
def often(row: str) -> str:
    deep(f"{row}, attempt {cascade.current().attempt}")
    return row


@cascade.task(mode="inline")
def here(row: str) -> str:
    return deep(row)


async def details(store: StoreUnderTest, run_id: str = "night") -> dict[str, NodeDetail]:
    """What the store has, by node."""
    if store.name == "memory":
        backend: Any = store.open(run_id)
        return dict(backend.details)
    run = await api.recorded_run(store.state, run_id)
    return {node.node_id: node.detail for node in run.nodes if node.detail is not None}


async def failed(store: StoreUnderTest, flow: Any, **as_run: Any) -> dict[str, NodeDetail]:
    """What the store has once *flow* has failed."""
    with pytest.raises(Exception, match=r"failed|cannot read"):
        await cascade.run(flow, state=store.state, run_id="night", on_error="continue", **as_run)
    return await details(store)


async def test_a_failure_says_whether_it_was_handled(store: StoreUnderTest, schedule: Any) -> None:
    handled, items = read("bad a"), read.map(row=["bad b"]).with_errors("collect")
    flow = [cascade.settled(handled), step(2).after(handled.or_else(1)), items, parse("bad c")]
    found = await failed(store, flow, schedule=schedule)
    assert {node: detail.handled for node, detail in found.items()} == {
        "read": True,
        "read#2[0]": True,
        "parse": False,
    }


async def test_a_node_that_failed_says_why_and_with_what(store: StoreUnderTest, schedule: Any) -> None:
    before = time.time()
    found = await failed(store, [read("bad row", strict=False), parse("bad line"), step(1)], schedule=schedule)
    assert set(found) == {"read", "parse"}
    on_loop, in_thread = found["read"], found["parse"]
    assert on_loop.arguments == [("row", "'bad row'"), ("strict", "False")]
    assert on_loop.worker == "event loop"
    assert in_thread.worker is not None
    assert in_thread.worker.startswith("thread ")
    for detail, row in ((on_loop, "bad row"), (in_thread, "bad line")):
        assert detail.started is not None
        assert before - 1 <= detail.started <= time.time() + 1
        assert detail.traceback is not None
        assert detail.traceback.startswith("Traceback (most recent call last):\n")
        assert detail.traceback.endswith(f"ValueError: cannot read {row}")
        assert 'raise ValueError(f"cannot read {row}")' in detail.traceback
        assert "/cascade/" not in detail.traceback.replace("/tests/", "")
        assert detail.caused_by is None


async def test_each_attempt_is_told_and_the_pauses_between(store: StoreUnderTest) -> None:
    found = await failed(store, often("bad").with_retry(max_attempts=3, delay=0.001))
    attempts = found["often"].attempts
    assert [(made.number, made.error) for made in attempts] == [
        (number, f"ValueError: cannot read bad, attempt {number}") for number in (1, 2, 3)
    ]
    assert [made.started for made in attempts] == sorted(made.started for made in attempts)
    assert [remark.text.partition(" for ")[0] for remark in found["often"].remarks] == ["rests", "rests"]
    assert found["often"].started == attempts[0].started


async def test_of_very_many_attempts_the_first_and_the_last_are_told(store: StoreUnderTest) -> None:
    found = await failed(store, often("bad" + "x" * 1000).with_retry(max_attempts=70))
    numbers = [made.number for made in found["often"].attempts]
    assert numbers == [*range(1, 6), *range(26, 71)]
    assert all(len(made.error) == 500 for made in found["often"].attempts)


async def test_a_map_names_the_item_that_failed(store: StoreUnderTest, schedule: Any) -> None:
    found = await failed(store, step(often.map(row=["good", "bad", "good"])), schedule=schedule)
    assert set(found) == {"often", "often[1]"}
    assert found["often"].caused_by == "often[1]"
    assert found["often"].traceback is None
    assert found["often[1]"].arguments == [("row", "'bad'")]
    assert len(found["often[1]"].attempts) == 3


@cascade.task
async def grow(row: str) -> Any:
    return read(row)


async def test_a_node_names_the_node_of_its_flow_that_failed(store: StoreUnderTest, schedule: Any) -> None:
    found = await failed(store, step(grow("bad")), schedule=schedule)
    assert found["grow"].caused_by == "grow/read"
    assert found["grow/read"].arguments == [("row", "'bad'")]


async def test_what_succeeds_in_the_end_keeps_nothing(store: StoreUnderTest, schedule: Any) -> None:
    flow = [read("bad"), parse("bad"), often("bad"), here("bad")]
    assert set(await failed(store, flow, schedule=schedule)) == {"read", "parse", "often", "here"}
    BROKEN["is"] = False
    await cascade.run(flow, state=store.state, run_id="night", schedule=schedule)
    assert await details(store) == {}


async def test_a_run_that_succeeds_makes_no_table(tmp_path: Path) -> None:
    await cascade.run([read("good"), often("good")], state=f"sqlite:///{tmp_path}/runs.db", run_id="night")
    with closing(sqlite3.connect(tmp_path / "runs.db")) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "details" not in tables


@cascade.task
def recur(depth: int) -> int:
    return 1 + recurse(depth)


def recurse(depth: int) -> int:
    if not depth:
        raise ValueError("cannot read " + "x" * 5000 + "é" * 5000 + "the end")
    return recurse(depth - 1) + 1


async def test_a_long_traceback_is_cut_to_8_kilobytes(store: StoreUnderTest) -> None:
    text = (await failed(store, recur(60)))["recur"].traceback
    assert text is not None
    assert len(text.encode()) <= 8192
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("the end")
    assert "cut here" in text


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@cascade.task
def fail_oddly(value: Any) -> None:
    raise Odd from ValueError("cannot read \ud800")


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


async def test_an_odd_error_with_odd_arguments_is_recorded_all_the_same(store: StoreUnderTest) -> None:
    with pytest.raises(Odd):
        await cascade.run(fail_oddly(Unshowable()), state=store.state, run_id="night")
    detail = (await details(store))["fail_oddly"]
    assert "cannot read \\ud800" in str(detail.traceback)
    assert detail.arguments == [("value", "<Unshowable: its __repr__ raised RuntimeError>")]


async def test_a_store_that_knows_nothing_of_details_works_as_before(any_store: StoreUnderTest) -> None:
    with pytest.raises(ValueError, match="cannot read bad"):
        await cascade.run(step(read("bad")), state=any_store.state, run_id="night")
    BROKEN["is"] = False
    assert await cascade.run(step(read("bad")), state=any_store.state, run_id="night") == "bad"


async def test_secrets_are_in_none_of_it(store: StoreUnderTest) -> None:
    token = cascade.Param("token", secret=True)
    secret = "hunter2-of-the-day"
    with pytest.raises(ValueError, match="cannot read"):
        await cascade.run(often(token), {"token": f"bad {secret}"}, state=store.state, run_id="night")
    detail = (await details(store))["often"]
    assert secret not in repr(detail)
    assert detail.arguments == [("row", "***")]
    assert "cannot read ***" in str(detail.traceback)
    assert all("***" in made.error for made in detail.attempts)


# -- turns of loops, and what else forgets ---------------------------------------------------------------------


@cascade.task
async def turn(left: int) -> Any:
    return turn(left - 1, ) if left else read("bad")  # fmt: skip


async def test_a_loop_keeps_the_details_of_its_last_turn(store: StoreUnderTest, schedule: Any) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        await cascade.run(turn(3), state=store.state, run_id="night", schedule=schedule)
    assert "ValueError: cannot read bad" in str((await details(store))["read"].traceback)
    BROKEN["is"] = False
    assert await cascade.run(turn(3), state=store.state, run_id="night", schedule=schedule) == "bad"
    assert await details(store) == {}


async def test_forgetting_and_clearing_forget_the_details_too(store: StoreUnderTest) -> None:
    flow = [read("bad"), parse("bad")]
    await failed(store, flow)
    backend = store.open("night")
    from cascade.runtime.durability.records import Opening  # the run is taken as a resumed one takes it

    await backend.begin(Opening(False, ["read", "parse"], b"flow", {}))
    await backend.forget(["read"])
    assert set(await details(store)) == {"parse"}
    await backend.clear()
    assert await details(store) == {}
    await backend.aclose()


# -- files and keys of before ----------------------------------------------------------------------------------

OLD_FILE = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, flow TEXT, params TEXT, origin TEXT,
    flow_digest BLOB, created REAL NOT NULL, updated REAL NOT NULL, finished REAL, error TEXT,
    epoch INTEGER NOT NULL DEFAULT 0, owner TEXT, lease_until REAL NOT NULL DEFAULT 0,
    turn INTEGER, continuation BLOB, result BLOB
);
CREATE TABLE nodes (
    run INTEGER NOT NULL REFERENCES runs(id), node_id TEXT NOT NULL, status TEXT NOT NULL, task TEXT, reason TEXT,
    attempts INTEGER, duration REAL, error TEXT, recorded REAL NOT NULL, is_durable INTEGER NOT NULL DEFAULT 1,
    digest BLOB, value BLOB, PRIMARY KEY (run, node_id)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs(id), time REAL NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX events_of_run ON events (run);
INSERT INTO runs (run_id, status, flow, params, created, updated, finished, error, epoch)
    VALUES ('night', 'failed', '["read"]', '{}', 1000, 1001, 1001, 'ValueError: cannot read bad', 1);
INSERT INTO nodes VALUES (1, 'step', 'succeeded', 'step', NULL, 1, 0.5, NULL, 1001, 1, NULL, x'80054b072e');
INSERT INTO nodes VALUES
    (1, 'read', 'failed', 'read', NULL, 1, 0.5, 'ValueError: cannot read bad', 1001, 1, NULL, NULL);
PRAGMA user_version = 2;
"""


async def test_a_file_of_before_is_read_and_written(tmp_path: Path) -> None:
    path, state = tmp_path / "runs.db", f"sqlite:///{tmp_path}/runs.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(OLD_FILE)
    path.chmod(0o600)
    run = await api.recorded_run(state, "night")
    assert [(node.node_id, node.error, node.detail, node.label) for node in run.nodes] == [
        ("read", "ValueError: cannot read bad", None, None),
        ("step", None, None, None),
    ]
    flow = [step(5), read("bad")]
    with pytest.raises(ValueError, match="cannot read bad"):
        await cascade.run(flow, state=state, run_id="night")
    nodes = {node.node_id: node for node in (await api.recorded_run(state, "night")).nodes}
    assert nodes["step"].recorded == 1001
    assert nodes["read"].detail is not None
    BROKEN["is"] = False
    assert await cascade.run(flow, state=state, run_id="night") == [7, "bad"]  # what was recorded, not 5


@pytest.mark.parametrize(
    "text",
    [
        "{", '{"started": NaN}', '{"started": 1e300}', '{"remarks": [{"at": Infinity, "text": "waits"}]}',
        '{"attempts": [{"number": 1, "started": 1.0, "duration": -Infinity, "error": "x"}]}',
        '{"attempts": [{"number": 1e999, "started": 1.0, "duration": 1.0, "error": "x"}]}',
    ],
)  # fmt: skip
async def test_damaged_details_are_named_and_hide_nothing(durable: StoreUnderTest, client: Any, text: str) -> None:
    await failed(durable, [read("bad"), parse("bad")])
    if durable.name == "redis":
        client.hset("cascade:run:night:details", "read", text)
    else:
        with closing(sqlite3.connect(durable.state.removeprefix("sqlite:///"))) as file, file:
            file.execute("UPDATE details SET detail = ? WHERE node_id = 'read'", (text,))
    nodes = {node.node_id: node for node in (await api.recorded_run(durable.state, "night")).nodes}
    assert nodes["read"].error == "ValueError: cannot read bad; its record is damaged (detail)"
    assert nodes["read"].detail is None
    assert nodes["parse"].detail is not None


# -- crashes ---------------------------------------------------------------------------------------------------


@pytest.mark.needs("trio")
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_after_a_crash_at_any_write_only_what_failed_has_details(when: Any, schedule: Any) -> None:
    flow = [step(step(1)), often.map(row=["a", "bad", "c"]), parse("good"), read("bad")]
    as_run: Any = {"run_id": "run", "on_error": "continue", "durability": "task", "schedule": schedule}
    for at in itertools.count(1):
        BROKEN["is"] = True
        store = InMemoryStateBackend("run")
        faults = FaultPlan(store=Crash(at, when))
        first = simulate(flow, state=lambda _, store=store: store, faults=faults, **as_run)
        done = set(store._results) | set(store._skips)
        assert done.isdisjoint(store.details), at
        assert set(store.details) <= {"often", "often[1]", "read"}, at
        BROKEN["is"] = False
        second = simulate(flow, state=lambda _, store=store: store, **as_run)
        assert second.result() == [1, ["a", "bad", "c"], "good", "bad"]
        assert store.details == {}, at
        if not first.has_crashed:
            assert at > 3
            return


# -- several entries of one node in a batch --------------------------------------------------------------------


@cascade.task(retry=3)
def third_time(value: int) -> int:
    if cascade.current().attempt < 3:
        raise ValueError("cannot read it yet")
    return value


@pytest.mark.parametrize("durability", ["exit", "task"])
async def test_a_success_is_not_replaced_by_the_attempts_before_it(store: StoreUnderTest, durability: Any) -> None:
    flow = [third_time(5), third_time.map(value=[1, 2]), read("bad").after(third_time(6))]
    found = await failed(store, flow, durability=durability)
    assert set(found) == {"read"}
    backend = store.open("night")
    recorded = await backend.recall(["third_time", "third_time#2[0]", "third_time#2[1]", "third_time#3"])
    assert len(recorded) == 4
    await backend.aclose()
