"""The page of a store: its runs, and what can be done with those that other processes execute."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from life import forever, joined, just, until

import cascade
from cascade.adapters.pages.server.sources.remote import RemoteRuns
from cascade.adapters.pages.server.sources.source import RefusedAction, Update
from cascade.adapters.pages.server.sources.stored import StoredRuns
from cascade.runtime.control.connector import ConnectorError, Subscription
from cascade.runtime.engine.upkeep import delete_runs
from cascade.testing import MemoryBroker, MemoryConnector


@pytest.fixture
def state(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs.db"


@asynccontextmanager
async def reached(broker: MemoryBroker) -> AsyncIterator[RemoteRuns]:
    connector = MemoryConnector(broker)
    await connector.connect()
    try:
        yield RemoteRuns(connector, "memory:")
    finally:
        await connector.disconnect()


async def heard(updates: AsyncGenerator[Update, None], name: str) -> Any:
    """What the next update of that name says."""
    async with aclosing(updates):
        async for update in updates:
            if update.name == name:
                return json.loads(update.data)
    raise AssertionError(f"there was no update {name!r}")


async def test_a_run_that_has_ended_is_shown_and_can_do_nothing(state: str) -> None:
    await cascade.run(joined(just(1)), run_id="one", state=state)
    shown = await StoredRuns(state).show("one")

    assert shown is not None
    assert shown.document["run"]["status"] == "succeeded"
    assert 'data-node="joined"' in shown.svg
    assert not shown.actions
    changes = await heard(StoredRuns(state).updates("one"), "changes")
    assert changes["sections"]["run"]["counts"]["succeeded"] == 2
    assert [bar[3] for bar in changes["bars"]["add"]] == ["just", "joined"]


async def test_runs_are_listed_the_latest_first(state: str) -> None:
    await cascade.run(just(1), run_id="one", state=state)
    await cascade.run(just(2), run_id="two", state=state)
    rows = (await heard(StoredRuns(state).list_updates(), "runs"))["runs"]

    assert [(row["id"], row["status"], row["counts"]) for row in rows] == [
        ("two", "succeeded", {"succeeded": 1}),
        ("one", "succeeded", {"succeeded": 1}),
    ]
    assert await StoredRuns(state).show("three") is None


async def test_a_signal_is_sent_to_a_run_that_nobody_executes(state: str) -> None:
    flow = just(cascade.signal("go", int))
    with pytest.raises(cascade.RunSuspended):
        await cascade.run(flow, run_id="one", state=state, when_idle="suspend")
    runs = StoredRuns(state)
    shown = await runs.show("one")

    assert shown is not None
    assert shown.actions == ("send",)
    assert (await heard(runs.updates("one"), "control"))["signals"] is None
    with pytest.raises(RefusedAction, match="'many'"):
        await runs.act("one", "send", {"name": "go", "value": "many"})
    with pytest.raises(RefusedAction, match="a name and a value"):
        await runs.act("one", "send", {"name": "go"})
    assert "when it is resumed" in await runs.act("one", "send", {"name": "go", "value": "7"})
    assert await cascade.run(flow, run_id="one", state=state) == 7


async def test_without_a_way_to_its_process_a_run_takes_signals_only(state: str) -> None:
    async with cascade.start(cascade.signal("go"), run_id="one", state=state) as run:
        runs = StoredRuns(state)
        await until(lambda: bool(run.status().waiting))
        shown = await runs.show("one")
        assert shown is not None
        assert shown.actions == ("send",)
        assert "--via" in shown.why_not
        with pytest.raises(RefusedAction, match="--via"):
            await runs.act("one", "pause", {})
        await runs.act("one", "send", {"name": "go", "value": "now"})
        with anyio.fail_after(20):
            assert await run.result() == "now"


async def test_a_run_of_another_process_is_steered_over_a_connector(state: str) -> None:
    broker = MemoryBroker()
    flow = joined(cascade.settled(forever()), cascade.signal("go"))
    with pytest.raises(cascade.RunCancelled):
        async with (
            cascade.start(
                flow, run_id="one", state=state, control=MemoryConnector(broker), schedule="eager"
            ) as run,
            reached(broker) as remote,
        ):
            runs = StoredRuns(state, remote)
            await until(lambda: bool(run.status().running))
            shown = await runs.show("one")
            assert shown is not None
            assert "cancel" in shown.actions

            await runs.act("one", "pause", {})
            await runs.act("one", "limit", {"concurrency": 2})
            known = await heard(runs.updates("one"), "control")
            assert known["paused"]
            assert len(known["rules"]) == 2
            await runs.act("one", "resume", {})
            assert not (await heard(runs.updates("one"), "control"))["paused"]
            with pytest.raises(RefusedAction):
                await runs.act("one", "cancel_node", {"node": "nobody"})
            assert "forever" in await runs.act("one", "cancel_node", {"node": "forever"})
            with pytest.raises(RefusedAction, match="no action 'explode'"):
                await runs.act("one", "explode", {})
            assert "being cancelled" in await runs.act("one", "cancel", {})


async def test_a_run_that_is_not_connected_says_so(state: str) -> None:
    async with (
        cascade.start(cascade.signal("go"), run_id="one", state=state) as run,
        reached(MemoryBroker()) as remote,
    ):
        shown = await StoredRuns(state, remote).show("one")
        assert shown is not None
        assert shown.actions == ("send",)
        assert "not connected to memory:" in shown.why_not
        run.cancel()


class Lost(MemoryConnector):
    """A connector whose broker has gone."""

    async def begin(self, subscription: Subscription) -> None:
        raise ConnectorError("the broker is not there")


async def test_a_connector_that_is_out_of_reach_keeps_nothing_from_being_shown(state: str) -> None:
    async with cascade.start(cascade.signal("go"), run_id="one", state=state) as run:
        await until(lambda: bool(run.status().waiting))
        runs = StoredRuns(state, RemoteRuns(Lost(), "memory:"))
        shown = await runs.show("one")
        assert shown is not None
        assert shown.actions == ("send",)
        assert shown.why_not.startswith("its process is out of reach: ")
        assert "is not known" in (await heard(runs.updates("one"), "control"))["note"]
        run.cancel()


@pytest.mark.parametrize("gone", ["file", "run"])
async def test_a_store_that_cannot_be_read_any_more_is_told_and_ends_the_updates(gone: str, state: str) -> None:
    await cascade.run(just(1), run_id="one", state=state)
    if gone == "file":
        await anyio.Path(state.removeprefix("sqlite:///")).unlink()
    else:
        (run,) = await cascade.api.recorded_runs(state)
        await delete_runs(state, [run])
    runs = StoredRuns(state)
    for updates in [runs.updates("one")] + ([runs.list_updates()] if gone == "file" else []):
        async with aclosing(updates):
            (update,) = [update async for update in updates]
        assert update.name == "lost"
        assert "there is no " in json.loads(update.data)["why"]


async def test_numbers_of_a_store_are_told(state: str) -> None:
    await cascade.run(joined(just(1)), run_id="one", state=state)
    lines = (await StoredRuns(state).metrics()).splitlines()

    assert 'cascade_runs{status="succeeded"} 1' in lines
    assert 'cascade_recorded_nodes{status="succeeded"} 2' in lines
