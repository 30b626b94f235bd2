"""What stores tell people of their runs."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import threading
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import attrs
import pytest
from anyio import sleep
from plain_tasks import fail, step
from real_time import hold_thread

import cascade
from cascade import api
from cascade.adapters.state.ownership import Owner
from cascade.testing import record_events
from state.stores import StoreUnderTest
from state.test_ownership import elsewhere, take


async def test_runs_are_listed_the_latest_first(durable: StoreUnderTest) -> None:
    for run_id in ("one", "two"):
        await cascade.run(step(step(1)), state=durable.state, run_id=run_id)
    runs = await api.recorded_runs(durable.state)
    assert [run.run_id for run in runs] == ["two", "one"]
    assert [run.status for run in runs] == ["succeeded", "succeeded"]
    assert runs[0].counts == {"succeeded": 2}
    assert runs[0].nodes == ()
    assert runs[0].flow == ["step#2"]
    assert runs[0].finished is not None


async def test_a_run_is_shown_with_its_nodes(durable: StoreUnderTest) -> None:
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run([step(1), fail()], state=durable.state, run_id="night", on_error="first")
    run = await api.recorded_run(durable.state, "night")
    assert (run.status, run.error, run.epoch) == ("failed", "ValueError: no luck", 1)
    nodes = {node.node_id: node for node in run.nodes}
    assert nodes["step"].status == "succeeded"
    assert nodes["step"].attempts == 1
    assert nodes["fail"].error == "ValueError: no luck"


async def test_handled_failures_are_counted_by_themselves(durable: StoreUnderTest, schedule: Any) -> None:
    decoy = step('"handled": true')  # an argument is no such statement
    handled = [fail().or_else(1), cascade.settled(fail()), cascade.settled(step(fail()))]
    await cascade.run([*handled, step(1)], state=durable.state, run_id="night", schedule=schedule)
    with pytest.raises(cascade.RunFailed):
        flow = [step(fail()), fail().or_else(fail().after(decoy)), decoy]
        await cascade.run(flow, state=durable.state, run_id="day", on_error="continue", schedule=schedule)
    counts = {run.run_id: run.counts for run in await api.recorded_runs(durable.state)}
    assert counts["night"] == {"handled": 3, "succeeded": 1, "skipped": 1}
    assert counts["day"] == {"failed": 2, "handled": 1, "succeeded": 1, "skipped": 1}
    for run_id, counted in counts.items():
        run = await api.recorded_run(durable.state, run_id)
        assert run.counts == counted
        assert {node.status for node in run.nodes} == {"failed", "succeeded", "skipped"}


async def test_failures_of_nodes_that_are_no_more_are_forgotten(durable: StoreUnderTest) -> None:
    @cascade.task(version="1")
    async def refuse(value: int) -> None:
        raise ValueError(value)

    def flow(items: int, end: Any) -> Any:
        return end(refuse.map(value=range(items)).with_errors("collect"))

    with pytest.raises(ValueError, match="no luck"):
        await cascade.run(flow(3, fail), state=durable.state, run_id="day")
    await cascade.run(flow(2, step), state=durable.state, run_id="day", on_change="recompute")
    run = await api.recorded_run(durable.state, "day")
    assert run.counts == {"handled": 2, "succeeded": 2}


async def test_labels_are_recorded_with_their_nodes(durable: StoreUnderTest, schedule: Any) -> None:
    flow = [step(1).with_name("july"), step(2), step(3).run_if(False).with_name("august"), fail().with_name("bad")]
    items = step.map(value=[1, 2], name="number {value}")
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run(fail().after(step(items)), state=durable.state, run_id="night", schedule=schedule)
    with pytest.raises(cascade.RunFailed):
        await cascade.run(flow, state=durable.state, run_id="day", on_error="continue", schedule=schedule)
    night = {node.node_id: node.label for node in (await api.recorded_run(durable.state, "night")).nodes}
    day = {node.node_id: node.label for node in (await api.recorded_run(durable.state, "day")).nodes}
    assert (night["step[0]"], night["step[1]"], night["step#2"]) == ("number 1", "number 2", None)
    assert day == {"step": "july", "step#2": None, "step#3": "august", "fail": "bad"}


@pytest.mark.parametrize("dropped", [["label", "started", "worker"], ["started", "worker"], ["worker"]])
async def test_a_file_of_before_is_read_and_gets_its_columns_when_it_is_written(
    tmp_path: Path, dropped: list[str]
) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    await cascade.run(step(1), state=state, run_id="before")
    with closing(sqlite3.connect(tmp_path / "runs.db")) as file:
        for column in dropped:
            file.execute(f"ALTER TABLE nodes DROP COLUMN {column}")
    [node] = (await api.recorded_run(state, "before")).nodes
    assert [getattr(node, column) for column in dropped] == [None] * len(dropped)
    await cascade.run(step(1).with_name("july"), state=state, run_id="after")
    [node] = (await api.recorded_run(state, "after")).nodes
    assert node.label == "july"
    assert node.started is not None
    assert node.worker is not None
    assert await cascade.run(step(1).with_name("june"), state=state, run_id="before") == 1


WHEN: dict[str, tuple[float, float]] = {}


def noted(value: Any) -> Any:
    """Note when the node at hand was at work."""
    begun = time.time()
    hold_thread(0.005)
    WHEN[cascade.current().node_id] = begun, time.time()
    return value


@cascade.task(mode="inline")
def noted_inline(value: Any) -> Any:
    return noted(value)


@cascade.task
def noted_in_thread(value: Any) -> Any:
    return noted(value)


@cascade.task(retry=2)
async def noted_in_task(value: Any) -> Any:
    return noted(value)


async def test_when_nodes_were_at_work_is_recorded(durable: StoreUnderTest, schedule: Any) -> None:
    WHEN.clear()
    chain: Any = 1
    for one in (noted_inline, noted_in_thread, noted_in_task):
        chain = one(one(chain))
    flow = [chain, noted_in_thread.map(value=[1, 2])]
    await cascade.run(
        [*flow, cascade.settled(step(1).run_if(False))], state=durable.state, run_id="night", schedule=schedule
    )
    nodes = {node.node_id: node for node in (await api.recorded_run(durable.state, "night")).nodes}
    assert nodes["step"].started is None
    assert len(WHEN) == 8
    for node_id, (begun, ended) in WHEN.items():
        node = nodes[node_id]
        assert node.started is not None
        # The two clocks are read one after the other: another thread may have its turn between.
        assert node.started <= begun + 0.05
        assert node.started + node.duration >= ended - 0.05
        assert node.started >= WHEN.get(before := BEFORE.get(node_id, ""), (0, 0))[1] - 0.05, before


# In the chain: the node before each.
BEFORE = {
    "noted_inline#2": "noted_inline", "noted_in_thread": "noted_inline#2", "noted_in_thread#2": "noted_in_thread",
    "noted_in_task": "noted_in_thread#2", "noted_in_task#2": "noted_in_task",
}  # fmt: skip


WHERE: dict[str, str] = {}


def placed(value: Any) -> Any:
    """Note in which thread the node at hand is at work."""
    WHERE[cascade.current().node_id] = f"thread {threading.get_native_id()} of process {os.getpid()}"
    return value


@cascade.task
def in_lane(value: Any) -> Any:
    return placed(value)


@cascade.task(retry=2)
def in_thread(value: Any) -> Any:
    return placed(value)


@cascade.task
async def on_loop(value: Any) -> Any:
    return value


@cascade.task(mode="inline", retry=2)
def inline(value: Any) -> Any:
    return value


@cascade.task
async def later(value: Any) -> Any:
    await sleep(0.001)
    return value


@pytest.mark.parametrize("is_watched", [False, True])
async def test_where_nodes_ran_that_succeeded_is_recorded(
    durable: StoreUnderTest, schedule: Any, is_watched: bool
) -> None:
    WHERE.clear()
    lanes = [in_lane.map(value=[1, 2]), in_thread(in_lane(3))]
    flow = [*lanes, on_loop(1), later(1), inline(2), on_loop(0).run_if(False)]
    engine = cascade.Engine(state=durable.state, schedule=schedule)
    with record_events(engine) if is_watched else nullcontext():
        await engine.run([*flow[:-1], cascade.settled(flow[-1])], run_id="night")

    workers = {node.node_id: node.worker for node in (await api.recorded_run(durable.state, "night")).nodes}
    assert {node_id: workers[node_id] for node_id in WHERE} == WHERE
    assert len(WHERE) == 4
    assert {workers[name] for name in ("on_loop", "later", "inline")} == {"event loop"}
    assert workers["on_loop#2"] is None  # it was skipped


@cascade.task
def dawdle(*_: Any) -> Any:
    hold_thread(0.02)
    if cascade.current().node_id == "dawdle#3":
        raise ValueError("no luck")


async def test_what_runs_in_threads_is_shown_with_its_duration(durable: StoreUnderTest, schedule: Any) -> None:
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run(dawdle(dawdle(dawdle())), state=durable.state, run_id="night", schedule=schedule)
    run = await api.recorded_run(durable.state, "night")
    assert len(run.nodes) == 3
    assert all(node.duration >= 0.02 for node in run.nodes)


async def test_whether_a_run_is_alive_is_told(durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    await take(durable, monkeypatch, elsewhere())
    run = await api.recorded_run(durable.state, "night")
    assert run.status == "running"
    assert "on moon" in str(run.owner)
    monkeypatch.setattr(Owner, "is_dead", lambda _: True)
    assert (await api.recorded_run(durable.state, "night")).status == "interrupted"


BAD = "cascade:run:bad:"


def put(**fields: Any) -> Any:
    """Put these into ``meta``."""
    return lambda client: client.hset(f"{BAD}meta", mapping=fields)


def replace(part: str, kind: str) -> Any:
    """Put another *kind* of value in the place of a key."""

    def change(client: Any) -> None:
        client.delete(f"{BAD}{part}")
        if kind == "text":
            client.set(f"{BAD}{part}", "{}")
        elif kind == "hash":
            client.hset(f"{BAD}{part}", "updated", 5.0)

    return change


# By what is spoiled: a statement for SQLite, whose columns take anything; and what is done in Redis.
SPOILED = {
    "all of it": ("UPDATE runs SET created = 'soon' WHERE run_id = 'bad'", replace("meta", "nothing")),
    "most of it": (
        "UPDATE runs SET updated = 'x', created = x'00' WHERE run_id = 'bad'", replace("meta", "hash")
    ),
    "flow": ("UPDATE runs SET flow = '{' WHERE run_id = 'bad'", put(flow="{")),
    "params": ("UPDATE runs SET params = '5' WHERE run_id = 'bad'", put(params="5")),
    "times": (
        "UPDATE runs SET finished = 'x', turn = 'y' WHERE run_id = 'bad'",
        put(finished="x", turn="y", created="nan"),
    ),
    "owner": (
        "UPDATE runs SET owner = '{}', status = 'running' WHERE run_id = 'bad'", replace("lease", "text")
    ),
    "lease": ("UPDATE runs SET lease_until = 'x', owner = 5 WHERE run_id = 'bad'", replace("lease", "hash")),
    "status": ("UPDATE runs SET status = x'ff00' WHERE run_id = 'bad'", replace("meta", "text")),
    "a node": (
        "UPDATE nodes SET attempts = 'x', duration = 'y', recorded = 'z' WHERE run = 2",
        lambda client: client.hset(f"{BAD}nodes", "step", "nonsense"),
    ),
    "all nodes": ("UPDATE nodes SET node_id = x'ff' WHERE run = 2", replace("nodes", "text")),
    "text": ("UPDATE runs SET error = CAST(x'ff' AS TEXT) WHERE run_id = 'bad'", put(error=b"\xff")),
    "its name": (
        "INSERT INTO runs (run_id, status, created, updated) VALUES (CAST(x'ff' AS TEXT), 'running', 1, 1)",
        lambda client: client.hset(b"cascade:run:\xff:meta", "status", "running"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
async def test_a_damaged_record_hides_no_other_and_says_so(durable: StoreUnderTest, spoil: Any) -> None:
    for run_id in ("good", "bad"):
        await cascade.run(step(1), state=durable.state, run_id=run_id)
    statement, command = spoil
    if durable.name == "sqlite":
        with sqlite3.connect(str(durable.state).removeprefix("sqlite:///")) as file:
            file.execute(statement)
        file.close()
    else:
        import redis

        with redis.Redis.from_url(durable.state) as client:
            command(client)
    runs = {run.run_id: run for run in await api.recorded_runs(durable.state)}
    assert (runs["good"].status, runs["good"].error, runs["good"].counts) == ("succeeded", None, {"succeeded": 1})
    assert {*runs} <= {"good", "bad", "\\xff"}
    for run in runs.values():
        shown = await api.recorded_run(durable.state, run.run_id) if run.run_id != "\\xff" else run
        json.dumps(attrs.asdict(shown), allow_nan=False)
    assert (await api.recorded_run(durable.state, "good")).nodes[0].node_id == "step"


@pytest.mark.parametrize("moment", ["1e300", "-1e12", "9e999"])
async def test_a_moment_that_no_clock_shows_is_damage(durable: StoreUnderTest, moment: str) -> None:
    await cascade.run(step(1), state=durable.state, run_id="bad")
    if durable.name == "sqlite":
        with sqlite3.connect(str(durable.state).removeprefix("sqlite:///")) as file:
            file.execute(f"UPDATE runs SET created = {moment}, finished = {moment}")
        file.close()
    else:
        import redis

        with redis.Redis.from_url(durable.state) as client:
            client.hset(f"{BAD}meta", mapping={"created": moment, "finished": moment})
    run = await api.recorded_run(durable.state, "bad")
    assert run.error == "its record is damaged (created, finished)"
    assert run.created == run.updated
    assert run.finished is None


async def test_signals_that_are_damaged_hide_nothing(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(step(cascade.signal("n", int)), state=state, run_id="bad", when_idle="suspend")
    with sqlite3.connect(tmp_path / "runs.db") as file:
        rows = [("value:a", None, "soon"), ("value:b", 5, 9e999), ("value:c", pickle.dumps((7,)), 1.0)]
        file.execute("CREATE TABLE odd AS SELECT * FROM signals WHERE 0")
        file.execute("DROP TABLE signals")
        file.execute("ALTER TABLE odd RENAME TO signals")
        file.executemany("INSERT INTO signals (run, key, value, recorded) VALUES (1, ?, ?, ?)", rows)
    file.close()
    run = await api.recorded_run(state, "bad")
    assert [(signal.name, signal.value, signal.accepted) for signal in run.signals] == [
        ("a", None, None), ("b", None, None), ("c", "7", 1.0),
    ]  # fmt: skip


async def test_what_is_damaged_of_a_record_is_named(durable: StoreUnderTest) -> None:
    await cascade.run(step(1), state=durable.state, run_id="bad")
    if durable.name == "sqlite":
        with sqlite3.connect(str(durable.state).removeprefix("sqlite:///")) as file:
            file.execute("UPDATE runs SET flow = '{', params = 'x'")
        file.close()
    else:
        import redis

        with redis.Redis.from_url(durable.state) as client:
            client.hset(f"{BAD}meta", mapping={"flow": "{", "params": "x"})
    [run] = await api.recorded_runs(durable.state)
    assert run.error == "its record is damaged (flow, params)"
    assert run.status == "succeeded"


async def test_a_run_whose_clock_was_set_back_took_no_negative_time(
    durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time

    @cascade.task
    async def set_back() -> None:
        monkeypatch.setattr(time, "time", lambda: now() - 86_400)

    await cascade.run(set_back(), state=durable.state, run_id="night")
    run = await api.recorded_run(durable.state, "night")
    assert run.finished is not None
    assert run.finished >= run.created
    assert run.updated >= run.created


async def test_a_run_that_is_not_there_is_an_error(durable: StoreUnderTest) -> None:
    await cascade.run(step(1), state=durable.state, run_id="day")
    with pytest.raises(cascade.StateError, match="no run 'night'"):
        await api.recorded_run(durable.state, "night")


async def test_a_file_beside_which_nothing_can_be_kept_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db?shared=on"  # is opened without a look at what is beside it
    await cascade.run(step(1), state=state, run_id="night")
    # Stands for a file system that is read-only.
    (tmp_path / "runs.db-shm").symlink_to(tmp_path / "nowhere" / "shm")
    with pytest.raises(cascade.StateError, match=r"cannot be read: .*: copy it to a folder that can be written"):
        await api.recorded_runs(state)


async def test_a_server_that_is_not_there_is_an_error() -> None:
    pytest.importorskip("redis")
    with pytest.raises(cascade.StateError, match="cannot be read"):
        await api.recorded_runs("redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    "url",
    [
        "redis://someone:hush@127.0.0.1:1/0",
        "redis://:hush@127.0.0.1:1",
        "redis://:hu@hush@127.0.0.1:1/0",
        "redis://hush@127.0.0.1:1/0",
        "redis://127.0.0.1:1/0?password=hush",
    ],
)
async def test_a_password_is_not_shown(url: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(cascade.StateError, match=r"Redis at .*127\.0\.0\.1:1.*cannot be read") as caught:
        await api.recorded_runs(url)
    assert "hush" not in str(caught.value)
    with pytest.raises(ValueError, match="state URL") as refused:
        cascade.Engine(state=url.replace("127.0.0.1:1", "127.0.0.1:one"))
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "setting",
    [
        {"state": "redis://:hush/hush@127.0.0.1:1/0"},
        {"state": "reddis://someone:hush@127.0.0.1:1/0"},
        {"control": "mqt://someone:hush@127.0.0.1"},
        {"control": "mqtt://someone:hush/hush@127.0.0.1"},
    ],
)
def test_a_password_in_a_url_that_means_nothing_is_not_shown(setting: Any) -> None:
    pytest.importorskip("redis")
    pytest.importorskip("paho")
    with pytest.raises(cascade.InputError) as caught:
        cascade.Engine(**setting)
    assert "hush" not in str(caught.value)


def test_a_redis_url_with_an_option_that_its_library_refuses_is_an_error_of_input() -> None:
    pytest.importorskip("redis")
    with pytest.raises(cascade.InputError, match="state URL of Redis"):
        cascade.Engine(state="rediss://127.0.0.1:1/0?ssl_cert_reqs=bogus")
