"""Cancelling single nodes while their run goes on: wherever they are in their life, and whatever they run in."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from life import Log, errors, finished, forever, joined, just, raising, until
from process_tasks import never_ends

import cascade
from cascade.testing import Recorded, record_events


@attrs.define
class Watched:
    """A live run that goes on after failures, its events, and what it failed with."""

    run: cascade.Run[Any]
    recorded: Recorded
    failed: cascade.RunFailed | None = None

    def error_of(self, node_id: str) -> str | None:
        """How the node ended, if it has failed."""
        ends = [end for end in self.recorded.of(cascade.TaskExecutionFinished) if end.task_id == node_id]
        assert len(ends) == 1
        assert ends[0].status == "Failed"
        return ends[0].error


@asynccontextmanager
async def watched(flow: Any, **as_run: Any) -> AsyncIterator[Watched]:
    """A run beside the block; leaving the block waits for its end, and takes what it failed with."""
    engine = cascade.Engine(on_error="continue", **as_run)
    with record_events(engine) as recorded:
        async with engine.start(flow) as run:
            found = Watched(run, recorded)
            yield found
            try:
                await run.result()
            except cascade.RunFailed as error:
                found.failed = error


@asynccontextmanager
async def unheard(flow: Any, **as_run: Any) -> AsyncIterator[cascade.Run[Any]]:
    """A run that nobody listens to, so that its plain nodes run in lanes, and its loops in code."""
    async with cascade.start(flow, **as_run) as run:
        yield run
        with pytest.raises(cascade.TaskCancelledError, match="on request"):
            await run.result()


def only_error(failed: cascade.RunFailed | None) -> Exception:
    assert failed is not None
    (error,) = failed.exceptions
    assert isinstance(error, Exception)
    return error


@cascade.task
async def idle(value: Any) -> Any:
    await anyio.sleep_forever()


# -- what it means -----------------------------------------------------------------------------------------------


async def test_a_node_that_runs_ends_as_failed_and_the_others_go_on(schedule: Any) -> None:
    log = Log()
    async with watched([log.waits("a"), just(2)], schedule=schedule) as found:
        await until(log.has("a starts"))
        assert found.run.cancel_node("waits") is True
        assert log.lines == ["a starts"]  # it has not been waited for

    assert log.lines == ["a starts", "a is cancelled"]
    error = only_error(found.failed)
    assert isinstance(error, cascade.TaskCancelledError)
    assert (error.node_id, error.on_request) == ("waits", True)
    assert found.failed is not None
    assert found.failed.results == {"just": 2}
    assert found.error_of("waits") == "TaskCancelledError: 'waits' was cancelled on request, while its run went on"
    assert finished(found.recorded).counts["failed"] == 1


async def test_by_default_the_run_is_aborted_as_by_any_failure(schedule: Any) -> None:
    log = Log()
    with pytest.raises(cascade.TaskCancelledError, match="'waits' was cancelled on request") as caught:
        async with cascade.start([log.waits("a"), log.waits("b")], schedule=schedule) as run:
            await until(log.has("a starts", "b starts"))
            run.cancel_node("waits")
    assert set(log.lines) == {"a starts", "b starts", "a is cancelled", "b is cancelled"}
    assert "in run" in caught.value.__notes__[0]


@pytest.mark.parametrize("has_begun", [True, False])
async def test_it_can_be_handled(schedule: Any, has_begun: bool) -> None:
    log = Log()
    cancelled, other = log.waits("a", *([] if has_begun else [forever()])), log.waits("b")
    flow = joined(cascade.settled(cancelled), other.or_else("instead"))
    async with cascade.start(flow, schedule=schedule) as run:
        await until(log.has("b starts"))
        run.cancel_node("waits")
        run.cancel_node("waits#2")
        if not has_begun:
            run.cancel_node("forever")
        outcome, value = await run.result()
    assert isinstance(outcome, cascade.Failed)
    assert isinstance(outcome.error, cascade.TaskCancelledError)
    assert (outcome.task_id, value) == ("waits", "instead")


async def test_what_needs_the_node_is_skipped(schedule: Any) -> None:
    log = Log()
    async with watched(joined(log.waits("a"), just(1)), schedule=schedule) as found:
        await until(log.has("a starts"))
        found.run.cancel_node("waits")
    (skip,) = found.recorded.of(cascade.TaskSkipped)
    assert (skip.task_id, skip.reason) == ("joined", "UpstreamFailed")


async def test_it_is_not_attempted_again(schedule: Any) -> None:
    log = Log()
    flow = log.waits("a").with_retry(max_attempts=5)
    async with watched(flow, schedule=schedule) as found:
        await until(log.has("a starts"))
        found.run.cancel_node("waits")
    assert log.lines == ["a starts", "a is cancelled"]
    assert isinstance(only_error(found.failed), cascade.TaskCancelledError)


async def test_what_the_node_raises_while_it_is_cancelled_is_the_cause(schedule: Any) -> None:
    begun, error = anyio.Event(), ValueError("in its clean-up")

    @cascade.task
    async def dirty() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    async with watched(dirty(), schedule=schedule) as found:
        await begun.wait()
        found.run.cancel_node("dirty")
    assert only_error(found.failed).__cause__ is error


async def test_what_the_node_returns_all_the_same_does_not_count(schedule: Any) -> None:
    begun = anyio.Event()

    @cascade.task
    async def stubborn() -> str:
        begun.set()
        with anyio.CancelScope(shield=True), anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        return "late"

    async with watched([stubborn()], schedule=schedule) as found:
        await begun.wait()
        found.run.cancel_node("stubborn")
    assert isinstance(only_error(found.failed), cascade.TaskCancelledError)


# -- clear answers -----------------------------------------------------------------------------------------------


async def test_a_node_that_has_ended_is_left_alone() -> None:
    async with watched([just(1), forever()]) as found:
        await until(lambda: any(end.task_id == "just" for end in found.recorded.of(cascade.TaskExecutionFinished)))
        await until(
            lambda: any(begun.task_id == "forever" for begun in found.recorded.of(cascade.TaskExecutionStarted))
        )
        assert found.run.cancel_node("just") is False
        assert found.run.cancel_node("forever") is True
        assert found.run.cancel_node("forever") is True  # it is being cancelled
    assert found.run.cancel_node("forever") is False
    assert found.run.cancel_node("whatever") is False  # the run has ended, and so have all its nodes


@pytest.mark.parametrize(
    "name", ["forever#9", "for", "", "forever/x", "idle[7]", "idle[-1]", "idle[x]", "idle[0", "router", "[", "/"]
)
async def test_an_unknown_node_is_an_error_that_says_where_ids_are_found(name: str) -> None:
    flow = [cascade.Router(forever(), {1: just(1)}), idle.map(value=[1])]
    async with cascade.start(flow, run_id="nightly") as run:
        await until(lambda: run.status().running == ("forever", "idle"))
        with pytest.raises(cascade.NodeNotFoundError, match="'nightly' has no node") as caught:
            run.cancel_node(name)
        assert (caught.value.run_id, caught.value.node_id) == ("nightly", name)
        run.cancel()


async def test_an_item_of_a_map_that_has_not_begun_is_named_with_its_map() -> None:
    @cascade.task
    async def late(value: Any) -> None: ...

    async with cascade.start(late.map(value=forever())) as run:
        await until(lambda: "forever" in run.status().running)
        with pytest.raises(cascade.NodeNotFoundError, match="cancel 'late' itself") as caught:
            run.cancel_node("late[3]")
        assert caught.value.within == "late"
        run.cancel()


async def test_parts_of_a_node_that_has_ended_have_ended() -> None:
    async with watched([just.map(value=[1, 2]), forever()]) as found:
        await until(lambda: found.run.status().counts["succeeded"] >= 3)
        assert found.run.cancel_node("just[1]") is False
        found.run.cancel_node("forever")


# -- nodes that have not begun -----------------------------------------------------------------------------------


async def test_a_node_that_waits_for_its_inputs_ends_at_once(schedule: Any) -> None:
    log = Log()
    async with watched(log.waits("b", forever()), schedule=schedule) as found:
        await until(lambda: "forever" in found.run.status().running)
        assert found.run.cancel_node("waits")
        assert found.run.status().counts["failed"] == 1
        found.run.cancel_node("forever")
    assert log.lines == []


async def test_a_node_behind_a_router_that_is_then_chosen_does_not_run(schedule: Any) -> None:
    log, choose = Log(), anyio.Event()

    @cascade.task
    async def chosen() -> str:
        await choose.wait()
        return "a"

    flow = cascade.Router(chosen(), {"a": log.waits("a"), "b": just(1)})
    async with watched(flow, schedule=schedule) as found:
        await until(lambda: "chosen" in found.run.status().running)
        assert found.run.cancel_node("waits")
        choose.set()
    assert log.lines == []
    assert isinstance(only_error(found.failed), cascade.TaskCancelledError)


async def test_a_node_that_waits_for_capacity_leaves_the_queue_and_one_that_runs_gives_it_back(
    schedule: Any,
) -> None:
    log = Log()
    nodes = {"a": "waits", "b": "waits#2", "c": "waits#3"}
    flow = [log.waits(name).with_constraints(gpu=1) for name in nodes]
    async with watched(flow, schedule=schedule, system_resources={"gpu": 1}) as found:
        await until(lambda: bool(log.lines) and len(found.run.explain()) == 2)
        first = log.lines[0][0]
        second, third = (name for name in nodes if name != first)
        found.run.cancel_node(nodes[second])
        await until(lambda: len(found.run.explain()) == 1)
        found.run.cancel_node(nodes[first])
        await until(log.has(f"{third} starts"))
        found.run.cancel_node(nodes[third])
    assert not log.has(f"{second} starts")()


async def test_a_node_that_a_rule_holds_ends(schedule: Any) -> None:
    async with watched([just(n) for n in range(300)], schedule=schedule, control=None) as found:
        await found.run.pause()
        await until(lambda: len(found.run.explain()) == 300)
        for name in ("just", "just#200"):  # one that asks for admission, and one behind the first hundred
            found.run.cancel_node(name)
        await until(lambda: found.run.status().counts["failed"] == 2)
        await found.run.resume()
    assert found.failed is not None
    assert len(found.failed.results) == 298


async def test_a_node_that_rests_between_two_attempts_ends(schedule: Any) -> None:
    flow = raising(errors(1)[0]).with_retry(max_attempts=2, delay=3600)
    async with watched(flow, schedule=schedule) as found:
        await until(lambda: len(found.recorded.of(cascade.TaskRetrying)) == 1)
        found.run.cancel_node("raising")
    assert isinstance(only_error(found.failed), cascade.TaskCancelledError)


async def test_a_node_that_waits_for_a_thread_behind_a_stuck_one_ends(schedule: Any) -> None:
    release, log = threading.Event(), Log()

    @cascade.task
    def stuck(name: str) -> str:
        log.lines.append(name)
        release.wait(10)
        return name

    async with unheard([stuck("a"), stuck("b")], schedule=schedule, max_threads=1, on_error="first") as run:
        await until(lambda: bool(log.lines))
        assert run.cancel_node("stuck#2" if log.lines == ["a"] else "stuck")
        assert run.status().counts["failed"] == 1
        release.set()
    assert len(log.lines) == 1


# -- whatever it runs in -----------------------------------------------------------------------------------------


async def test_a_node_in_a_lane_is_cancelled_and_no_other_of_that_lane(schedule: Any) -> None:
    log, go_on = Log(), anyio.Event()

    @cascade.task
    async def other() -> str:
        log.lines.append("other starts")
        await go_on.wait()
        return "other"

    flow = [log.waits("a"), other(), log.waits("b")]
    async with cascade.start(flow, schedule=schedule, on_error="continue") as run:
        await until(log.has("a starts", "b starts", "other starts"))
        run.cancel_node("waits")
        await until(log.has("a is cancelled"))
        go_on.set()
        await until(lambda: run.status().counts["succeeded"] == 1)
        run.cancel_node("waits#2")
        with pytest.raises(cascade.RunFailed) as caught:
            await run.result()
    assert caught.value.results == {"other": "other"}
    assert log.lines[-1] == "b is cancelled"


@pytest.mark.parametrize("is_plain", [True, False])
async def test_a_node_in_a_thread_ends_at_its_next_checkpoint(schedule: Any, is_plain: bool) -> None:
    begun = threading.Event()

    @cascade.task
    def spins() -> None:
        begun.set()
        while True:
            cascade.checkpoint()

    flow = spins() if is_plain else spins().with_timeout(3600)
    async with cascade.start([flow, forever()], schedule=schedule, on_error="continue") as run:
        await until(begun.is_set)
        run.cancel_node("spins")
        await until(lambda: run.status().counts["failed"] == 1)
        run.cancel_node("forever")
        with pytest.raises(cascade.RunFailed) as caught:
            await run.result()
    assert len(caught.value.exceptions) == 2


async def test_threads_go_on_with_other_nodes_after_one_was_cancelled(schedule: Any) -> None:
    begun = threading.Event()

    @cascade.task
    def spins(number: int) -> int:
        while number == 0:
            begun.set()
            cascade.checkpoint()
        return number

    flow = [spins(number) for number in range(50)]
    async with cascade.start(flow, schedule=schedule, on_error="continue", max_threads=1) as run:
        await until(begun.is_set)
        run.cancel_node("spins")
        with pytest.raises(cascade.RunFailed) as caught:
            await run.result()
    assert sorted(caught.value.results.values()) == list(range(1, 50))  # type: ignore[type-var]


async def test_what_a_thread_returns_after_that_does_not_count(schedule: Any) -> None:
    begun, release = threading.Event(), threading.Event()

    @cascade.task
    def deaf() -> str:
        begun.set()
        release.wait(10)
        return "late"

    async with unheard([deaf()], schedule=schedule) as run:
        await until(begun.is_set)
        run.cancel_node("deaf")
        release.set()


async def test_a_thread_that_is_left_behind_learns_of_it(schedule: Any) -> None:
    begun, learnt = threading.Event(), threading.Event()

    @cascade.task(abandon_on_cancel=True)
    def spins() -> None:
        begun.set()
        try:
            while True:
                cascade.checkpoint()
        finally:
            learnt.set()

    async with watched(spins(), schedule=schedule) as found:
        await until(begun.is_set)
        found.run.cancel_node("spins")
    await until(learnt.is_set)
    assert isinstance(only_error(found.failed), cascade.TaskCancelledError)


async def test_a_worker_process_is_killed(schedule: Any, tmp_path: Path) -> None:
    marker = tmp_path / "begun"
    async with watched(never_ends(str(marker)), schedule=schedule) as found:
        await until(marker.exists)
        found.run.cancel_node("never_ends")
    assert isinstance(only_error(found.failed), cascade.TaskCancelledError)


async def test_a_node_that_cancels_itself_in_a_lane_has_its_value_discarded(schedule: Any) -> None:
    runs: list[cascade.Run[Any]] = []

    @cascade.task(mode="inline")
    def itself() -> int:
        assert runs[0].cancel_node("itself")
        return 1

    async with cascade.start([itself(), just(1)], schedule=schedule, on_error="continue") as run:
        runs.append(run)
        with pytest.raises(cascade.RunFailed) as caught:
            await run.result()
    assert caught.value.results == {"just": 1}


async def test_a_coroutine_that_a_sync_function_returned_in_a_thread_is_cancelled(schedule: Any) -> None:
    log = Log()
    waits = log.waits

    @cascade.task
    def wrapped() -> Any:
        return waits.func("inner")

    async with unheard([wrapped()], schedule=schedule) as run:
        await until(log.has("inner starts"))
        run.cancel_node("wrapped")
    assert log.lines[-1] == "inner is cancelled"


# -- maps --------------------------------------------------------------------------------------------------------


async def test_a_map_is_cancelled_with_all_its_items(schedule: Any) -> None:
    log = Log()
    async with watched([log.waits.map(name=["a", "b", "c"]), just(1)], schedule=schedule) as found:
        await until(log.has("a starts", "b starts", "c starts"))
        found.run.cancel_node("waits")
    assert sorted(log.lines[3:]) == ["a is cancelled", "b is cancelled", "c is cancelled"]
    error = only_error(found.failed)
    assert isinstance(error, cascade.TaskCancelledError)
    assert error.node_id == "waits"
    ends = {end.task_id: end.status for end in found.recorded.of(cascade.TaskExecutionFinished)}
    assert ends["waits"] == "Failed"
    assert [ends[f"waits[{item}]"] for item in range(3)] == ["Cancelled"] * 3
    assert found.failed is not None
    assert found.failed.results == {"just": 1}


async def test_no_item_begins_after_its_map_was_cancelled(schedule: Any) -> None:
    log = Log()
    names = [str(number) for number in range(20)]
    async with watched(log.waits.map(name=names).with_concurrency(2), schedule=schedule) as found:
        await until(log.has("0 starts", "1 starts"))
        found.run.cancel_node("waits")
    assert sorted(log.lines[2:]) == ["0 is cancelled", "1 is cancelled"]


async def test_no_item_in_a_thread_begins_after_its_map_was_cancelled(schedule: Any) -> None:
    begun, release, seen = threading.Event(), threading.Event(), list[int]()

    @cascade.task
    def deaf(number: int) -> None:
        seen.append(number)
        begun.set()
        release.wait(10)

    async with unheard(deaf.map(number=range(1000)), schedule=schedule, max_threads=1) as run:
        await until(begun.is_set)
        run.cancel_node("deaf")
        release.set()
    assert seen == [0]


async def test_an_item_is_cancelled_alone(schedule: Any) -> None:
    log = Log()
    async with watched(log.waits.map(name=["a", "b"]), schedule=schedule) as found:
        await until(log.has("a starts", "b starts"))
        found.run.cancel_node("waits[1]")
        await until(log.has("b is cancelled"))
        assert log.lines[-1] == "b is cancelled"
        found.run.cancel()
    (end,) = [end for end in found.recorded.of(cascade.TaskExecutionFinished) if end.task_id == "waits[1]"]
    assert end.status == "Failed"


# -- flows that nodes returned -----------------------------------------------------------------------------------


def returning(flow: Any) -> cascade.LazyResult[Any]:
    """A node that asks for *flow* to be run, whose value is only part of the run's."""

    @cascade.task
    async def outer() -> Any:
        return flow

    return outer()


@pytest.mark.parametrize("is_plain", [True, False])
async def test_a_node_is_cancelled_with_the_flow_that_it_returned(schedule: Any, is_plain: bool) -> None:
    log = Log()
    outer = returning(joined(log.waits("a"), log.waits("b")))
    flow = [outer if is_plain else outer.with_retry(max_attempts=3), just(1)]
    async with cascade.start(flow, schedule=schedule, on_error="continue") as run:
        await until(log.has("a starts", "b starts"))
        run.cancel_node("outer")
        with pytest.raises(cascade.RunFailed) as caught:
            await run.result()
    assert sorted(log.lines[2:]) == ["a is cancelled", "b is cancelled"]
    assert caught.value.results == {"just": 1}


async def test_a_node_of_a_returned_flow_is_cancelled_alone(schedule: Any) -> None:
    log = Log()
    flow = [returning([log.waits("a"), just(1)])]
    async with unheard(flow, schedule=schedule) as run:
        await until(log.has("a starts"))
        run.cancel_node("outer/waits")
    assert log.lines == ["a starts", "a is cancelled"]


async def test_a_thread_of_a_returned_flow_is_waited_for(schedule: Any) -> None:
    begun, release, log = threading.Event(), threading.Event(), Log()

    @cascade.task
    def deaf() -> None:
        begun.set()
        release.wait(10)
        log.lines.append("deaf ends")

    async with unheard([returning([deaf(), log.waits("a", deaf())])], schedule=schedule) as run:
        await until(begun.is_set)
        run.cancel_node("outer")
        await anyio.wait_all_tasks_blocked()
        assert run.status().state == "Running"
        release.set()
    assert set(log.lines) == {"deaf ends"}  # once, or twice if the second thread was quick


# -- loops -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, 2, 50])
async def test_a_node_of_a_loop_is_cancelled_in_its_turn(schedule: Any, turn: int) -> None:
    begun = anyio.Event()

    @cascade.task
    async def step(number: int) -> Any:
        if number == turn:
            begun.set()
            await anyio.sleep_forever()
        return step(number + 1)

    async with unheard(step(1), schedule=schedule) as run:
        await begun.wait()
        run.cancel_node("step")


@pytest.mark.parametrize("is_attentive", [True, False])
async def test_a_loop_in_a_thread_ends_with_the_turn_that_is_cancelled(schedule: Any, is_attentive: bool) -> None:
    seen: list[int] = []

    @cascade.task
    def step(number: int) -> Any:
        seen.append(number)
        if is_attentive:
            cascade.checkpoint()
        return step(number + 1)

    async with unheard(step(1), schedule=schedule) as run:
        await until(lambda: len(seen) > 500)
        assert run.cancel_node("step")


async def test_a_node_of_a_hot_turn_that_has_not_begun_does_not_begin(schedule: Any) -> None:
    reached, release, seen = threading.Event(), threading.Event(), list[int]()

    @cascade.task
    def first(number: int) -> int:
        if number == 100:
            reached.set()
            release.wait(10)
        return number

    @cascade.task
    def second(number: int) -> Any:
        seen.append(number)
        return second(first(number + 1))

    async with unheard(second(first(1)), schedule=schedule) as run:
        await until(reached.is_set)
        run.cancel_node("second")
        release.set()
    assert seen[-1] == 99


# -- resources, caches, stores -----------------------------------------------------------------------------------


async def test_resources_of_a_cancelled_node_are_closed_and_those_of_the_run_stay_open(schedule: Any) -> None:
    log = Log()

    @cascade.resource(scope="task")
    async def own() -> Any:
        log.lines.append("own opens")
        try:
            yield 1
        finally:
            log.lines.append("own closes")

    @cascade.resource
    async def shared() -> Any:
        try:
            yield 2
        finally:
            log.lines.append("shared closes")

    waits = log.waits
    flow = [
        waits("a", cascade.inject("own"), cascade.inject("shared")),
        joined(cascade.inject("shared"), forever()),
    ]
    async with watched(flow, schedule=schedule, providers=[own, shared]) as found:
        await until(log.has("a starts"))
        found.run.cancel_node("waits")
        await until(log.has("own closes"))
        found.run.cancel_node("forever")
    assert log.lines == ["own opens", "a starts", "a is cancelled", "own closes", "shared closes"]


async def test_who_waits_for_an_equal_call_computes_it_when_that_is_cancelled(schedule: Any) -> None:
    calls: list[int] = []

    @cascade.task(cache=cascade.cache.InputCache(cascade.cache.MemoryCacheStore()))
    async def costly(number: int) -> int:
        calls.append(number)
        if len(calls) == 1:
            await anyio.sleep_forever()
        return number

    async with watched([costly(1), costly(1)], schedule=schedule) as found:
        await until(lambda: len(calls) == 1)
        await anyio.wait_all_tasks_blocked()
        running = [start.task_id for start in found.recorded.of(cascade.TaskExecutionStarted)]
        found.run.cancel_node(running[0])
    assert len(calls) == 2
    assert found.failed is not None
    assert list(found.failed.results.values()) == [1]


async def test_a_resumed_run_runs_the_cancelled_node_again(schedule: Any) -> None:
    calls: list[str] = []
    store = cascade.state.InMemoryStateBackend

    @cascade.task(version="1")
    async def slow() -> str:
        calls.append("slow")
        if len(calls) == 1:
            await anyio.sleep_forever()
        return "done"

    backends: dict[str, Any] = {}

    def state(run_id: str) -> Any:
        return backends.setdefault(run_id, store(run_id))

    with pytest.raises(cascade.TaskCancelledError):
        async with cascade.start([slow()], state=state, run_id="r", schedule=schedule) as run:
            await until(lambda: bool(calls))
            run.cancel_node("slow")
    assert await cascade.run([slow()], state=state, run_id="r", schedule=schedule) == ["done"]
