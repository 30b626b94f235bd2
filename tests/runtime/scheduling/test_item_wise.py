"""Maps whose columns are maps: in the eager schedule an item starts as soon as its row has values."""

from __future__ import annotations

import gc
from collections import Counter
from functools import partial
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from observed import observe
from plain_tasks import give
from virtual_time import in_virtual_time, pass_time

import cascade
from cascade.cache import InputCache, MemoryCacheStore
from cascade.runtime.scheduling.chains.supply import MOST_AHEAD
from cascade.testing import record_events, simulate

run_eager = partial(cascade.run, schedule="eager")
MODES: list[dict[str, Any]] = [{}, {"mode": "inline"}, {"mode": "thread"}]


def in_mode(mode: dict[str, Any], function: Any) -> Any:
    """*function* as a task: on the loop, inline or in threads."""
    if mode:
        return cascade.task(**mode)(function)

    async def on_loop(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return cascade.task(name=function.__name__)(on_loop)


@cascade.task
async def double(n: Any) -> Any:
    return 2 * n


@cascade.task
async def add(a: Any, b: Any) -> Any:
    return a + b


@cascade.task
async def slow(n: int, seconds: float) -> int:
    await pass_time(seconds)
    return n


# -- when items start ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "retried", "limited", "heard", "recorded", "claiming"])
async def test_an_item_starts_when_its_row_is_there_though_others_have_not_ended(way: str) -> None:
    stored = anyio.Event()

    @cascade.task
    async def fetch(n: int) -> int:
        if n == 1:
            await stored.wait()
        return n

    @cascade.task
    async def store(n: int) -> int:
        stored.set()
        return n

    said: dict[str, Any] = {"recorded": {"state": "memory:"}, "claiming": {"system_resources": {"gpu": 4}}}
    first, second = fetch.map(n=[0, 1]), double
    if way == "retried":
        first, second = first.with_retry(2), second
    middle = second.map(n=first)
    if way == "limited":
        middle = middle.with_concurrency(1)
    if way == "claiming":
        middle = middle.with_constraints(gpu=1)
    engine = cascade.Engine(schedule="eager", **said.get(way, {}))
    with anyio.fail_after(60):
        if way == "heard":
            with record_events(engine):
                assert await engine.run(store.map(n=middle)) == [0, 2]
        else:
            assert await engine.run(store.map(n=middle)) == [0, 2]


async def test_in_stages_a_map_waits_for_all_of_another() -> None:
    log: list[str] = []

    @cascade.task
    async def first(n: int) -> int:
        log.append(f"first {n}")
        return n

    @cascade.task
    async def second(n: int) -> int:
        log.append(f"second {n}")
        return n

    assert await cascade.run(second.map(n=first.map(n=range(3)))) == [0, 1, 2]
    assert log == [f"{name} {n}" for name in ("first", "second") for n in range(3)]


@in_virtual_time
async def test_items_of_heavy_tails_take_as_long_as_the_longest_row() -> None:
    random = Random(7)
    seconds = [[random.paretovariate(1.1) for _ in range(1_000)] for _ in range(3)]
    flow = slow.map(n=range(1_000), seconds=seconds[0])
    for column in seconds[1:]:
        flow = slow.map(n=flow, seconds=column)
    began = anyio.current_time()
    assert await run_eager(flow) == [*range(1_000)]
    assert anyio.current_time() - began <= 1.07 * max(map(sum, zip(*seconds, strict=True)))


@pytest.mark.parametrize("levels", [(0, 1), (1,)])
async def test_very_many_items_run_side_by_side_in_each_map(levels: tuple[int, ...]) -> None:
    arrived, everyone = Counter[int](), [anyio.Event(), anyio.Event()]
    size = 3 * MOST_AHEAD

    @cascade.task
    async def meet(n: int, level: int) -> int:
        arrived[level] += 1
        if arrived[level] == size:
            everyone[level].set()
        await everyone[level].wait()
        return n

    with anyio.fail_after(60):
        flow = double.map(n=range(size))
        for level in levels:
            flow = meet.partial(level=level).map(n=flow)
        assert await run_eager(double.map(n=flow)) == [4 * n for n in range(size)]


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_results_are_in_input_order_in_every_mode(mode: dict[str, Any]) -> None:
    def step(n: int) -> int:
        return n + 1

    task = in_mode(mode, step)
    flow = task.map(n=task.map(n=task.map(n=range(700))))
    for _ in range(2):
        assert await run_eager(flow) == [*range(3, 703)]


async def test_a_row_may_need_items_of_several_maps_and_of_one_twice() -> None:
    one = double.map(n=range(5))
    two = double.map(n=one)
    assert await run_eager(add.map(a=one, b=two)) == [6 * n for n in range(5)]
    assert await run_eager(add.map(a=one, b=one)) == [4 * n for n in range(5)]
    assert await run_eager([add.map(a=one, b=range(5)), one, add.map(a=two, b=give([1] * 5))]) == [
        [3 * n for n in range(5)],
        [2 * n for n in range(5)],
        [4 * n + 1 for n in range(5)],
    ]


async def test_a_map_that_is_more_than_a_column_is_waited_for(schedule: Any) -> None:
    one = double.map(n=range(3))

    @cascade.task
    async def total(n: int, every: list[int]) -> int:
        return n + sum(every)

    assert await cascade.run(total.partial(every=one).map(n=one), schedule=schedule) == [6, 8, 10]
    assert await cascade.run(double.map(n=one).after(one), schedule=schedule) == [0, 4, 8]
    assert await cascade.run(double.map(n=one).run_if(one), schedule=schedule) == [0, 4, 8]
    assert await cascade.run(double.map(n=[one, one]), schedule=schedule) == [[0, 2, 4] * 2] * 2


async def test_maps_of_no_items_follow_each_other(schedule: Any) -> None:
    assert await cascade.run(double.map(n=double.map(n=double.map(n=[]))), schedule=schedule) == []


async def test_columns_of_different_lengths_are_an_error_before_any_item_starts(schedule: Any) -> None:
    one, two = double.map(n=range(2)), double.map(n=range(3))
    seen = await observe(add.map(a=one, b=two), schedule=schedule)
    assert isinstance(seen.error, ValueError)
    assert "mismatched lengths (a: 2, b: 3)" in str(seen.error)
    assert not [name for name in seen.started if name.startswith("add[")]


async def test_whoever_changes_the_list_changes_nothing_for_the_followers() -> None:
    @cascade.task(mode="inline")
    def clear(values: list[int]) -> int:
        length = len(values)
        values.clear()
        return length

    @cascade.task
    async def late(n: int) -> int:
        await anyio.wait_all_tasks_blocked()
        return n

    one = double.map(n=range(5))
    flow = [clear(one), late.map(n=one).with_concurrency(1), late.map(n=one)]
    assert await run_eager(flow) == [5, [0, 2, 4, 6, 8], [0, 2, 4, 6, 8]]


# -- what is let go of -----------------------------------------------------------------------------------------


class Counted:
    """Knows how many of its kind there are."""

    alive = 0
    most = 0

    def __init__(self, n: int) -> None:
        self.n = n
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1

    def __repr__(self) -> str:
        return f"<{self.n}>"


def make(n: int) -> Counted:
    return Counted(n)


def change(n: Counted) -> Counted:
    return Counted(n.n)


def number(n: Counted) -> int:
    return n.n


@pytest.fixture
def counted() -> type[Counted]:
    gc.collect()
    Counted.alive = Counted.most = 0
    return Counted


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("limit", [None, 3])
async def test_values_are_let_go_of_after_their_last_follower(
    mode: dict[str, Any], limit: int | None, counted: type[Counted]
) -> None:
    size = 10 * MOST_AHEAD
    flow = in_mode(mode, change).map(n=in_mode(mode, make).map(n=range(size)))
    assert await run_eager(in_mode(mode, number).map(n=flow).with_concurrency(limit)) == [*range(size)]
    assert counted.most <= 5 * MOST_AHEAD
    assert counted.alive == 0


@pytest.mark.parametrize("wanted", ["target", "consumer", "state"])
async def test_values_stay_if_somebody_wants_the_whole_list(wanted: str, counted: type[Counted]) -> None:
    @cascade.task(mode="inline")
    def count(values: list[Any]) -> list[int]:
        return [value.n for value in values]

    first = in_mode({}, make).map(n=range(1_000))
    last = in_mode({}, number).map(n=first)
    if wanted == "target":
        value = await run_eager([last, first])
        assert [one.n for one in value[1]] == value[0] == [*range(1_000)]
    elif wanted == "consumer":
        assert await run_eager([last, count(first)]) == 2 * [[*range(1_000)]]
    else:
        assert await run_eager(last, state="memory:") == [*range(1_000)]


async def test_events_show_what_a_list_had_in_it(schedule: Any) -> None:
    first = in_mode({"mode": "inline"}, make).map(n=range(100))
    seen = await observe(in_mode({"mode": "inline"}, number).map(n=first), schedule=schedule)
    previews = {end.task_id: end.result_preview for end in seen.recorded.of(cascade.TaskExecutionFinished)}
    assert previews["make"] is not None
    assert previews["make"].startswith("[<0>, <1>, <2>, <3>")
    assert len(previews["make"]) == 100


# -- skips and choices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [True, False, "skipped"])
@pytest.mark.parametrize("on_skip", ["pass", "skip"])
async def test_a_map_that_is_skipped_ends_as_in_stages(condition: Any, on_skip: Any, schedule: Any) -> None:
    truth = give(condition) if condition != "skipped" else give(True).run_if(give(False), on_skip="skip")
    first = double.map(n=range(3))
    last = double.map(n=double.map(n=first).run_if(truth, on_skip=on_skip))
    seen = await observe([last, first], schedule=schedule)
    if condition is True:
        assert seen.value == [[0, 8, 16], [0, 2, 4]]
        return
    reason = "ConditionFalse" if condition is False else "UpstreamSkipped_Condition"
    assert seen.skipped["double#2"] == reason
    if on_skip == "pass":
        assert seen.value == [[0, 4, 8], [0, 2, 4]]
    else:
        assert isinstance(seen.error, cascade.DependencyMissingError)
        assert seen.skipped["double#3"] == "UpstreamSkipped_Data"


async def test_the_first_of_several_maps_may_be_skipped(schedule: Any) -> None:
    first = double.map(n=give([1, 2])).run_if(give(False))
    seen = await observe(double.map(n=double.map(n=first)), schedule=schedule)
    assert seen.value == [4, 8]
    assert seen.skipped == {"double": "ConditionFalse"}


async def test_a_condition_that_raises_is_the_error(schedule: Any) -> None:
    class Unsure:
        def __bool__(self) -> bool:
            raise LookupError("who knows")

    flow = double.map(n=double.map(n=range(3))).run_if(give(Unsure()))
    seen = await observe(flow, schedule=schedule)
    assert isinstance(seen.error, LookupError)


@pytest.mark.parametrize("key", ["short", "long"])
async def test_maps_behind_routers_follow_each_other_once_they_are_chosen(key: str, schedule: Any) -> None:
    first = double.map(n=range(3))
    routes = {"short": double.map(n=first), "long": double.map(n=double.map(n=first))}
    seen = await observe(give(cascade.Router(give(key), routes)), schedule=schedule)
    assert seen.value == [(4 if key == "short" else 8) * n for n in range(3)]
    assert set(seen.skipped.values()) == {"Pruned"}


# -- failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("on_error", ["first", "group"])
async def test_a_failing_item_ends_the_run_wherever_it_is(at: int, on_error: Any, schedule: Any) -> None:
    @cascade.task
    async def fail(n: int, level: int) -> int:
        if n == 5 and level == at:
            raise ZeroDivisionError(f"level {level}")
        return n

    flow = fail.partial(level=0).map(n=range(9))
    for level in (1, 2):
        flow = fail.partial(level=level).map(n=flow)
    seen = await observe(flow, schedule=schedule, on_error=on_error)
    (error,) = seen.failures()
    assert isinstance(error, ZeroDivisionError)
    name = "fail" if at == 0 else f"fail#{at + 1}"
    assert f"'{name}[5]', item 5 of the map {name!r}" in error.__notes__[0]
    assert seen.finished[f"{name}[5]"] == "Failed"
    assert seen.finished.keys() == set(seen.started)


async def test_where_the_run_goes_on_after_failures_nothing_below_a_failed_map_runs(schedule: Any) -> None:
    @cascade.task
    async def fail(n: int) -> int:
        if n == 1:
            raise ZeroDivisionError
        return n

    seen = await observe([double.map(n=fail.map(n=range(4))), give(5)], schedule=schedule, on_error="continue")
    assert isinstance(seen.error, cascade.RunFailed)
    assert seen.error.results == {"fail[0]": 0, "fail[2]": 2, "fail[3]": 3, "give": 5}
    assert seen.skipped == {"double": "UpstreamFailed"}
    assert not [name for name in seen.started if name.startswith("double")]


@pytest.mark.parametrize("schedule", ["stages", "eager"])
async def test_cancelling_cancels_the_items_of_all_maps(schedule: Any) -> None:
    begun, ended = Counter[str](), Counter[str]()
    everyone = anyio.Event()

    @cascade.task
    async def first(n: int) -> int:
        if n:
            await wait("first")
        return n

    @cascade.task
    async def second(n: int) -> None:
        await wait("second")

    async def wait(name: str) -> None:
        begun[name] += 1
        if begun.total() == (3 if schedule == "eager" else 2):
            everyone.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended[name] += 1

    async with cascade.start(second.map(n=first.map(n=range(3))), schedule=schedule) as run:
        await everyone.wait()
        run.cancel()
    assert begun == ended
    assert run.status().state == "Cancelled"


# -- everything else that is said of maps ----------------------------------------------------------------------


@in_virtual_time
async def test_policies_hold_for_items_that_come_one_by_one() -> None:
    tries, in_flight, most = Counter[int](), Counter[str](), Counter[str]()

    @cascade.task
    async def step(n: int, name: str) -> int:
        in_flight[name] += 1
        most[name] = max(most[name], in_flight[name])
        try:
            await pass_time(1)
        finally:
            in_flight[name] -= 1
        tries[n] += 1
        if name == "retried" and tries[n] == 2:
            raise OSError(n)
        return n

    flow = step.partial(name="plain").map(n=range(20))
    flow = step.partial(name="retried").map(n=flow).with_retry(2).with_constraints(gpu=give(1))
    flow = step.partial(name="limited").map(n=flow).with_concurrency(2).with_timeout(5)
    assert await run_eager(flow, system_resources={"gpu": 3}) == [*range(20)]
    assert most == {"plain": 20, "retried": 3, "limited": 2}
    assert set(tries.values()) == {4}


async def test_cached_items_follow_each_other(schedule: Any) -> None:
    cache = InputCache(MemoryCacheStore())
    flow = double.map(n=double.map(n=[1, 2, 1]).with_cache(cache)).with_cache(cache)
    for _ in range(2):
        assert await cascade.run(flow, schedule=schedule) == [4, 8, 4]


async def test_items_may_return_flows_with_maps_that_follow_each_other(schedule: Any) -> None:
    @cascade.task
    async def expand(n: int) -> Any:
        return double.map(n=double.map(n=range(n)))

    @cascade.task
    async def total(n: list[int]) -> Any:
        return give(sum(n))

    seen = await observe(total.map(n=expand.map(n=range(4))), schedule=schedule)
    assert seen.value == [0, 0, 4, 12]
    assert "expand[2]/double#2[1]" in seen.started


async def test_turns_of_a_loop_may_end_in_maps_that_follow_each_other(schedule: Any) -> None:
    @cascade.task
    async def turn(values: list[int], left: int) -> Any:
        return turn(double.map(n=double.map(n=values)), left - 1) if left else values

    assert await cascade.run(turn([1, 2], 4), schedule=schedule) == [256, 512]


async def test_each_item_has_its_resources(schedule: Any) -> None:
    opened: list[str] = []

    @cascade.resource(scope="task")
    async def own() -> Any:
        opened.append("once")
        yield 1

    @cascade.task
    async def use(n: int, extra: int = cascade.inject("own")) -> int:
        return n + extra

    flow = use.map(n=use.map(n=range(3)))
    assert await cascade.run(flow, schedule=schedule, providers=[own]) == [2, 3, 4]
    assert len(opened) == 6


async def test_a_pause_of_what_follows_holds_up_what_is_followed() -> None:
    begun = Counter[str]()

    @cascade.task(mode="inline")
    def first(n: int) -> int:
        begun["first"] += 1
        return n

    @cascade.task(mode="inline")
    def second(n: int) -> int:
        begun["second"] += 1
        return n

    size = 6 * MOST_AHEAD
    async with cascade.start(second.map(n=first.map(n=range(size))), schedule="eager") as run:
        await run.pause("task:second")
        await anyio.wait_all_tasks_blocked()
        assert MOST_AHEAD <= begun["first"] <= 3 * MOST_AHEAD
        assert not begun["second"]
        await run.resume("task:second")
        assert await run.result() == [*range(size)]


class World:
    """What the tasks of runs that are resumed have to do with. It is in no digest."""

    calls: Counter[str]
    run: Any
    is_broken: bool
    waits: Any


@pytest.fixture
def world() -> type[World]:
    World.calls, World.run, World.is_broken = Counter(), None, False
    World.waits = staticmethod(anyio.lowlevel.checkpoint)
    return World


@cascade.task
async def upper(n: int) -> int:
    World.calls[f"upper {n}"] += 1
    return n


@cascade.task
async def lower(n: int) -> int:
    if World.is_broken and n == 3:
        await World.waits()
        raise ZeroDivisionError
    World.calls[f"lower {n}"] += 1
    if World.run is not None and n == 2:
        World.run.drain()
    return n


async def test_a_run_that_drains_goes_on_later_with_what_had_not_begun(tmp_path: Any, world: type[World]) -> None:
    flow = lower.map(n=upper.map(n=range(8)).with_concurrency(1)).with_concurrency(1)
    as_run: dict[str, Any] = {"schedule": "eager", "run_id": "one", "state": f"sqlite:///{tmp_path / 'runs.db'}"}
    async with cascade.start(flow, **as_run) as run:
        world.run = run
    assert run.status().state == "Drained"
    assert 3 <= world.calls.total() < 16
    world.run = None
    assert await cascade.run(flow, **as_run) == [*range(8)]
    assert set(world.calls.values()) == {1}
    assert len(world.calls) == 16


@pytest.mark.parametrize("has_ended", [False, True])
async def test_a_failed_run_goes_on_with_the_items_that_are_recorded(
    has_ended: bool, tmp_path: Any, world: type[World]
) -> None:
    if has_ended:  # the map that is followed
        world.waits = staticmethod(anyio.wait_all_tasks_blocked)
    flow = double.map(n=lower.map(n=upper.map(n=range(5))))
    as_run: dict[str, Any] = {"run_id": "one", "state": f"sqlite:///{tmp_path / 'runs.db'}"}
    world.is_broken = True
    with pytest.raises(ZeroDivisionError):
        await run_eager(flow, **as_run)
    world.is_broken = False
    assert await run_eager(flow, **as_run) == [0, 2, 4, 6, 8]
    assert set(world.calls.values()) == {1}
    assert len(world.calls) == 10


@pytest.mark.needs("trio")
@pytest.mark.parametrize("seed", range(5))
def test_a_simulation_is_the_same_on_both_backends(seed: int) -> None:
    flow = slow.map(n=slow.map(n=range(6), seconds=[0.1, 0.2, 0, 0, 1, 0.1]), seconds=[0.3, 0, 0.1, 0, 0, 0])
    played = [simulate(flow, seed=seed, backend=name, schedule="eager") for name in ("asyncio", "trio")]
    assert played[0].value == played[1].value == [*range(6)]
    assert str(played[0].trace) == str(played[1].trace)
