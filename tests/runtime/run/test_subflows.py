"""Flows that tasks return in the middle of a flow: run in place, with nothing of their caller held meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import anyio
import pytest
from observed import observe
from own_cache import Memory
from plain_tasks import crash, gathered, give

import cascade


@cascade.task(mode="inline")
def add(a: int, b: int) -> int:
    return a + b


def returning(make: Callable[[], Any], mode: Literal["inline", "thread", "async"] = "inline") -> Any:
    """A task called ``outer`` that returns what *make* makes."""
    if mode == "async":

        @cascade.task(name="outer")
        async def on_loop(*_: Any) -> Any:
            return make()

        return on_loop

    @cascade.task(name="outer", mode=mode)
    def sync(*_: Any) -> Any:
        return make()

    return sync


# -- what may be returned --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inline", "thread", "async"])
async def test_a_lazy_that_a_middle_node_returns_is_run_in_its_place(mode: Any, schedule: Any) -> None:
    outer = returning(lambda: gathered(give(1), give(2)), mode)
    assert await cascade.run(gathered(outer()), schedule=schedule) == ((1, 2),)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: [give(1), 2], [1, 2]),
        (lambda: {"a": (give(1),), "b": {give(2)}}, {"a": (1,), "b": {2}}),
        (lambda: cascade.gather(give(1), 2), (1, 2)),
        (lambda: cascade.sequence([give(1), give(2)]), 2),
        (lambda: cascade.pipeline(give(1), [gathered, gathered]), ((1,),)),
        (lambda: give.map(value=[give(1), 2]), [1, 2]),
        (lambda: cascade.Router(give("a"), {"a": give(1), "b": crash()}), 1),
        (lambda: [cascade.Router("a", {"a": [give(1)], "b": crash()})], [[1]]),
        (lambda: cascade.Param("p", default="given"), "given"),
        (lambda: [cascade.Env("CASCADE_TEST_UNSET", default="env")], ["env"]),
        (lambda: give(1).run_if(give(True)), 1),
        (lambda: give(2).after(give(1).run_if(False)), None),
        (lambda: give(None), None),
        (list, []),
    ],
)
async def test_whatever_can_be_run_can_be_returned(make: Callable[[], Any], expected: Any, schedule: Any) -> None:
    for flow, value in ((gathered(returning(make)()), (expected,)), ([returning(make)()], [expected])):
        assert await cascade.run(flow, schedule=schedule) == value


async def test_a_container_without_lazies_is_returned_as_the_same_object(schedule: Any) -> None:
    thing = [1, {"k": (2,)}]
    assert (await cascade.run([returning(lambda: thing)()], schedule=schedule))[0] is thing


async def test_flows_nest_and_all_consumers_get_the_final_value(schedule: Any) -> None:
    middle = returning(lambda: gathered(returning(lambda: give("deep"))()))
    outer = middle()
    assert await cascade.run([gathered(outer), outer, [outer]], schedule=schedule) == [
        (("deep",),),
        ("deep",),
        [("deep",)],
    ]


async def test_a_flow_that_returns_a_flow_is_run_until_there_is_a_value(schedule: Any) -> None:
    @cascade.task(mode="inline")
    def countdown(n: int) -> Any:
        return countdown(n - 1) if n else "end"

    assert await cascade.run(gathered(countdown(50)), schedule=schedule) == ("end",)


async def test_a_condition_selector_or_amount_may_ask_for_a_flow(schedule: Any) -> None:
    flow = [
        gathered(1).run_if(returning(lambda: give(True))()),
        cascade.Router(returning(lambda: give("a"))(), {"a": give(2), "b": crash()}),
        gathered(3).with_constraints(gpu=returning(lambda: give(1))()),
        gathered(4).after(returning(lambda: give(0))()),
        give.map(value=returning(lambda: give([5]))()),
    ]
    value = await cascade.run(flow, schedule=schedule, system_resources={"gpu": 1})
    assert value == [(1,), 2, (3,), (4,), [5]]


async def test_what_a_route_returns_is_run_also_if_another_route_takes_it(schedule: Any) -> None:
    outer = returning(lambda: give(5))()
    router = cascade.Router(give("b"), {"a": outer, "b": add(outer, 1)})
    assert await cascade.run(router, schedule=schedule) == 6
    assert await cascade.run(gathered(router), schedule=schedule) == (6,)


async def test_what_a_selector_returns_is_run_also_if_it_is_a_route(schedule: Any) -> None:
    outer = returning(lambda: give("a"))()
    assert await cascade.run(cascade.Router(outer, {"a": outer}), schedule=schedule) == "a"


# -- ids and events --------------------------------------------------------------------------------------------


async def test_nodes_of_a_flow_in_the_middle_have_the_asking_node_in_their_ids(schedule: Any) -> None:
    inner = returning(lambda: gathered(give(1)))
    seen = await observe(gathered(returning(lambda: [inner(), give(2)])()), schedule=schedule)
    assert seen.ran == sorted(
        ["outer", "outer/outer", "outer/outer/give", "outer/outer/gathered", "outer/give", "gathered"]
    )
    assert set(seen.finished.values()) == {"Succeeded"}
    assert seen.last.counts == {"pending": 0, "succeeded": 6, "skipped": 0, "failed": 0, "cancelled": 0}


async def test_an_asking_node_ends_after_the_flow_that_it_asked_for(schedule: Any) -> None:
    seen = await observe(gathered(returning(lambda: gathered(give(1)))()), schedule=schedule)
    order = [
        (type(event).__name__.removeprefix("TaskExecution"), event.task_id)
        for event in seen.recorded.of(cascade.NodeEvent)
    ]
    assert order == [
        ("Started", "outer"),
        ("Started", "outer/give"),
        ("Finished", "outer/give"),
        ("Started", "outer/gathered"),
        ("Finished", "outer/gathered"),
        ("Finished", "outer"),
        ("Started", "gathered"),
        ("Finished", "gathered"),
    ]
    assert [event.result_preview for event in seen.recorded.of(cascade.TaskExecutionFinished)] == [
        "1",
        "(1,)",
        "(1,)",
        "((1,),)",
    ]


async def test_the_same_flow_asked_for_by_several_nodes_runs_for_each(schedule: Any) -> None:
    shared = give(1)
    outer = returning(lambda: shared)
    seen = await observe([outer(), outer(), shared], schedule=schedule)
    assert seen.value == [1, 1, 1]
    assert seen.ran == sorted(["give", "outer", "outer#2", "outer/give", "outer#2/give"])


# -- what is held meanwhile ------------------------------------------------------------------------------------


async def test_the_asking_nodes_claim_is_free_while_its_flow_runs(schedule: Any) -> None:
    outer = returning(lambda: give(1).with_constraints(gpu=1))().with_constraints(gpu=1)
    with anyio.fail_after(60):
        assert await cascade.run(gathered(outer), schedule=schedule, system_resources={"gpu": 1}) == (1,)


async def test_the_asking_nodes_thread_is_free_while_its_flow_runs(schedule: Any) -> None:
    outer = returning(lambda: gathered(returning(lambda: gathered(1), "thread")()), "thread")
    with anyio.fail_after(60):
        assert await cascade.run(gathered(outer()), schedule=schedule, max_threads=1) == (((1,),),)


async def test_the_flow_of_a_node_keeps_to_the_limits_of_the_run(schedule: Any) -> None:
    in_flight, most = 0, 0

    @cascade.task
    async def count(_: int) -> None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await anyio.wait_all_tasks_blocked()
        in_flight -= 1

    outer = returning(lambda: count.map(_=range(4)).with_constraints(gpu=1))
    await cascade.run([outer(), outer()], schedule=schedule, system_resources={"gpu": 2})
    assert most == 2


async def test_a_retry_covers_the_function_and_not_the_flow_that_it_returns(schedule: Any) -> None:
    calls: Counter[str] = Counter()

    @cascade.task(mode="inline")
    def outer() -> Any:
        calls["outer"] += 1
        if calls["outer"] == 1:
            raise OSError("once")
        return broken()

    @cascade.task(mode="inline")
    def broken() -> None:
        calls["broken"] += 1
        raise OSError("always")

    with pytest.raises(OSError, match="always"):
        await cascade.run(gathered(outer().with_retry(5)), schedule=schedule)
    assert calls == {"outer": 2, "broken": 1}


async def test_a_cache_keeps_the_final_value(schedule: Any) -> None:
    memory = Memory(lambda task_id, _: task_id)
    outer = returning(lambda: [give(1), {"k": give(None)}])().with_cache(memory)
    assert await cascade.run(gathered(outer), schedule=schedule) == ([1, {"k": None}],)
    assert memory.saved == {"outer": [1, {"k": None}]}
    seen = await observe(gathered(outer), schedule=schedule)
    assert seen.value == ([1, {"k": None}],)
    assert seen.started == ["gathered"]


# -- failures --------------------------------------------------------------------------------------------------


async def test_a_failure_in_a_nodes_flow_is_raised_as_it_is_and_told_once(schedule: Any) -> None:
    flow = gathered(returning(lambda: gathered(returning(lambda: gathered(crash()))()))())
    for on_error in ("first", "continue"):
        seen = await observe(flow, schedule=schedule, on_error=on_error)
        (error,) = seen.failures()
        assert isinstance(error, ZeroDivisionError)
        assert [note for note in error.__notes__ if "'outer/outer/crash'" in note] == error.__notes__
        assert seen.last.failures == ("ZeroDivisionError: crash",)


async def test_who_asked_for_a_failing_flow_fails_where_the_run_goes_on(schedule: Any) -> None:
    flow = [gathered(returning(lambda: [crash(), give(1)])()), give(2)]
    seen = await observe(flow, schedule=schedule, on_error="continue")
    assert seen.finished == {
        "outer/crash": "Failed",
        "outer/give": "Succeeded",
        "outer": "Failed",
        "give": "Succeeded",
    }
    assert seen.skipped == {"gathered": "UpstreamFailed"}


async def test_what_is_left_of_a_failed_run_is_told_by_the_nodes_of_its_own_flow(schedule: Any) -> None:
    flow = [gathered(returning(lambda: [crash(), give(1)])()), give(2)]
    seen = await observe(flow, schedule=schedule, on_error="continue")
    assert isinstance(seen.error, cascade.RunFailed)
    assert seen.error.results == {"give": 2}


async def test_a_skipped_target_of_a_nodes_flow_fails_the_node(schedule: Any) -> None:
    seen = await observe(gathered(returning(lambda: give(1).run_if(False))()), schedule=schedule)
    assert isinstance(seen.error, cascade.DependencyMissingError)
    assert seen.error.node_id == "outer/give"
    assert seen.skipped == {"outer/give": "ConditionFalse"}


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: cascade.Router(give("?"), {"a": 1}), cascade.RouteNotFoundError),
        (lambda: give(cascade.Param("p", type=int)), cascade.InputError),
        (lambda: give(1).with_constraints(gpu=2), cascade.CapacityError),
        (lambda: give(cascade.inject("nobody")), cascade.ResourceNotFoundError),
        (lambda: {give(1): 2}, cascade.GraphError),
        (lambda: give.map(value=give(5)), TypeError),
    ],
)
async def test_a_flow_that_cannot_be_run_fails_the_node_that_returned_it(
    make: Callable[[], Any], kind: type[Exception], schedule: Any
) -> None:
    seen = await observe(gathered(returning(make)()), {"p": "x"}, schedule=schedule, system_resources={"gpu": 1})
    assert isinstance(seen.error, kind)
    assert "gathered" not in seen.started


async def test_a_run_that_ends_cancels_the_flows_of_its_nodes(schedule: Any) -> None:
    began = anyio.Event()
    ended: list[str] = []

    @cascade.task
    async def forever() -> None:
        try:
            began.set()
            await anyio.sleep_forever()
        finally:
            ended.append("forever")

    @cascade.task
    async def fail_then() -> None:
        await began.wait()
        raise ZeroDivisionError

    outer = returning(lambda: gathered(forever()))
    seen = await observe([outer(), returning(fail_then)()], schedule=schedule)
    assert isinstance(seen.error, ZeroDivisionError)
    assert ended == ["forever"]
    assert seen.finished["outer/forever"] == seen.finished["outer"] == "Cancelled"


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_returned_lazy_that_stands_where_none_can_is_refused(schedule: Any, *, is_async: bool) -> None:
    @cascade.task
    async def number(n: object = 1) -> object:
        return n

    async def on_the_loop() -> Any:
        return {number(): 1}

    def in_a_thread() -> Any:
        return {number(): 1}

    returns: Any = cascade.task(on_the_loop if is_async else in_a_thread)
    with pytest.raises(cascade.GraphError, match="is the key of a dict"):
        await cascade.run(number(returns()), schedule=schedule)


@pytest.mark.parametrize("is_handled_first", [False, True])
async def test_what_failed_is_told_rather_than_what_was_skipped(is_handled_first: bool, schedule: Any) -> None:
    outer = returning(lambda: [give(1).run_if(False), crash()])()
    flow = gathered(outer).or_else(outer) if is_handled_first else outer
    seen = await observe(flow, schedule=schedule, on_error="continue")
    assert isinstance(seen.error, cascade.RunFailed)
    assert [type(error) for error in seen.error.exceptions] == [ZeroDivisionError]
