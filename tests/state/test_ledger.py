"""What stores tell people of their runs."""

from __future__ import annotations

import time
from typing import Any

import pytest

import cascade
from cascade import api
from cascade.adapters.state.ownership import Owner
from state.stores import StoreUnderTest
from state.test_ownership import elsewhere, step, take


@cascade.task
async def fail() -> Any:
    raise ValueError("no luck")


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


@cascade.task
def dawdle(*_: Any) -> Any:
    time.sleep(0.05)
    if cascade.current().node_id == "dawdle#3":
        raise ValueError("no luck")


async def test_what_runs_in_threads_is_shown_with_its_duration(durable: StoreUnderTest, schedule: Any) -> None:
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run(dawdle(dawdle(dawdle())), state=durable.state, run_id="night", schedule=schedule)
    run = await api.recorded_run(durable.state, "night")
    assert len(run.nodes) == 3
    assert all(node.duration >= 0.05 for node in run.nodes)


async def test_whether_a_run_is_alive_is_told(durable: StoreUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    await take(durable, monkeypatch, elsewhere())
    run = await api.recorded_run(durable.state, "night")
    assert run.status == "running"
    assert "on moon" in str(run.owner)
    monkeypatch.setattr(Owner, "is_dead", lambda _: True)
    assert (await api.recorded_run(durable.state, "night")).status == "interrupted"


async def test_a_run_that_is_not_there_is_an_error(durable: StoreUnderTest) -> None:
    await cascade.run(step(1), state=durable.state, run_id="day")
    with pytest.raises(cascade.StateError, match="no run 'night'"):
        await api.recorded_run(durable.state, "night")


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
