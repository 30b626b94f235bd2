"""A task's own timeout ends when its function returns; what it returned has the time that it says itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio import sleep
from observed import observe
from virtual_time import virtual_loops

import cascade

anyio_backend = virtual_loops


@cascade.task
async def wait(seconds: float) -> float:
    await sleep(seconds)
    return seconds


@cascade.task
async def ask(before: float, flow: Callable[[], Any]) -> Any:
    await sleep(before)
    return flow()


@cascade.task(mode="inline")
def first(values: Any) -> Any:
    return values[0]


PLACES: dict[str, Callable[[Any], Any]] = {
    "tail call": lambda lazy: lazy,
    "middle of a flow": lambda lazy: first([lazy]),
    "member of a target": lambda lazy: (lazy, 0),
}


def value_of(found: Any) -> Any:
    """The value, without the rest of the target."""
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("place", PLACES)
async def test_a_timeout_covers_the_function_and_not_the_flow_that_it_returns(place: str, schedule: Any) -> None:
    asking = ask(1.0, lambda: wait(50.0)).with_timeout(2.0)
    began = anyio.current_time()
    assert value_of(await cascade.run(PLACES[place](asking), schedule=schedule)) == 50.0
    assert anyio.current_time() - began == pytest.approx(51.0)


@pytest.mark.parametrize("place", PLACES)
async def test_a_timeout_of_the_function_still_holds(place: str, schedule: Any) -> None:
    asking = ask(3.0, lambda: wait(50.0)).with_timeout(2.0)
    with pytest.raises(cascade.TaskTimeoutError) as caught:
        await cascade.run(PLACES[place](asking), schedule=schedule)
    assert caught.value.node_id == "ask"


@pytest.mark.parametrize("place", PLACES)
async def test_a_flow_that_is_returned_has_its_own_timeouts(place: str, schedule: Any) -> None:
    asking = ask(1.0, lambda: first([wait(50.0).with_timeout(10.0)]))
    began = anyio.current_time()
    with pytest.raises(cascade.TaskTimeoutError) as caught:
        await cascade.run(PLACES[place](asking), schedule=schedule)
    assert caught.value.node_id.endswith("wait")
    assert anyio.current_time() - began == pytest.approx(11.0)


async def test_each_turn_has_the_whole_timeout(schedule: Any) -> None:
    @cascade.task(timeout=2.0)
    async def turn(n: int) -> Any:
        await sleep(1.5)
        return turn(n - 1) if n else "end"

    assert await cascade.run(turn(5), schedule=schedule) == "end"


@pytest.mark.parametrize("place", PLACES)
async def test_a_deadline_around_the_run_ends_a_returned_flow(place: str, schedule: Any) -> None:
    asking = ask(1.0, lambda: wait(50.0))
    began = anyio.current_time()
    with anyio.move_on_after(20) as scope:
        await cascade.run(PLACES[place](asking), schedule=schedule)
    assert scope.cancelled_caught
    assert anyio.current_time() - began == pytest.approx(20.0)


async def test_flows_of_several_nodes_run_side_by_side(schedule: Any) -> None:
    began = anyio.current_time()
    flow = [ask(1.0, lambda: [wait(10.0), wait(10.0)]), ask(1.0, lambda: wait(10.0))]
    assert await cascade.run(flow, schedule=schedule) == [[10.0, 10.0], 10.0]
    assert anyio.current_time() - began == pytest.approx(11.0)


async def test_the_duration_of_an_asking_node_includes_its_flow(schedule: Any) -> None:
    seen = await observe(first([ask(1.0, lambda: wait(10.0))]), schedule=schedule)
    durations = {event.task_id: event.duration for event in seen.recorded.of(cascade.TaskExecutionFinished)}
    assert durations["ask/wait"] == pytest.approx(10.0)
    assert durations["ask"] == pytest.approx(11.0)


async def test_what_a_map_claims_is_free_while_an_items_flow_runs(schedule: Any) -> None:
    @cascade.task(constraints={"gpu": 1})
    async def item(n: int) -> Any:
        await sleep(1.0)
        return wait(10.0)

    began = anyio.current_time()
    await cascade.run(item.map(n=range(3)), schedule=schedule, system_resources={"gpu": 1})
    # One second each, one after another; the ten of the flows side by side.
    assert anyio.current_time() - began == pytest.approx(13.0)
