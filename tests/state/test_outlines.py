"""What stores keep of the flow of a run: its outline, for people."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from leaks import texts_in_sqlite
from plain_tasks import fail, step

import cascade
from cascade import api
from cascade.adapters.sqlite_file import PATIENCE
from cascade.adapters.state.redis.lease import PARTS
from cascade.runtime.engine.upkeep import delete_runs, find_damage
from state.stores import StoreUnderTest


async def outlined(store: StoreUnderTest) -> list[str]:
    """The nodes of the run, as far as its outline is recorded."""
    outline = (await api.recorded_run(store.state, "night")).outline
    return [] if outline is None else [vertex.key for vertex in outline.vertices]


def change(store: StoreUnderTest, statement: str, command: Any) -> None:
    """Change the store past the library: by SQL, or by a *command* to Redis."""
    if store.name == "sqlite":
        with closing(sqlite3.connect(str(store.state).removeprefix("sqlite:///"))) as file:
            file.execute(statement)
            file.commit()
        return
    import redis

    with redis.Redis.from_url(store.state) as client:
        command(client)


async def test_the_nodes_of_a_run_and_what_each_needs_are_recorded(durable: StoreUnderTest, schedule: Any) -> None:
    flow = step([step(1).with_name("july"), step.map(value=[1, 2])])
    await cascade.run(flow, state=durable.state, run_id="night", schedule=schedule)
    [listed] = await api.recorded_runs(durable.state)
    assert listed.outline is None  # a list has no need of it
    outline = (await api.recorded_run(durable.state, "night")).outline
    assert outline is not None
    assert [(vertex.key, vertex.task, vertex.kind, vertex.note) for vertex in outline.vertices] == [
        ("step", "step", "call", "july"), ("step#2", "step", "map", "map"), ("step#3", "step", "call", ""),
    ]  # fmt: skip
    assert {(arrow.source, arrow.target) for arrow in outline.arrows} == {(0, 2), (1, 2)}


async def test_it_is_there_while_the_run_goes_on(durable: StoreUnderTest) -> None:
    async with cascade.start(step(cascade.signal("go", int)), state=durable.state, run_id="night") as run:
        await run.send("go", 1)
        assert await outlined(durable) == ["go", "step"]
        assert await run.result() == 1


async def test_a_run_that_goes_on_keeps_it_and_one_that_is_refused_does_too(durable: StoreUnderTest) -> None:
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run([step(1), fail()], state=durable.state, run_id="night")
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run([step(1), fail()], state=durable.state, run_id="night")
    assert await outlined(durable) == ["step", "fail"]
    with pytest.raises(cascade.FlowChangedError):
        await cascade.run(step(step(2)), state=durable.state, run_id="night")
    assert await outlined(durable) == ["step", "fail"]


@pytest.mark.parametrize("settings", [{"on_change": "recompute"}, {"on_finished": "rerun"}])
async def test_another_flow_has_its_own(durable: StoreUnderTest, settings: Any) -> None:
    await cascade.run([step(1), step(2)], state=durable.state, run_id="night")
    await cascade.run(step(step(3)), state=durable.state, run_id="night", **settings)
    outline = (await api.recorded_run(durable.state, "night")).outline
    assert outline is not None
    assert [(arrow.source, arrow.target) for arrow in outline.arrows] == [(0, 1)]


async def test_a_fork_has_its_own(durable: StoreUnderTest) -> None:
    await cascade.run(step(1), state=durable.state, run_id="night")
    await cascade.run(step(step(2)), state=durable.state, run_id="night", on_change="fork")
    assert await outlined(durable) == ["step"]
    [fork] = [run for run in await api.recorded_runs(durable.state) if run.run_id != "night"]
    outline = (await api.recorded_run(durable.state, fork.run_id)).outline
    assert outline is not None
    assert len(outline.vertices) == 2


async def test_a_deleted_run_leaves_none(durable: StoreUnderTest) -> None:
    await cascade.run(step(1), state=durable.state, run_id="night")
    await delete_runs(durable.state, await api.recorded_runs(durable.state))
    if durable.name == "sqlite":
        with closing(sqlite3.connect(str(durable.state).removeprefix("sqlite:///"))) as file:
            left = file.execute("SELECT * FROM outlines").fetchall()
    else:
        import redis

        with redis.Redis.from_url(durable.state) as client:
            left = client.keys("cascade:run:night:*")
    assert left == []


def delete_as_before(store: StoreUnderTest) -> None:
    """Delete the run "night" as versions do that know of no outlines."""
    change(
        store,
        "DELETE FROM runs",
        lambda client: client.delete(*(f"cascade:run:night:{part}" for part in PARTS if part != "outline")),
    )
    if store.name == "sqlite":
        for part in ("nodes", "events"):
            change(store, f"DELETE FROM {part}", None)


async def test_one_that_an_older_version_has_left_is_no_damage_and_of_no_other_run(
    durable: StoreUnderTest,
) -> None:
    await cascade.run(step(1), state=durable.state, run_id="night")
    delete_as_before(durable)
    assert await find_damage(durable.state) == []
    await cascade.run(step(step(2)), state=durable.state, run_id="night")
    assert await outlined(durable) == ["step", "step#2"]


async def test_one_that_an_older_version_has_left_goes_when_other_runs_do(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    for run_id in ("night", "day"):
        await cascade.run(step(1), state=state, run_id=run_id)
    runs = await api.recorded_runs(state)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as file:
        for table, column in (("nodes", "run"), ("events", "run"), ("runs", "id")):
            file.execute(f"DELETE FROM {table} WHERE {column} = (SELECT id FROM runs WHERE run_id = 'night')")
        file.commit()
        await delete_runs(state, [run for run in runs if run.run_id == "day"])
        assert file.execute("SELECT * FROM outlines").fetchall() == []


async def test_to_look_for_such_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    await cascade.run(step(1), state=state, run_id="night")
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        with anyio.fail_after(PATIENCE / 2):
            assert await delete_runs(state, []) == []


async def test_a_damaged_one_is_named_and_hides_nothing(durable: StoreUnderTest) -> None:
    await cascade.run(step(1), state=durable.state, run_id="night")
    change(
        durable, "UPDATE outlines SET outline = '{'", lambda client: client.set("cascade:run:night:outline", "{")
    )
    run = await api.recorded_run(durable.state, "night")
    assert run.outline is None
    assert run.error == "its record is damaged (outline)"
    assert [node.node_id for node in run.nodes] == ["step"]
    [damage] = await find_damage(durable.state)
    assert "outline" in damage.what


async def test_a_file_of_before_is_read_and_written(tmp_path: Path) -> None:
    state = f"sqlite:///{tmp_path}/runs.db"
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run([step(1), fail()], state=state, run_id="night")
    with closing(sqlite3.connect(tmp_path / "runs.db")) as file:
        file.execute("DROP TABLE outlines")
        file.commit()
    assert (await api.recorded_run(state, "night")).outline is None
    assert await find_damage(state) == []
    with pytest.raises(ValueError, match="no luck"):
        await cascade.run([step(1), fail()], state=state, run_id="night")
    assert (await api.recorded_run(state, "night")).outline is not None


async def test_nothing_is_recorded_where_nobody_can_read_it(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Curious(cascade.state.InMemoryStateBackend):
        async def begin(self, opening: Any) -> Any:
            seen.append(opening.outline)
            return await super().begin(opening)

    backend = Curious("night")
    await cascade.run(step(1), state=lambda _: backend, run_id="night")
    backend.can_resume = False
    await cascade.run(step(1), state=lambda _: backend, run_id="night", on_finished="rerun")
    assert seen[0] is not None
    assert seen[1] is None


SECRET = "hunter2-of-the-day"


async def test_no_secret_is_in_it(tmp_path: Path) -> None:
    token = cascade.Param("token", secret=True)
    named = step(token).with_name(f"for {SECRET}")
    flow = [
        cascade.Router(token, {SECRET: step(named), "b": step(2)}),
        step.map(value=[1], name=SECRET + " {value}"),
    ]
    state = f"sqlite:///{tmp_path}/runs.db"
    await cascade.run(flow, {"token": SECRET}, state=state, run_id="night")
    outline = (await api.recorded_run(state, "night")).outline
    assert outline is not None
    assert "***" in str(outline)
    assert SECRET not in str(outline)
    assert SECRET not in texts_in_sqlite(tmp_path / "runs.db")
