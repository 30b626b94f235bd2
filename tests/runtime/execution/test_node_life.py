"""The life of a node: the order of its steps, what it costs, and what is reported of it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import anyio.from_thread
import pytest
from labels import label
from life import Flaky, Log, cancelled_when, errors, finished, just, raising, turns

import cascade
from cascade.cache import MISS, Hit, Miss
from cascade.testing import Recorded, record_events

PATIENCE = 30  # seconds after which a thread that waits gives up, so that a failing test ends


class Cache:
    """Knows what it is told, and notes what it is asked."""

    def __init__(self, **known: object) -> None:
        self.known = known
        self.log: list[str] = []

    async def check(self, task_id: str, inputs: Mapping[str, object]) -> Hit[object] | Miss:
        self.log.append(f"check {task_id}")
        return Hit(self.known[task_id]) if task_id in self.known else MISS

    async def save(self, task_id: str, inputs: Mapping[str, object], result: object) -> None:
        self.log.append(f"save {task_id}")


async def recorded_run(flow: Any, **settings: Any) -> Recorded:
    engine = cascade.Engine(**settings)
    with record_events(engine) as recorded:
        await engine.run(flow)
    return recorded


# -- what is reported ------------------------------------------------------------------------------------------


async def test_a_node_that_succeeds_starts_once_and_ends_once(schedule: Any) -> None:
    recorded = await recorded_run(just("value"), schedule=schedule)
    started, ended = recorded.about("just")
    assert isinstance(started, cascade.TaskExecutionStarted)
    assert isinstance(ended, cascade.TaskExecutionFinished)
    assert (ended.status, ended.attempt, ended.result_preview, ended.error) == ("Succeeded", 1, "'value'", None)


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_sync_node_starts_before_it_ends(mode: Any, schedule: Any) -> None:
    @cascade.task(mode=mode)
    def quick(x: int) -> int:
        return x

    recorded = await recorded_run(quick.map(x=list(range(20))), schedule=schedule)
    for item in range(20):
        kinds = [type(event).__name__ for event in recorded.about(f"quick[{item}]")]
        assert kinds == ["TaskExecutionStarted", "TaskExecutionFinished"]


async def test_a_map_is_reported_around_its_items() -> None:
    recorded = await recorded_run(just.map(value=[1, 2]))
    nodes = [event.task_id for event in recorded.of(cascade.NodeEvent)]
    assert nodes[0] == nodes[-1] == "just"
    assert sorted(nodes[1:-1]) == ["just[0]", "just[0]", "just[1]", "just[1]"]


async def test_a_node_that_fails_says_with_what() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(ValueError, match="bad"):
        await engine.run(raising(ValueError("bad")))
    (ended,) = recorded.of(cascade.TaskExecutionFinished)
    assert (ended.status, ended.attempt, ended.result_preview) == ("Failed", 1, None)
    assert ended.error == "ValueError: bad"


async def test_a_node_that_is_cancelled_says_in_which_attempt() -> None:
    log, engine = Log(), cascade.Engine()

    @cascade.task(retry=cascade.Retry(3))
    async def second_time_stuck() -> None:
        log.lines.append("attempt")
        if len(log.lines) == 1:
            raise ValueError
        await anyio.sleep_forever()

    with record_events(engine) as recorded:
        assert await cancelled_when(lambda: len(log.lines) == 2, lambda: engine.run(second_time_stuck()))
    (ended,) = recorded.of(cascade.TaskExecutionFinished)
    assert (ended.status, ended.attempt, ended.error) == ("Cancelled", 2, None)


async def test_a_node_that_is_skipped_has_one_event(schedule: Any) -> None:
    engine = cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded, pytest.raises(cascade.DependencyMissingError):
        await engine.run(Flaky().call().run_if(just(False)))
    (event,) = recorded.about("flaky")
    assert isinstance(event, cascade.TaskSkipped)
    assert event.reason == "ConditionFalse"


async def test_a_cache_hit_has_one_event_and_counts_as_a_success(schedule: Any) -> None:
    recorded = await recorded_run(just(1).with_cache(Cache(just="known")), schedule=schedule)
    (event,) = recorded.about("just")
    assert isinstance(event, cascade.TaskSkipped)
    assert event.reason == "CacheHit"
    assert finished(recorded).counts == {"succeeded": 1, "pending": 0, "skipped": 0, "failed": 0, "cancelled": 0}


async def test_the_last_event_counts_nodes_of_all_states() -> None:
    engine = cascade.Engine(on_error="continue")
    bad = raising(ValueError("bad"))
    with record_events(engine) as recorded, pytest.raises(cascade.RunFailed):
        await engine.run([just(1), bad, just(bad), just(just(bad)), just.map(value=[1, 2])])
    counts = finished(recorded).counts
    # A map counts, and so does each of its items.
    assert counts == {"succeeded": 4, "failed": 1, "skipped": 3, "pending": 0, "cancelled": 0}


async def test_a_preview_is_bounded_and_survives_a_broken_repr() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("do not look")

    recorded = await recorded_run([just("x" * 1000), just(Shy())])
    previews = [event.result_preview or "" for event in recorded.of(cascade.TaskExecutionFinished)]
    assert [0 < len(preview) <= 100 for preview in previews] == [True, True]


# -- what it costs ---------------------------------------------------------------------------------------------


@cascade.task(constraints={"gpu": 1})
async def holding() -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(just(1).with_constraints(gpu=1).with_cache(Cache(just="known")), id="hit"),
        pytest.param(just(just("known")).with_constraints(gpu=1).run_if(just(False)), id="skip"),
    ],
)
async def test_a_cache_hit_and_a_skip_need_no_capacity(flow: Any) -> None:
    engine = cascade.Engine(system_resources={"gpu": 1})
    async with engine, engine.start(holding()) as holder:
        await turns(5)
        assert engine.capacity() == {"gpu": (1, 1)}
        assert await engine.run(just(flow)) == "known"
        holder.cancel()


async def test_a_cache_hit_and_a_skip_need_no_thread() -> None:
    @cascade.task
    def works(x: int) -> int:
        return x

    is_occupied, released = anyio.Event(), threading.Event()

    @cascade.task
    def occupies() -> None:
        anyio.from_thread.run_sync(is_occupied.set)
        released.wait(PATIENCE)

    async with cascade.Engine(max_threads=1) as engine, engine.start(occupies()):
        await is_occupied.wait()
        known: object = await engine.run(works(1).with_cache(Cache(works="known")))
        assert known == "known"
        assert await engine.run(just(works(just(1)).run_if(just(False)))) == 1
        released.set()


async def test_a_node_asks_its_cache_before_it_opens_resources_and_saves_after_its_last_attempt() -> None:
    cache = Cache()

    @cascade.resource(scope="task")
    async def laboratory() -> AsyncIterator[str]:
        cache.log.append("open")
        yield "open"
        cache.log.append("close")

    @cascade.task(retry=cascade.Retry(2), cache=cache)
    async def works(lab: str = cascade.inject("laboratory")) -> None:
        cache.log.append("attempt")
        if cache.log.count("attempt") == 1:
            raise ValueError

    await cascade.run(works(), providers=[laboratory])
    assert cache.log == ["check works", "open", "attempt", "attempt", "close", "save works"]


async def test_nothing_is_saved_of_a_node_that_fails() -> None:
    cache = Cache()
    with pytest.raises(ValueError, match="attempt 2"):
        await cascade.run(Flaky(*errors(2)).call().with_retry(2).with_cache(cache))
    assert cache.log == ["check flaky"]


async def test_a_cache_is_asked_once_however_often_a_node_is_attempted() -> None:
    cache = Cache()
    await cascade.run(Flaky(*errors(2)).call().with_retry(3).with_cache(cache))
    assert cache.log == ["check flaky", "save flaky"]


# -- what a function may return --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, False, 0, "", [], float("nan")], ids=label)
async def test_empty_values_are_ordinary_results(value: Any, schedule: Any) -> None:
    received = await cascade.run(just(just(value)), schedule=schedule)
    assert received is value


@pytest.mark.parametrize("value", [None, False, 0], ids=label)
async def test_empty_values_are_ordinary_hits(value: Any) -> None:
    flow = just("computed").with_cache(Cache(just=value))
    assert await cascade.run(flow) is value


@pytest.mark.parametrize("wrap", [lambda lazy: lazy, just], ids=["tail call", "in place"])
async def test_the_claim_of_a_task_ends_before_the_flow_that_it_returned_begins(wrap: Any) -> None:
    @cascade.task(constraints={"gpu": 1})
    async def outer() -> Any:
        return just("inner").with_constraints(gpu=1)

    assert await cascade.run(wrap(outer()), system_resources={"gpu": 1}) == "inner"


@pytest.mark.parametrize("wrap", [lambda lazy: lazy, just], ids=["tail call", "in place"])
async def test_the_thread_of_a_task_is_free_before_the_flow_that_it_returned_begins(wrap: Any) -> None:
    @cascade.task
    def inner() -> str:
        return "inner"

    @cascade.task
    def outer() -> Any:
        return inner()

    assert await cascade.run(wrap(outer()), max_threads=1) == "inner"


async def test_the_cache_of_a_task_keeps_the_value_of_the_flow_that_it_returned() -> None:
    saved: list[object] = []

    class Keeping(Cache):
        async def save(self, task_id: str, inputs: Mapping[str, object], result: object) -> None:
            saved.append(result)

    @cascade.task(cache=Keeping())
    async def outer() -> Any:
        return just("inner")

    assert await cascade.run([outer(), just(outer())]) == ["inner", "inner"]
    assert await cascade.run(outer()) == "inner"
    assert saved == ["inner"] * 3


async def test_lazies_in_a_returned_container_are_run_in_place(schedule: Any) -> None:
    @cascade.task
    async def outer() -> Any:
        return {"a": [just(1), 2], "b": just(just(3))}

    assert await cascade.run(just(outer()), schedule=schedule) == {"a": [1, 2], "b": 3}
