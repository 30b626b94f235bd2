"""How far a run is, as counted from its events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from anyio import current_time, sleep
from hypothesis import given
from hypothesis import strategies as st
from plain_tasks import one
from strategies_events import any_events
from virtual_time import virtual_loops

import cascade
from cascade.adapters.observers.tally import Tally, parts_of
from cascade.testing import RandomFlow, flows

anyio_backend = virtual_loops


def hearing(tally: Tally) -> Any:
    """An observer that lets *tally* hear all."""

    async def hear(events: Any) -> None:
        async for event in events:
            tally.hear(event, current_time())
            check(tally)

    hear.kinds = (cascade.Event, cascade.AttemptStarted)  # type: ignore[attr-defined]  # as observers say it
    return hear


def check(tally: Tally) -> None:
    """What is always so."""
    active = list(tally.active.values())
    for task in tally.tasks.values():
        assert task.counts["running"] == sum(node.task is task and not node.waits for node in active)
        assert task.counts["waiting"] == sum(node.task is task and bool(node.waits) for node in active)
        assert 0 <= task.ended <= task.total
    left = tally.left(current_time())
    assert left is None or left >= 0


async def counted(flow: Any, **settings: Any) -> Tally:
    """The tally of a run of *flow*, however it ends."""
    tally = Tally()
    try:
        await cascade.run(flow, observers=[hearing(tally)], **settings)
    except Exception:  # what is counted is looked at, not what is raised
        return tally
    return tally


@cascade.task
async def double(x: int, *_: Any) -> int:
    return 2 * x


@cascade.task
async def several(n: int) -> list[int]:
    return list(range(n))


# -- what is known ahead -----------------------------------------------------------------------------------------


PARAM = cascade.Param[Any]("numbers", type=lambda text: text, default=[1, 2, 3])


@pytest.mark.parametrize(
    ("flow", "total", "is_open"),
    [
        ([one(), one(), double(one())], 4, False),
        (double.map(x=range(5)), 5, False),
        (double.map(x=double.map(x=double.map(x=(1, 2)))), 6, False),
        (double.map(x=PARAM), 3, False),
        (double.map(x=several(7)), 1, True),
        (double.map(x=[]), 0, False),
        (one(double.map(x=range(5)), double.map(x=range(6)), double(1)), 13, False),
        (cascade.Router(one(), {1: double(1), 2: double(2)}), 3, False),
        ([], 0, False),
    ],
    ids=["calls", "items", "items of items", "a param", "unknown", "none", "both", "routes", "nothing"],
)
async def test_the_number_of_nodes_is_known_ahead_items_included(flow: Any, total: int, is_open: bool) -> None:
    tally = Tally()
    async with cascade.start(flow) as run, run.subscribe() as events:
        tally.hear(await events.receive(), 0)
        assert (tally.total, tally.is_open, tally.ended) == (total, is_open, 0)
        async for event in events:
            tally.hear(event, 0)

    assert not tally.is_open


@pytest.mark.parametrize("schedule_name", ["stages", "eager"])
async def test_a_map_whose_length_is_not_known_counts_when_it_begins(schedule_name: Any) -> None:
    tally = await counted(one(double.map(x=several(7))), schedule=schedule_name)

    assert {name: (task.ended, task.total) for name, task in tally.tasks.items()} == {
        "several": (1, 1),
        "double": (7, 7),
        "one": (1, 1),
    }


async def test_the_stage_is_that_of_the_run_and_not_of_a_flow_that_a_task_returned() -> None:
    @cascade.task
    async def grow(_: Any) -> Any:
        return one(one(one()))

    assert (await counted([grow(one())])).stage == 1


async def test_what_was_undone_is_counted() -> None:
    @cascade.task
    async def undo(_: int) -> None: ...

    @cascade.task
    async def fails(*_: Any) -> None:
        raise ValueError("no")

    tally = await counted(fails(double(1).with_undo(undo), double.map(x=[1, 2]).with_undo(undo)))
    assert (tally.tasks["double"].counts["undone"], tally.tasks["double"].counts["succeeded"]) == (3, 3)
    assert "undo" not in tally.tasks
    assert ("undone", 3) in list(parts_of(*tally.tasks.values()))


async def test_tasks_are_in_the_order_of_the_flow() -> None:
    tally = await counted(one(double.map(x=several(7))))

    assert list(tally.tasks) == ["several", "double", "one"]


async def test_a_map_that_is_skipped_has_no_items() -> None:
    flow = [double.map(x=range(5)).run_if(False), one()]
    tally = await counted(flow)

    assert tally.tasks["double"].counts["skipped"] == 1
    assert (tally.ended, tally.total) == (2, 2)


async def test_a_failure_that_is_handled_is_counted_as_such() -> None:
    flow = double.map(x=[1, "a", None]).with_errors("collect")
    tally = await counted(flow)

    assert (tally.tasks["double"].counts["failed"], tally.tasks["double"].counts["handled"]) == (0, 1)
    assert (tally.ended, tally.total) == (3, 3)
    assert list(parts_of(*tally.tasks.values())) == [("failed (handled)", 1)]


async def test_a_map_that_does_not_come_to_run_has_no_items() -> None:
    tally = await counted(double.map(x=one()))

    assert tally.status == "failed"
    assert tally.tasks["double"].counts["failed"] == 1
    assert (tally.ended, tally.total) == (2, 2)


async def test_what_a_flow_makes_up_counts_when_it_is_there() -> None:
    @cascade.task
    async def grows(n: int) -> Any:
        return [double(k) for k in range(n)]

    tally = await counted(one(grows(3)))
    assert tally.tasks["double"].counts["succeeded"] == 3
    assert (tally.ended, tally.total) == (5, 5)


async def test_turns_of_a_loop_count() -> None:
    @cascade.task
    async def countdown(n: int) -> Any:
        return countdown(n - 1) if n else "off"

    tally = await counted(countdown(10))
    assert (tally.ended, tally.total) == (11, 11)


# -- what runs and what waits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule_name", ["stages", "eager"])
async def test_what_waits_for_capacity_or_another_attempt_is_not_running(schedule_name: Any) -> None:
    inside: set[int] = set()

    @cascade.task(constraints={"net": 1}, retry=cascade.Retry(max_attempts=9, delay=0.1))
    async def get(i: int) -> int:
        inside.add(i)
        try:
            await sleep(0.3)
            if i % 2 and cascade.current().attempt < 3:
                raise OSError("flaky")
        finally:
            inside.remove(i)
        return i

    tally = Tally()
    settings: dict[str, Any] = {"system_resources": {"net": 2}, "schedule": schedule_name}
    observers = [hearing(tally)]
    async with cascade.start(one(get.map(i=range(10))), observers=observers, **settings) as run:
        seen = []
        while run.status().state == "Running":
            await sleep(0.07)
            for _ in range(20):  # as many as what happens at this very moment needs
                await anyio.lowlevel.checkpoint()
            if run.status().state == "Running":
                seen.append(len(inside))
                assert tally.tasks["get"].counts["running"] == len(inside)

    assert 2 in seen
    assert tally.tasks["get"].counts["retries"] == 10
    assert (tally.ended, tally.total) == (11, 11)


async def test_a_node_that_a_rule_holds_waits_for_its_reason() -> None:
    tally = Tally()
    async with cascade.start([one(), one()], observers=[hearing(tally)]) as run:
        await run.pause(author="ada")
        await sleep(1)
        assert {node.waits for node in tally.active.values()} == {f"paused by 'ada' (run:{run.id})"}
        assert (tally.tasks["one"].counts["running"], tally.tasks["one"].counts["waiting"]) == (0, 2)
        await run.resume()

    assert (tally.ended, tally.total, tally.active) == (2, 2, {})


async def test_hits_of_the_cache_are_counted_as_such() -> None:
    cache = cascade.cache.InputCache(cascade.cache.MemoryCacheStore())
    flow = [double(n).with_cache(cache) for n in range(3)]
    await cascade.run(flow)
    tally = await counted([flow[1], flow[2], double(9)])

    task = tally.tasks["double"]
    assert (task.counts["cached"], task.counts["succeeded"], task.counts["skipped"], task.total) == (2, 1, 0, 3)


async def test_what_was_recorded_counts_as_done(tmp_path: Any) -> None:
    state, is_broken = f"sqlite:///{tmp_path}/runs.db", True

    @cascade.task
    async def breaks(_: object) -> None:
        if is_broken:
            raise ValueError

    flow = breaks([double.map(x=range(5)), double(1), one()])
    await counted(flow, state=state, run_id="r")
    is_broken = False
    tally = await counted(flow, state=state, run_id="r")
    assert (tally.tasks["double"].counts["recorded"], tally.tasks["one"].counts["recorded"]) == (6, 1)
    assert (tally.ended, tally.total) == (8, 8)

    again = await counted(flow, state=state, run_id="r")
    assert again.is_replayed
    assert (again.ended, again.total, again.status) == (8, 8, "succeeded")


# -- time --------------------------------------------------------------------------------------------------------


async def test_the_time_that_is_left_is_what_the_rest_takes_at_the_rate_so_far() -> None:
    @cascade.task
    async def nap(_: int) -> None:
        await sleep(1)

    tally = Tally()
    flow = nap.map(_=range(40)).with_concurrency(4)
    async with cascade.start(flow, observers=[hearing(tally)]):
        await sleep(1.5)
        assert tally.left(current_time()) is None  # too early to tell
        await sleep(4)
        left = tally.left(current_time())
        assert left == pytest.approx(5, abs=0.6)

    assert tally.left(current_time()) is None
    assert tally.elapsed(current_time()) == pytest.approx(10)


async def test_each_task_takes_its_own_time() -> None:
    @cascade.task
    async def nap(_: int) -> None:
        await sleep(1)

    tally = Tally()
    flow = cascade.sequence([one(), nap.map(_=range(10)).with_concurrency(1)])
    async with cascade.start(flow, observers=[hearing(tally)]):
        await sleep(5.5)
        assert tally.left(current_time()) == pytest.approx(5, abs=0.6)


async def test_no_time_is_told_while_nobody_knows_how_much_there_is() -> None:
    @cascade.task
    async def nap(_: int) -> int:
        await sleep(1)
        return 3

    tally = Tally()
    last = double.map(x=several(nap(1).after(nap(2).after(nap(3).after(nap(4))))))
    async with cascade.start(last, observers=[hearing(tally)]):
        await sleep(3.5)
        assert tally.is_open
        assert tally.left(current_time()) is None


# -- always ------------------------------------------------------------------------------------------------------


SCHEDULES = st.sampled_from(["stages", "eager"])


@given(flow=flows(most=4), schedule=SCHEDULES, on_error=st.sampled_from(["first", "continue"]))
async def test_the_tally_of_any_run_is_right_in_the_end(flow: RandomFlow, schedule: Any, on_error: Any) -> None:
    tally = await counted(flow.build(), schedule=schedule, on_error=on_error, **flow.settings)

    assert tally.active == {}
    if tally.status == "succeeded":
        lost = sum(task.counts["cancelled"] for task in tally.tasks.values())  # races
        assert tally.ended + lost == tally.total


@given(st.lists(any_events()))
def test_any_events_in_any_order_can_be_counted(events: list[cascade.Event]) -> None:
    tally = Tally()
    for number, event in enumerate(events):
        tally.hear(event, float(number))
        for task in tally.tasks.values():
            assert min(task.counts["running"], task.counts["waiting"], task.ended) >= 0
            assert task.ended <= task.total
        assert all(_numbers(tally))


def _numbers(tally: Tally) -> Iterator[bool]:
    yield tally.elapsed(1e9) >= 0
    left = tally.left(1e9)
    yield left is None or left >= 0
    yield from (count > 0 for _, count in parts_of(*tally.tasks.values()))
