"""Where places are scarce, the order of nodes follows from how long each of them took before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.runtime.context.durations import OF_PROCESS
from cascade.runtime.scheduling import scheduler
from cascade.testing import simulate

anyio_backend = virtual_loops


@pytest.fixture(autouse=True)
def no_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that are ready at once are started at once, however long that takes for real."""
    monkeypatch.setattr(scheduler, "SLICE", math.inf)


SLOTS: Mapping[str, Any] = {"schedule": "eager", "system_resources": {"slot": 2}}


@cascade.task(constraints={"slot": 1})
async def work(seconds: float, *_: object) -> None:
    await pass_time(seconds)


@cascade.task
async def beside(seconds: float, *_: object) -> None:
    """Claims nothing, so it runs in a lane."""
    await pass_time(seconds)


def one_long(*, says_costs: bool = False, more: int = 0) -> list[Any]:
    """Chains of short nodes, and one that is as long as six of these: all of one task, so names tell nothing.

    Two slots need 9 seconds for it if the long one is among the first, and 10 if it is not.
    """

    def node(seconds: float, *before: Any) -> Any:
        return work(seconds, *before).with_cost(seconds if says_costs else None)

    chains = [node(1, node(1, node(1))) for _ in range(4)]
    return [*chains, node(6), *[node(0) for _ in range(more)]]


async def makespan(flow: Any, engine: cascade.Engine | None = None, **as_run: Any) -> float:
    began = anyio.current_time()
    await (engine or cascade.Engine(**{**SLOTS, **as_run})).run(flow)
    return anyio.current_time() - began


async def test_the_second_run_knows_which_node_is_long() -> None:
    engine = cascade.Engine(**SLOTS)
    assert [await makespan(one_long(), engine) for _ in range(3)] == [10, 9, 9]


async def test_so_does_a_run_on_another_engine_of_the_process() -> None:
    assert [await makespan(one_long()) for _ in range(3)] == [10, 9, 9]


async def test_a_listener_changes_nothing_in_what_is_learnt() -> None:
    heard: list[float] = []

    async def observer(events: Any) -> None:
        heard.extend([e.duration async for e in events if isinstance(e, cascade.TaskExecutionFinished)])

    assert [await makespan(one_long(), observers=[observer]) for _ in range(2)] == [10, 9]
    assert sorted(heard) == [1] * 24 + [6, 6]


async def test_a_cost_that_is_said_is_used_at_first() -> None:
    assert await makespan(one_long(says_costs=True)) == 9


async def test_what_a_node_took_counts_more_than_a_cost() -> None:
    await makespan(one_long())
    wrong = [chain.with_cost(100) for chain in one_long()]
    assert await makespan(wrong) == 9


async def test_a_changed_flow_is_another_flow() -> None:
    await makespan(one_long())
    assert await makespan(one_long(more=1)) == 10
    assert await makespan(one_long(more=1)) == 9
    assert await makespan(one_long()) == 9, "the first is remembered"


async def test_the_stages_learn_nothing() -> None:
    await makespan(one_long(), schedule="stages")
    assert await makespan(one_long()) == 10


async def test_nodes_that_failed_or_were_cancelled_teach_nothing() -> None:
    @cascade.task(constraints={"slot": 1})
    async def fails(seconds: float, *_: object) -> None:
        await pass_time(seconds)
        raise ZeroDivisionError

    def flow(task: Any) -> list[Any]:
        return [task(5), *one_long()]

    with pytest.raises(ZeroDivisionError):
        await makespan(flow(fails))
    (known,) = OF_PROCESS._known.values()
    assert known.seconds[0] < 0
    assert all(seconds < 0 or seconds == 1 for seconds in known.seconds)


@pytest.mark.parametrize("is_heard", [False, True])
async def test_nodes_that_claim_nothing_are_on_the_way_too(is_heard: bool) -> None:
    def flow() -> list[Any]:
        return [beside(10, work(1)), beside(1, beside(1, work(2)))]

    async def observer(events: Any) -> None:
        async for _ in events:
            pass

    said: dict[str, Any] = {"system_resources": {"slot": 1}, "observers": [observer] if is_heard else []}
    # By number of nodes the other chain goes first, which ends long before.
    assert [await makespan(flow(), **said) for _ in range(2)] == [13, 11]


async def test_so_are_maps_with_all_their_items() -> None:
    def flow() -> list[Any]:
        return [beside.map(seconds=[1, 10]).after(work(1)), beside(1, beside(1, work(2)))]

    assert [await makespan(flow(), system_resources={"slot": 1}) for _ in range(2)] == [13, 11]


async def test_a_flow_that_a_task_returns_is_known_by_itself() -> None:
    @cascade.task
    async def grows() -> Any:
        return one_long()

    assert [await makespan(grows()) for _ in range(2)] == [10, 9]


async def test_whoever_waited_for_the_node_that_ends_is_not_too_late() -> None:
    """The slot that it gives back goes to what follows from it, if that has the longest way to the end."""
    started: list[str] = []

    @cascade.task(constraints={"slot": 1})
    async def named(name: str, *_: object) -> None:
        started.append(name)
        await pass_time(1)

    chain = named("c4", named("c3", named("c2", named("c1"))))
    await makespan([named("a"), named("b"), chain], system_resources={"slot": 1})
    assert started[:3] == ["c1", "c2", "c3"]  # the last one is as urgent as the others, which came first


def test_a_simulation_depends_on_its_seed_and_not_on_what_ran_before() -> None:
    traces = [str(simulate(simulated(), seed=3, **SLOTS).trace) for _ in range(3)]
    assert traces[0] == traces[1] == traces[2]
    assert not OF_PROCESS._known


def simulated() -> list[Any]:
    @cascade.task(constraints={"slot": 1})
    async def step(seconds: float, *_: object) -> None:
        await pass_time(seconds)

    return [*[step(1, step(1, step(1))) for _ in range(4)], step(6)]
