"""What `explain` says of nodes that wait, and waits that are deadlocks."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio import sleep
from effort import effort, once
from life import give_way_always
from virtual_time import virtual_loops

import cascade
from cascade.control import ControlPlane
from cascade.runtime.engine.diagnosis import Diagnosis

anyio_backend = virtual_loops


@cascade.task
async def work(seconds: float = 10.0) -> None:
    await sleep(seconds)


def words(run: cascade.Run) -> dict[str, str]:
    return {found.node_id: " | ".join(found.blockers) for found in run.explain()}


async def test_only_so_many_nodes_are_explained_and_those_that_have_begun_come_first() -> None:
    claims = [work().with_constraints(gpu=1).with_name(f"number {number}") for number in range(3)]
    flow = [*claims, *(work(1).after(claims[0]) for _ in range(5))]
    async with cascade.start(flow, system_resources={"gpu": 1}, schedule="eager") as run:
        await sleep(1)
        all_of_them, most = run.explain(), Diagnosis(run._lifetime).explain(4)
        assert len(all_of_them) == 7
        assert most == all_of_them[:4]
        assert {str(found.label)[:6] for found in most[:2]} == {"number"}
        run.cancel()


async def test_a_claim_that_waits_names_the_present_holders() -> None:
    claims = [work().with_constraints(gpu=amount) for amount in (1, 2, 1)]
    flow = [claims[0], claims[1].after(work(1)), claims[2].after(work(2))]
    async with cascade.start(flow, system_resources={"gpu": 2}, schedule="eager") as run:
        await sleep(3)
        assert sorted(words(run).values()) == [
            "needs 2 gpu, 1 of 2 in use by work",
            "waits behind an earlier claim on the same resources",
        ]
        assert run.status().running == ("work",)
        run.cancel()


async def test_all_rules_that_hold_a_node_are_named(schedule: Any) -> None:
    plane = ControlPlane()
    await plane.pause("task:last", author="ada")
    last = cascade.task(name="last")(work.func)
    async with cascade.start([work(), last(), work(1)], schedule=schedule, control=plane) as run:
        await sleep(0.5)
        assert words(run)["last"] == "paused by 'ada' (task:last)"
        await plane.limit("global", concurrency=1, author="bob")
        await sleep(1)
        first, second = words(run)["last"].split(" | ")
        assert first == "paused by 'ada' (task:last)"
        assert second.startswith("limited to 1 at a time by 'bob' (global); running: work")
        run.cancel()


async def test_a_back_off_says_how_many_seconds_are_left_and_is_no_running() -> None:
    @cascade.task(retry=cascade.Retry(max_attempts=2, delay=10))
    async def fails() -> None:
        raise ValueError

    async with cascade.start(fails()) as run:
        await sleep(4)
        assert words(run) == {"fails": "its next attempt begins in 6 s"}
        assert run.status().running == ()
        run.cancel()


def nest(mine: int, inner: Any) -> Any:
    @cascade.task(name=f"nest{mine}", constraints={"gpu": mine})
    async def outer() -> None:
        await sleep(1)
        await cascade.run(inner)

    return outer()


async def test_runs_whose_parents_hold_what_each_other_wants_are_a_deadlock_with_its_cycle(schedule: Any) -> None:
    inner = work().with_constraints(gpu=2)
    with pytest.raises(cascade.DeadlockError) as caught:
        await cascade.run([nest(1, inner), nest(2, inner)], system_resources={"gpu": 4}, schedule=schedule)
    assert set(caught.value.cycle) == {"nest1", "work", "nest2"}
    assert caught.value.cycle[-1] == "work"


async def test_a_nested_run_behind_one_who_waits_for_its_parent_is_a_deadlock() -> None:
    @cascade.task
    async def later() -> None:
        await cascade.run(work().with_constraints(gpu=2))

    @cascade.task(constraints={"gpu": 2})
    async def early() -> None:
        await sleep(2)

    waits_for_all = early().after(work(0.5)).with_constraints(gpu=2)
    with pytest.raises(cascade.DeadlockError) as caught:
        await cascade.run(
            [nest(1, work().with_constraints(gpu=1)), waits_for_all], system_resources={"gpu": 2}, schedule="eager"
        )
    assert caught.value.cycle == ("nest1", "early", "work")
    await cascade.run([later(), early()], system_resources={"gpu": 2})


async def test_a_nested_run_that_waits_for_strangers_is_no_deadlock(schedule: Any) -> None:
    flow = [nest(1, work(1).with_constraints(gpu=2)), work().with_constraints(gpu=2)]
    with anyio.fail_after(100):
        await cascade.run(flow, system_resources={"gpu": 3}, schedule=schedule)


async def test_lowering_a_total_that_makes_runs_wait_for_each_other_ends_in_a_deadlock_error() -> None:
    engine = cascade.Engine(system_resources={"gpu": 7})
    inner = work().with_constraints(gpu=2)
    flow = [nest(1, inner), nest(2, inner), work().with_constraints(gpu=4)]
    with pytest.raises(cascade.DeadlockError):
        async with engine.start(flow) as run:
            await sleep(2)
            engine.set_capacity({"gpu": 4})
            await run.result()


async def test_a_node_behind_a_router_says_that_it_has_not_been_chosen(schedule: Any) -> None:
    selector = cascade.task(name="selects")(work.func)
    routed = cascade.task(name="routed")(work.func)
    flow = cascade.Router(selector(), {None: routed()})
    async with cascade.start(flow, schedule=schedule) as run:
        await sleep(1)
        assert words(run) == {"routed": "no router has chosen it yet"}
        await sleep(10)
        assert words(run) == {}


@pytest.mark.parametrize("machine", ["fast", "slow"])
async def test_a_node_that_is_queued_says_what_for(
    schedule: Any, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if machine == "slow":  # nodes are still with the host when the first one runs
        give_way_always(monkeypatch)
    seen: list[dict[str, str]] = []

    @cascade.task(mode="inline")
    def first() -> None:
        seen.append(words(run))

    @cascade.task(mode="inline")
    def turn() -> None:
        seen.append(words(run))

    @cascade.task
    def thread() -> None:
        pass

    async with cascade.start([first(), turn(), thread()], schedule=schedule) as run:
        await run.result()
    assert seen[0]["turn"] == "waits for its turn"
    assert seen[0]["thread"] == "waits for a thread"


async def test_of_many_inputs_a_few_are_named_and_the_others_counted() -> None:
    @cascade.task
    async def last(values: list[None]) -> None: ...

    async with cascade.start(last([work() for _ in range(8)]), schedule="eager") as run:
        await sleep(1)
        named = [f"input 'work{number}' has not settled" for number in ("", "#2", "#3", "#4", "#5")]
        assert words(run)["last"] == " | ".join([*named, "3 more inputs have not settled"])
        run.cancel()


async def _effort_of_explaining(size: int, **rule: Any) -> int:
    """Function calls that explaining takes while *size* nodes hold a resource and as many wait for it."""
    flow = [work().with_constraints(gpu=1) for _ in range(2 * size)]
    async with cascade.start(flow, system_resources={"gpu": size}, schedule="eager") as run:
        await sleep(1)
        if rule:
            await run.limit("task:work", **rule)
        spent = effort(once(lambda _: run.explain(), None)).total
        run.cancel()
    return spent


@pytest.mark.parametrize("rule", [{}, {"concurrency": 1}])
async def test_twice_as_many_waiters_and_holders_are_twice_the_work_to_explain(rule: Any) -> None:
    assert await _effort_of_explaining(200, **rule) < 2.6 * await _effort_of_explaining(100, **rule)
