"""The same call with the same run id goes on where the run was cut short."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import attrs
import pytest

import cascade
from cascade import api
from cascade.runtime.durability.records import Batch, NotDurable, Opening, Past
from cascade.state import InMemoryStateBackend
from cascade.testing import record_events
from state.cleared import cleared
from state.stores import StoreUnderTest, kept

# How often each thing ran. Tasks look it up here: what a task is bound to is part of its digest.
RAN: Counter[Any] = Counter()
FAILING: set[Any] = set()
nothing_has_run = cleared(RAN, FAILING)


def note(what: Any) -> None:
    RAN[what] += 1
    if what in FAILING:
        raise ValueError(f"{what} is failing")


@cascade.task
async def fetch(n: Any) -> Any:
    note(f"fetch {n}")
    return n


@cascade.task
def parse(n: Any) -> Any:
    note(f"parse {n}")
    return n


@cascade.task
async def join(*parts: Any, name: str = "join") -> Any:
    note(name)
    return list(parts)


@cascade.task
async def nothing(*_: Any) -> None:
    note("nothing")


@cascade.task
async def is_on(value: bool) -> bool:
    note("is_on")
    return value


async def fails(flow: Any, store: StoreUnderTest, **settings: Any) -> BaseException:
    """What a run of *flow* with the id ``night`` raises."""
    with pytest.raises(Exception, match=r"failing|group|tasks of run") as caught:
        await cascade.run(flow, state=store.state, run_id="night", **settings)
    return caught.value


async def goes_on(flow: Any, store: StoreUnderTest, **settings: Any) -> Any:
    RAN.clear()
    FAILING.clear()
    return await cascade.run(flow, state=store.state, run_id="night", **settings)


# -- what runs again -------------------------------------------------------------------------------------------


async def test_recorded_nodes_do_not_run_again(any_store: StoreUnderTest, schedule: Any) -> None:
    FAILING.add("join")
    flow = join(parse(fetch(1)), parse(fetch(2)))
    await fails(flow, any_store, schedule=schedule)
    assert RAN == {"fetch 1": 1, "fetch 2": 1, "parse 1": 1, "parse 2": 1, "join": 1}
    assert await goes_on(flow, any_store, schedule=schedule) == [1, 2]
    assert RAN == {"join": 1}


async def test_a_flow_made_anew_is_the_same_flow(store: StoreUnderTest) -> None:
    FAILING.add("join")
    await fails(join(parse(fetch(1))), store)
    assert await goes_on(join(parse(fetch(1))), store) == [1]
    assert RAN == {"join": 1}


@pytest.mark.parametrize("value", [None, False, 0, ""])
async def test_an_empty_result_is_a_result(any_store: StoreUnderTest, value: Any) -> None:
    FAILING.add("join")
    await fails(join(fetch(value)), any_store)
    assert await goes_on(join(fetch(value)), any_store) == [value]
    assert RAN == {"join": 1}


async def test_failed_and_cancelled_nodes_run_again(store: StoreUnderTest, schedule: Any) -> None:
    entered = anyio.Event()

    @cascade.task
    async def wait_once(_: Any) -> str:
        note("wait")
        if RAN["wait"] == 1 and FAILING:
            entered.set()
            await anyio.sleep_forever()
        return "waited"

    @cascade.task
    async def fail_after(_: Any) -> str:
        await (entered.wait() if FAILING else anyio.lowlevel.checkpoint())
        note("late")
        return "done"

    FAILING.add("late")
    source = fetch(1)
    flow = join(wait_once(source), fail_after(source))
    await fails(flow, store, schedule=schedule)
    assert await goes_on(flow, store, schedule=schedule) == ["waited", "done"]
    assert RAN == {"wait": 1, "late": 1, "join": 1}


async def test_results_are_loaded_only_where_they_are_needed(store: StoreUnderTest, schedule: Any) -> None:
    FAILING.add("join")
    flow = join(parse(parse(fetch(7))), fetch(8))
    await fails(flow, store, schedule=schedule)
    backend: Any = store.open("night")
    asked: list[str] = []
    given = backend.get_results

    async def get_results(node_ids: Any) -> dict[str, Any]:
        asked.extend(names := list(node_ids))
        result: dict[str, Any] = await given(names)
        return result

    backend.get_results = get_results
    RAN.clear()
    FAILING.clear()
    await cascade.run(flow, state=lambda _: backend, run_id="night", schedule=schedule)
    assert sorted(asked) == ["fetch#2", "parse#2"]
    assert RAN == {"join": 1}


async def test_skips_and_routes_are_remembered(store: StoreUnderTest, schedule: Any) -> None:
    FAILING.add("join")

    def flow() -> Any:
        condition = is_on(False)
        routed = cascade.Router(fetch("left"), {"left": parse("L"), "right": parse("R")})
        return join(parse(fetch(1)).run_if(condition), routed, cascade.sequence([nothing(), fetch(9)]))

    await fails(flow(), store, schedule=schedule)
    assert await goes_on(flow(), store, schedule=schedule) == [1, "L", 9]
    assert RAN == {"join": 1}


async def test_items_of_a_map_that_are_recorded_do_not_run_again(store: StoreUnderTest, schedule: Any) -> None:
    FAILING.update({"fetch 3", "parse 13"})
    flow = [fetch.map(n=range(5)), parse.map(n=range(10, 15))]
    await fails(flow, store, schedule=schedule, on_error="continue")
    assert await goes_on(flow, store, schedule=schedule) == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]
    assert RAN == {"fetch 3": 1, "parse 13": 1}


@cascade.task
async def expand(n: int) -> Any:
    note("expand")
    return join(fetch(n), parse(n + 1), name="inner")


async def test_nodes_of_a_flow_that_a_node_returned_do_not_run_again(store: StoreUnderTest, schedule: Any) -> None:
    FAILING.add("inner")
    flow = join(expand(1), name="outer")
    await fails(flow, store, schedule=schedule)
    assert await goes_on(flow, store, schedule=schedule) == [[1, 2]]
    assert RAN == {"expand": 1, "inner": 1, "outer": 1}


@cascade.task
async def expand_anew(_: Any) -> Any:
    return join(fetch("first" if FAILING else "second"), name="inner")


async def test_records_of_another_flow_that_a_node_returned_are_not_reused(
    store: StoreUnderTest, schedule: Any
) -> None:
    FAILING.add("inner")
    flow = join(expand_anew(fetch(0)), name="outer")
    await fails(flow, store, schedule=schedule)
    assert RAN["fetch first"] == 1
    assert await goes_on(flow, store, schedule=schedule) == [["second"]]
    assert RAN == {"fetch second": 1, "inner": 1, "outer": 1}


async def test_retries_that_were_made_are_recorded_with_the_node(durable: StoreUnderTest) -> None:
    failures = 2

    @cascade.task(retry=cascade.Retry(max_attempts=5))
    async def flaky() -> int:
        if RAN["flaky"] < failures:
            RAN["flaky"] += 1
            raise ValueError("not yet")
        return cascade.current().attempt

    assert await cascade.run(flaky(), state=durable.state, run_id="night") == 3
    assert await goes_on(flaky(), durable) == 3
    assert RAN == {}


async def test_attempts_before_the_run_was_cut_short_count(store: StoreUnderTest, schedule: Any) -> None:
    paused = anyio.Event()
    attempts: list[int] = []

    @cascade.task(retry=cascade.Retry(max_attempts=4, delay=3600))
    async def flaky() -> int:
        attempts.append(cascade.current().attempt)
        if len(attempts) < 2:
            raise ValueError("not yet")
        return cascade.current().attempt

    async def wait_for_the_record(events: Any) -> None:
        async for event in events:
            if isinstance(event, cascade.TaskRetrying):
                paused.set()

    async with anyio.create_task_group() as group:
        settings: Any = {"state": store.state, "schedule": schedule, "observers": [wait_for_the_record]}
        group.start_soon(lambda: cascade.run([flaky()], run_id="night", **settings))
        await paused.wait()
        group.cancel_scope.cancel()
    assert await goes_on([flaky()], store, schedule=schedule) == [2]
    assert attempts == [1, 2]


# -- runs that have finished -----------------------------------------------------------------------------------


async def test_a_finished_run_gives_its_result(any_store: StoreUnderTest) -> None:
    flow = join(fetch(1))
    await cascade.run(flow, state=any_store.state, run_id="night")
    with record_events(engine := cascade.Engine(state=any_store.state)) as recorded:
        RAN.clear()
        assert await engine.run(flow, run_id="night") == [1]
    assert RAN == {}
    assert recorded.names()[0] == "RunStarted"
    assert recorded.of(cascade.RunFinished)[0].status == "Succeeded"


async def test_a_finished_run_can_be_run_again(store: StoreUnderTest) -> None:
    flow = join(fetch(1))
    await cascade.run(flow, state=store.state, run_id="night")
    assert await goes_on(flow, store, on_finished="rerun") == [1]
    assert RAN == {"fetch 1": 1, "join": 1}


async def test_a_finished_run_can_be_an_error(store: StoreUnderTest) -> None:
    await cascade.run(fetch(1), state=store.state, run_id="night")
    with pytest.raises(cascade.StateError, match="'night' has finished already"):
        await cascade.run(fetch(1), state=store.state, run_id="night", on_finished="error")
    assert await goes_on(fetch(1), store) == 1


async def test_another_run_id_is_another_run(store: StoreUnderTest) -> None:
    await cascade.run(fetch(1), state=store.state, run_id="night")
    await cascade.run(fetch(2), state=store.state, run_id="day")
    assert await goes_on(fetch(1), store) == 1
    assert RAN == {}


# -- flows that have changed -----------------------------------------------------------------------------------


async def test_other_arguments_are_a_changed_flow_and_the_nodes_are_named(store: StoreUnderTest) -> None:
    FAILING.add("join")
    await fails(join(parse(fetch(1)), fetch(2)), store)
    with pytest.raises(cascade.FlowChangedError, match="'fetch'") as caught:
        await goes_on(join(parse(fetch(100)), fetch(2)), store)
    assert set(caught.value.nodes) == {"fetch", "parse"}
    assert RAN == {}
    assert await goes_on(join(parse(fetch(1)), fetch(2)), store) == [1, 2]
    assert RAN == {"join": 1}


async def test_another_parameter_is_a_changed_flow(store: StoreUnderTest) -> None:
    FAILING.add("join")
    flow = join(fetch(cascade.Param("n", type=int)))
    with pytest.raises(ValueError, match="failing"):
        await cascade.run(flow, {"n": 1}, state=store.state, run_id="night")
    with pytest.raises(cascade.FlowChangedError, match="'fetch'"):
        await cascade.run(flow, {"n": 2}, state=store.state, run_id="night")


@pytest.mark.parametrize("on_error", ["first", "continue"])
async def test_a_node_that_failed_may_come_back_with_other_code(store: StoreUnderTest, on_error: Any) -> None:
    def flow(version: str) -> Any:
        @cascade.task(name="work", version=version)
        async def work(n: int) -> int:
            note("work")
            return n

        return join(parse(work(fetch(1))), fetch(2))

    FAILING.add("work")
    await fails(flow("1"), store, on_error=on_error)
    assert await goes_on(flow("2"), store) == [1, 2]
    assert RAN.keys() <= {"work", "parse 1", "join", "fetch 2"}


async def test_other_code_is_a_changed_flow(store: StoreUnderTest) -> None:
    @cascade.task(name="work", version="1")
    async def first() -> int:
        return 1

    @cascade.task(name="work", version="2")
    async def second() -> int:
        return 2

    FAILING.add("join")
    await fails(join(first()), store)
    with pytest.raises(cascade.FlowChangedError, match="'work'"):
        await goes_on(join(second()), store)
    assert await goes_on(join(second()), store, on_change="recompute") == [2]


async def test_a_condition_that_has_changed_is_a_changed_flow(store: StoreUnderTest) -> None:
    FAILING.add("join")
    await fails(join(parse(fetch(1)).run_if(is_on(False))), store)
    with pytest.raises(cascade.FlowChangedError, match="'parse'"):
        await goes_on(join(parse(fetch(1)).run_if(is_on(True))), store)


async def test_a_changed_flow_can_recompute_what_changed(store: StoreUnderTest) -> None:
    FAILING.add("join")
    await fails(join(parse(fetch(1)), parse(fetch(2))), store)
    changed = join(parse(fetch(1)), parse(fetch(20)))
    assert await goes_on(changed, store, on_change="recompute") == [1, 20]
    assert RAN == {"fetch 20": 1, "parse 20": 1, "join": 1}
    assert await goes_on(changed, store) == [1, 20]
    assert RAN == {}


async def test_a_changed_flow_can_fork_the_run(durable: StoreUnderTest) -> None:
    FAILING.add("join")
    await fails(join(parse(fetch(1)), parse(fetch(2))), durable)
    changed = join(parse(fetch(1)), parse(fetch(20)))
    assert await goes_on(changed, durable, on_change="fork") == [1, 20]
    assert RAN == {"fetch 20": 1, "parse 20": 1, "join": 1}
    assert await goes_on(changed, durable, on_change="fork") == [1, 20]
    assert RAN == {}
    assert await goes_on(join(parse(fetch(1)), parse(fetch(2))), durable) == [1, 2]
    assert RAN == {"join": 1}


async def test_a_fork_that_has_finished_can_be_run_again_or_be_an_error(durable: StoreUnderTest) -> None:
    FAILING.add("join")
    await fails(join(fetch(1)), durable)
    changed = join(fetch(2))
    assert await goes_on(changed, durable, on_change="fork") == [2]
    with pytest.raises(cascade.StateError, match=r"run 'night~[0-9a-f]+' has finished already"):
        await goes_on(changed, durable, on_change="fork", on_finished="error")
    assert await goes_on(changed, durable, on_change="fork", on_finished="rerun") == [2]
    assert RAN == {"fetch 2": 1, "join": 1}


@pytest.mark.parametrize("operation", ["begin", "write"])
async def test_a_fork_that_cannot_be_made_leaves_the_run_as_it_was_and_no_store_open(operation: str) -> None:
    class Forked(InMemoryStateBackend):
        is_open = True

        def refuse(self, what: str) -> None:
            if "~" in self.run_id and what == operation:
                raise OSError("disk full")

        async def begin(self, opening: Opening) -> Past:
            self.refuse("begin")
            return await super().begin(opening)

        async def write(self, batch: Batch) -> NotDurable:
            self.refuse("write")
            return await super().write(batch)

        async def aclose(self) -> None:
            self.is_open = False

    store = kept("forked", Forked)
    FAILING.add("join")
    await fails(join(fetch(1)), store)
    with pytest.raises(cascade.StateError, match="OSError: disk full"):
        await goes_on(join(fetch(2)), store, on_change="fork")
    assert [backend.is_open for backend in store.state.backends.values()] == [False, False]
    assert await goes_on(join(fetch(1)), store) == [1]
    assert RAN == {"join": 1}


async def test_a_finished_run_of_another_flow_is_not_its_result(store: StoreUnderTest) -> None:
    await cascade.run(fetch(1), state=store.state, run_id="night")
    with pytest.raises(cascade.FlowChangedError, match="'fetch'"):
        await cascade.run(fetch(2), state=store.state, run_id="night")
    assert await goes_on(fetch(2), store, on_change="recompute") == 2


class Opaque:
    """Without canonical hash."""


async def test_what_cannot_be_digested_is_named_and_compared_by_shape(store: StoreUnderTest) -> None:
    @cascade.task
    async def opens(thing: Any) -> int:
        note("opens")
        return 1

    FAILING.add("join")
    await fails(join(opens(Opaque())), store)
    RAN.clear()
    FAILING.clear()
    with record_events(engine := cascade.Engine(state=store.state)) as recorded:
        assert await engine.run(join(opens(Opaque())), run_id="night") == [1]
    assert RAN == {"join": 1}
    [warning] = [event for event in recorded.of(cascade.EngineWarning) if event.code == "not-digestible"]
    assert "'opens'" in warning.message


# -- results that cannot be stored -----------------------------------------------------------------------------


@cascade.task
async def make_function() -> Any:
    note("function")
    return lambda: 5


@cascade.task
async def call(function: Any) -> Any:
    note("call")
    return function()


async def test_a_result_that_cannot_be_pickled_is_computed_again_where_it_is_needed(
    durable: StoreUnderTest, schedule: Any
) -> None:
    FAILING.add("call")
    flow = call(make_function())
    engine = cascade.Engine(state=durable.state, schedule=schedule)
    with record_events(engine) as recorded, pytest.raises(ValueError, match="failing"):
        await engine.run(flow, run_id="night")
    [warning] = [event for event in recorded.of(cascade.EngineWarning) if event.code == "not-durable"]
    assert "'make_function'" in warning.message
    assert await goes_on(flow, durable, schedule=schedule) == 5
    assert RAN == {"function": 1, "call": 1}


async def test_a_result_that_cannot_be_pickled_is_left_alone_where_nobody_needs_it(
    durable: StoreUnderTest,
) -> None:
    FAILING.add("join")
    flow = join(call(make_function()))
    await fails(flow, durable)
    assert await goes_on(flow, durable) == [5]
    assert RAN == {"join": 1}


async def test_a_finished_run_whose_result_cannot_be_pickled_computes_it_again(durable: StoreUnderTest) -> None:
    flow = make_function()
    await cascade.run(flow, state=durable.state, run_id="night")
    assert (await goes_on(flow, durable))() == 5
    assert RAN == {"function": 1}


async def test_strict_state_fails_the_task_whose_result_cannot_be_pickled(
    durable: StoreUnderTest, schedule: Any
) -> None:
    flow = call(make_function())
    with pytest.raises(cascade.StateError, match="strict_state") as caught:
        await cascade.run(flow, state=durable.state, strict_state=True, schedule=schedule)
    assert "make_function" in "".join(caught.value.__notes__)
    assert RAN == {"function": 1}


async def test_strict_state_fails_a_run_whose_result_cannot_be_pickled_although_those_of_its_tasks_can(
    durable: StoreUnderTest,
) -> None:
    flow = [fetch(1), lambda: 1]
    with pytest.raises(cascade.StateError, match=r"cannot be recorded: .*pickle"):
        await cascade.run(flow, state=durable.state, strict_state=True)
    assert (await cascade.run(flow, state=durable.state))[0] == 1


async def test_strict_state_lets_pass_what_can_be_pickled(durable: StoreUnderTest, schedule: Any) -> None:
    settings: Any = {"strict_state": True, "schedule": schedule}
    assert await cascade.run(join(fetch(1)), state=durable.state, run_id="night", **settings) == [1]
    assert await goes_on(join(fetch(1)), durable, **settings) == [1]
    assert RAN == {}


# -- keys of requests ------------------------------------------------------------------------------------------


@cascade.task
async def keys(n: Any) -> str:
    note("keys")
    RAN[cascade.current().idempotency_key] += 1
    if "again" in FAILING:
        raise ValueError("failing")
    return cascade.current().idempotency_key


async def test_the_idempotency_key_is_the_same_after_a_resume_and_that_of_one_node(
    durable: StoreUnderTest,
) -> None:
    FAILING.add("again")
    await fails(keys(1), durable)
    [first] = [key for key in RAN if key != "keys"]
    assert await goes_on(keys(1), durable) == first
    many = await cascade.run([keys(1), keys(1), keys.map(n=[1, 1])], state=durable.state, run_id="other")
    assert len({first, many[0], many[1], *many[2]}) == 5


# -- runs that were drained ------------------------------------------------------------------------------------


async def test_a_drained_run_goes_on_with_what_it_left(store: StoreUnderTest, schedule: Any) -> None:
    entered, may_end = anyio.Event(), anyio.Event()

    @cascade.task(version="1")
    async def wait() -> str:
        note("wait")
        entered.set()
        await may_end.wait()
        return "waited"

    flow = join(parse(wait()), fetch(1))
    with pytest.raises(cascade.RunCancelled):
        async with cascade.start(flow, state=store.state, run_id="night", schedule=schedule) as run:
            await entered.wait()
            run.drain()
            may_end.set()
            await run.result()
    before = RAN.copy()
    assert "join" not in before
    assert await goes_on(flow, store, schedule=schedule) == ["waited", 1]
    assert before + RAN == {"wait": 1, "fetch 1": 1, "parse waited": 1, "join": 1}


TURNS: dict[str, anyio.Event] = {}


@cascade.task
async def turn(n: int) -> Any:
    note(f"turn {n}")
    if n == 3 and "entered" in TURNS:
        TURNS["entered"].set()
        await TURNS["may_end"].wait()
    return n if n == 6 else turn(n + 1)


async def test_a_drained_loop_goes_on_with_the_turn_that_it_left(store: StoreUnderTest) -> None:
    TURNS.update(entered=anyio.Event(), may_end=anyio.Event())
    try:
        with pytest.raises(cascade.RunCancelled):
            async with cascade.start(turn(1), state=store.state, run_id="night") as run:
                await TURNS["entered"].wait()
                run.drain()
                TURNS["may_end"].set()
                await run.result()
    finally:
        TURNS.clear()
    assert RAN == {"turn 1": 1, "turn 2": 1, "turn 3": 1}
    assert await goes_on(turn(1), store) == 6
    assert RAN == {"turn 4": 1, "turn 5": 1, "turn 6": 1}


# -- flows that have changed inside maps and sub-flows ---------------------------------------------------------


def item_of(version: str) -> Any:
    @cascade.task(name="item", version=version)
    async def item(x: int) -> Any:
        note(f"item {x}")
        return x

    return item


STEADY: Any = {"on_error": "continue", "durability": "task"}


async def test_items_of_an_interrupted_map_whose_code_changed_are_named(
    store: StoreUnderTest, schedule: Any
) -> None:
    FAILING.add("item 2")
    await fails(item_of("1").map(x=[0, 1, 2]), store, schedule=schedule, **STEADY)
    with pytest.raises(cascade.FlowChangedError, match=r"'item\[[01]\]' changed in code") as caught:
        await goes_on(item_of("2").map(x=[0, 1, 2]), store, schedule=schedule)
    assert sorted(caught.value.nodes) == ["item[0]", "item[1]"]
    assert RAN == {}
    assert await goes_on(item_of("1").map(x=[0, 1, 2]), store, schedule=schedule) == [0, 1, 2]
    assert RAN == {"item 2": 1}


async def test_items_of_an_interrupted_map_whose_code_changed_can_be_recomputed(store: StoreUnderTest) -> None:
    FAILING.add("item 2")
    await fails(item_of("1").map(x=[0, 1, 2]), store, **STEADY)
    FAILING.add("item 0")
    RAN.clear()
    await fails(item_of("2").map(x=[0, 1, 2]), store, on_change="recompute", **STEADY)
    assert RAN == {"item 0": 1, "item 1": 1, "item 2": 1}
    # What was recorded with the code of before is gone: the flow has not changed since.
    assert await goes_on(item_of("2").map(x=[0, 1, 2]), store) == [0, 1, 2]
    assert RAN == {"item 0": 1, "item 2": 1}


async def test_a_map_whose_items_all_failed_has_not_changed(store: StoreUnderTest) -> None:
    FAILING.update({"item 0", "item 1"})
    await fails(item_of("1").map(x=[0, 1]), store, **STEADY)
    assert await goes_on(item_of("2").map(x=[0, 1]), store) == [0, 1]


@pytest.mark.parametrize("on_change", ["recompute", "fork"])
async def test_items_of_an_unchanged_map_are_kept_when_something_else_has_changed(
    store: StoreUnderTest, on_change: Any
) -> None:
    FAILING.add("item 3")
    numbers = [0, 1, 2, 3]
    await fails(join(item_of("1").map(x=numbers), fetch(1)), store, **STEADY)
    changed = join(item_of("1").map(x=numbers), fetch(2))
    assert await goes_on(changed, store, on_change=on_change) == [numbers, 2]
    assert RAN == {"item 3": 1, "fetch 2": 1, "join": 1}


async def test_a_fork_does_not_keep_items_that_have_changed(store: StoreUnderTest) -> None:
    FAILING.add("item 2")
    await fails(item_of("1").map(x=[0, 1, 2]), store, **STEADY)
    assert await goes_on(item_of("2").map(x=[0, 1, 2]), store, on_change="fork") == [0, 1, 2]
    assert RAN == {"item 0": 1, "item 1": 1, "item 2": 1}
    assert await goes_on(item_of("1").map(x=[0, 1, 2]), store) == [0, 1, 2]
    assert RAN == {"item 2": 1}


@pytest.mark.parametrize("on_change", ["recompute", "fork"])
async def test_nodes_of_a_sub_flow_are_kept_when_something_else_has_changed(
    store: StoreUnderTest, on_change: Any
) -> None:
    FAILING.add("inner")
    await fails(join(expand(1), fetch(5)), store, **STEADY)
    assert await goes_on(join(expand(1), fetch(6)), store, on_change=on_change) == [[1, 2], 6]
    assert RAN == {"expand": 1, "inner": 1, "fetch 6": 1, "join": 1}


async def test_a_fork_keeps_items_in_sub_flows_of_items(store: StoreUnderTest) -> None:
    @cascade.task(version="1")
    async def spread(x: int) -> Any:
        note(f"spread {x}")
        return item_of("1").map(x=[x, x + 1])

    FAILING.add("item 11")
    await fails(join(spread.map(x=[0, 10]), fetch(5)), store, **STEADY)
    assert await goes_on(join(spread.map(x=[0, 10]), fetch(6)), store, on_change="fork") == [[[0, 1], [10, 11]], 6]
    assert RAN == {"spread 10": 1, "item 11": 1, "fetch 6": 1, "join": 1}


@pytest.mark.parametrize("on_change", ["error", "fork"])
async def test_another_flow_that_is_refused_or_forked_changes_nothing_of_the_run(
    durable: StoreUnderTest, on_change: Any, schedule: Any
) -> None:
    @cascade.task(version="1")
    async def fails(name: str) -> str:
        raise ValueError(f"no luck with {name}")

    @cascade.task(version="1")
    async def same(name: str) -> str:
        return name

    def flow(name: str) -> Any:
        return fails(same(cascade.Param(name)))

    settings: dict[str, Any] = {"state": durable.state, "run_id": "night", "schedule": schedule}
    with pytest.raises(ValueError, match="no luck with one"):
        await cascade.run(flow("first"), params={"first": "one"}, **settings)
    before = await api.recorded_run(durable.state, "night")
    assert (before.status, before.error) == ("failed", "ValueError: no luck with one")
    with pytest.raises(cascade.FlowChangedError if on_change == "error" else ValueError):
        await cascade.run([flow("other")], params={"other": "two"}, on_change=on_change, **settings)
    after = await api.recorded_run(durable.state, "night")
    assert attrs.evolve(after, epoch=1, updated=before.updated, outline=before.outline) == before

    with pytest.raises(ValueError, match="no luck with two"):
        await cascade.run([flow("other")], params={"other": "two"}, on_change="recompute", **settings)
    adopted = await api.recorded_run(durable.state, "night")
    assert (adopted.status, adopted.error) == ("failed", "ValueError: no luck with two")
    assert adopted.params.keys() == {"other"}
