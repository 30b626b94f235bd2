"""What nodes wrote is read of so many nodes as are shown; of the others it is known that they wrote something."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from plain_tasks import step

import cascade
from cascade import api
from cascade.runtime.durability.details.captured import Captured, captured_var
from cascade.runtime.engine.history import run_to_show
from state.stores import StoreUnderTest


@pytest.fixture(autouse=True)
def captured() -> Iterator[None]:
    token = captured_var.set(Captured())
    yield
    captured_var.reset(token)


@cascade.task
async def say(word: Any) -> str:
    captured = captured_var.get()
    assert captured is not None
    captured.write(str(word))
    return str(word)


@cascade.task
async def fail(words: Any) -> None:
    raise ValueError("no luck")


async def logs(state: str, most: int | None) -> dict[str, str | None]:
    """What is read of what each node wrote."""
    run = await run_to_show(state, "night", most)
    assert run.error in (None, "ValueError: no luck")
    assert [node.error for node in run.nodes if node.status == "succeeded"] == [None] * run.counts["succeeded"]
    return {node.node_id: node.detail.log for node in run.nodes if node.detail is not None}


async def test_what_the_newest_nodes_wrote_is_read_and_all_else_of_those_that_failed(
    durable: StoreUnderTest,
) -> None:
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run(fail(say(say(say(step("a"))))), run_id="night", state=durable.state)

    assert await logs(durable.state, None) == {"say": "a", "say#2": "a", "say#3": "a", "fail": None}
    assert await logs(durable.state, 2) == {"say": "", "say#2": "a", "say#3": "a", "fail": None}
    assert await logs(durable.state, 0) == {"say": "", "say#2": "", "say#3": "", "fail": None}
    assert await logs(durable.state, 9) == await logs(durable.state, None)
    [failed] = [node for node in (await run_to_show(durable.state, "night", 0)).nodes if node.status == "failed"]
    assert failed == next(n for n in (await api.recorded_run(durable.state, "night")).nodes if n.node_id == "fail")
    assert failed.detail is not None
    assert failed.detail.traceback


async def test_of_nodes_that_are_recorded_at_once_the_newest_is_the_one_that_ended_last(
    durable: StoreUnderTest,
) -> None:
    await cascade.run(say.map(word=list(range(12))), run_id="night", state=durable.state)

    nodes = [node for node in (await run_to_show(durable.state, "night", 3)).nodes if node.detail is not None]
    nodes.sort(key=lambda node: (node.started or 0.0) + node.duration)
    assert [bool(node.detail and node.detail.log) for node in nodes] == [False] * 9 + [True] * 3


async def test_a_file_of_before_says_what_nodes_wrote(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    await cascade.run(say(say("a")), run_id="night", state=state)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as file:
        file.execute("ALTER TABLE nodes DROP COLUMN started")

    assert list((await logs(state, 1)).values()) == ["", "a"]


async def test_what_is_not_shown_is_not_read(durable: StoreUnderTest) -> None:
    await cascade.run(say(say(step("a"))), run_id="night", state=durable.state)
    if durable.name == "sqlite":
        with closing(sqlite3.connect(durable.state.removeprefix("sqlite:///"))) as file, file:
            file.execute("UPDATE details SET detail = 'damaged' WHERE node_id = 'say'")
    else:
        import redis

        with redis.Redis.from_url(durable.state) as client:
            client.hset("cascade:run:night:details", "say", "damaged")

    assert await logs(durable.state, 1) == {"say": "", "say#2": "a"}
    [damaged] = [node for node in (await api.recorded_run(durable.state, "night")).nodes if node.node_id == "say"]
    assert "detail" in str(damaged.error)


async def test_a_run_that_captured_nothing_is_read_as_ever(durable: StoreUnderTest) -> None:
    captured_var.set(None)
    await cascade.run(step("a"), run_id="night", state=durable.state)

    assert await logs(durable.state, 1) == {}
