"""What runs record, when, in which batches; and what happens when the store fails."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio import sleep
from life import forever
from plain_tasks import fail
from strategies_runtime import Store, raised_by
from virtual_time import virtual_loops

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.testing import record_events

anyio_backend = virtual_loops


@cascade.task
async def step(value: Any = None, name: str = "") -> Any:
    return value


# -- what ------------------------------------------------------------------------------------------------------


async def test_results_are_recorded_by_node_id(schedule: Any) -> None:
    store = Store()
    await cascade.run(step([step(1), step(None), step(False)]), state=store, schedule=schedule)
    assert store.held == {"step": 1, "step#2": None, "step#3": False, "step#4": [1, None, False]}


async def test_skips_are_recorded_with_their_reasons(schedule: Any) -> None:
    store = Store()
    flow = [
        cascade.Router(step("key"), {"key": step(), "other": step()}),
        step(step(step()).run_if(False)),
        cascade.sequence([step().run_if(False), step()]),
    ]
    await cascade.run(flow, state=store, schedule=schedule)
    recorded = [str(value) for value in store.held.values() if value is not None]
    assert sorted(recorded) == ["ConditionFalse", "ConditionFalse", "Pruned", "UpstreamSkipped_Sequence", "key"]


async def test_failed_and_cancelled_nodes_are_not_recorded(schedule: Any) -> None:
    store = Store()
    await raised_by([step(fail(step(1))), forever(step(2))], state=store, schedule=schedule)
    assert store.held == {"step": 1, "step#3": 2}


async def test_items_of_a_map_and_cache_hits_are_recorded(schedule: Any) -> None:
    cached = step("kept").with_cache(InputCache(MemoryCacheStore()))
    await cascade.run(cached)
    store = Store()
    await cascade.run([cached, step.map(value=[7, 8])], state=store, schedule=schedule)
    assert store.held == {"step": "kept", "step#2[0]": 7, "step#2[1]": 8, "step#2": [7, 8]}


async def test_a_run_s_id_is_given_to_its_backend() -> None:
    store = Store()
    await cascade.run(step(), state=store, run_id="nightly")
    assert store.run_id == "nightly"


async def test_every_run_of_an_engine_has_a_backend_of_its_own() -> None:
    made: list[Store] = []

    def make(run_id: str) -> Store:
        made.append(Store(run_id))
        return made[-1]

    async with cascade.Engine(state=make) as engine:
        await engine.run(step(1), run_id="one")
        await engine.run(step(2), run_id="two")
    assert [(store.run_id, store.held) for store in made] == [("one", {"step": 1}), ("two", {"step": 2})]


async def test_events_tell_how_much_is_recorded(schedule: Any) -> None:
    async with cascade.Engine(state="memory:", schedule=schedule) as engine:
        with record_events(engine) as recorded:
            await engine.run(step([step(), step(), step(step()).run_if(False)]))
    told = recorded.of(cascade.StateRecorded)
    assert sum(event.count for event in told) == told[-1].total == 5


async def test_without_state_nothing_is_recorded() -> None:
    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            await engine.run(step(step()))
    assert recorded.of(cascade.StateRecorded) == []


@pytest.mark.parametrize("ending", ["success", "failure", "cancellation"])
async def test_what_settled_is_recorded_and_the_backend_closed_however_the_run_ends(
    ending: str, schedule: Any
) -> None:
    store = Store()
    flow = {"success": step(step(1)), "failure": fail(step(1)), "cancellation": [step(1), forever()]}[ending]
    with anyio.move_on_after(50):
        await raised_by(flow, state=store, schedule=schedule, durability="exit")
    assert store.held["step"] == 1
    assert store.closed == 1


# -- when ------------------------------------------------------------------------------------------------------


@cascade.task
async def look(store: Store, _: Any = None) -> set[str]:
    return set(store.held)


async def test_a_stage_is_recorded_as_a_whole_before_the_next_one_starts() -> None:
    store = Store()
    seen = await cascade.run(look(store, [step(1), step(2), step(3)]), state=store)
    assert seen == {"step", "step#2", "step#3"}


async def test_a_stage_is_recorded_in_one_batch() -> None:
    store = Store()
    await cascade.run(step([step(number) for number in range(50)]), state=store)
    assert [len(batch) for batch in store.batches] == [50, 1]


async def test_nodes_are_recorded_in_the_order_in_which_they_settled() -> None:
    @cascade.task
    async def after(seconds: float) -> None:
        await sleep(seconds)

    store = Store()
    await cascade.run([after(3), after(1), after(2)], state=store)
    assert store.batches == [["after#2", "after#3", "after"]]


async def test_the_eager_schedule_records_after_100_milliseconds() -> None:
    @cascade.task
    async def look_later(seconds: float) -> int:
        await sleep(seconds)
        return len(store.held)

    store = Store()
    flow = [step(1), look_later(0.05), look_later(0.2)]
    assert await cascade.run(flow, state=store, schedule="eager") == [1, 0, 2]


async def test_the_eager_schedule_records_after_1000_nodes() -> None:
    @cascade.task
    async def item(n: int) -> None:
        await sleep(0.01)

    @cascade.task
    async def look_soon(_: Any) -> int:
        await sleep(0.01)
        return len(store.held)

    store = Store()
    flow = look_soon(item.map(n=range(1500)).with_concurrency(500))
    assert await cascade.run(flow, state=store, schedule="eager") >= 1000


@pytest.mark.parametrize("size", [1, 30])
async def test_durability_task_records_a_node_before_a_consumer_starts(size: int, schedule: Any) -> None:
    store = Store()
    flow = look(store, [step(number) for number in range(size)])
    seen = await cascade.run(flow, state=store, durability="task", schedule=schedule)
    assert len(seen) == size


async def test_durability_task_does_not_make_others_wait_for_a_record(schedule: Any) -> None:
    async def write_slowly() -> None:
        await sleep(10)

    @cascade.task
    async def works() -> float:
        await sleep(1)
        return anyio.current_time()

    store = Store(before_write=write_slowly)
    began = anyio.current_time()
    settings: Any = {"durability": "task", "schedule": schedule, "cleanup_timeout": 100}
    _, ended = await cascade.run([look(store, step(1)), works()], state=store, **settings)
    assert ended - began == pytest.approx(1)


@pytest.mark.parametrize("size", [3, 2500])
async def test_durability_exit_records_at_the_end_only(size: int, schedule: Any) -> None:
    @cascade.task
    async def item(n: int) -> None:
        await sleep(1)

    store = Store()
    flow = look(store, item.map(n=range(size)).with_concurrency(500))
    seen = await cascade.run(flow, state=store, durability="exit", schedule=schedule)
    assert seen == set()
    assert len(store.held) == size + 2


async def test_recording_goes_on_beside_the_work() -> None:
    async def write_slowly() -> None:
        await sleep(1)

    @cascade.task
    async def work(_: Any) -> None:
        await sleep(1)

    began = anyio.current_time()
    flow = work(work(work(step())))
    await cascade.run(flow, state=Store(before_write=write_slowly), schedule="eager")
    assert anyio.current_time() - began <= 4.5
