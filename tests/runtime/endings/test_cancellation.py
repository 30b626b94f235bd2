"""Cancellation from outside: tasks see it, everything is cleaned up, and it goes on to the caller."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from anyio import get_cancelled_exc_class
from life import Log, cancelled_when, failure_of, finished, joined, just, raising, unfinished

import cascade
from cascade.adapters.state.memory import InMemoryStateBackend
from cascade.testing import Recorded, record_events

pytestmark = pytest.mark.loop

PATIENCE = 30  # seconds after which a thread that waits gives up, so that a failing test ends


async def recorded_cancellation(when: Callable[[], bool], flow: Any, **settings: Any) -> Recorded:
    """The events of a run of *flow* that is cancelled when the condition holds."""
    engine = cascade.Engine(**settings)
    with record_events(engine) as recorded:
        assert await cancelled_when(when, lambda: engine.run(flow))
    return recorded


async def test_tasks_see_the_cancellation(schedule: Any) -> None:
    log = Log()
    flow = [log.waits("a"), log.waits("b")]
    await recorded_cancellation(log.has("a starts", "b starts"), flow, schedule=schedule)
    assert sorted(log.lines) == ["a is cancelled", "a starts", "b is cancelled", "b starts"]


async def test_the_cancellation_goes_on_to_the_caller(schedule: Any) -> None:
    log = Log()

    async def run_and_go_on() -> None:
        await cascade.run(log.waits("a"), schedule=schedule)
        log.lines.append("went on")

    assert await cancelled_when(log.has("a starts"), run_and_go_on)
    assert "went on" not in log.lines


async def test_the_last_event_is_delivered(schedule: Any) -> None:
    log = Log()
    recorded = await recorded_cancellation(log.has("a starts"), log.waits("a", just(1)), schedule=schedule)
    assert finished(recorded).status == "Cancelled"
    assert finished(recorded).failures == ()
    assert finished(recorded).counts == {"succeeded": 1, "cancelled": 1, "pending": 0, "skipped": 0, "failed": 0}


async def test_every_node_that_began_has_ended_according_to_its_events(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def asks_for_more() -> Any:
        return just(log.waits("inner"))

    flow = joined(
        log.waits("a"),
        log.waits.map(name=["b", "c"]),
        asks_for_more(),
        raising(ValueError()).with_retry(2, delay=1e6),
    )
    everything = log.has("a starts", "b starts", "c starts", "inner starts")
    recorded = await recorded_cancellation(everything, flow, schedule=schedule)
    assert unfinished(recorded) == set()


async def test_a_node_that_never_began_has_no_event() -> None:
    log = Log()
    recorded = await recorded_cancellation(log.has("a starts"), just(log.waits("a")))
    assert recorded.about("just") == []


async def test_who_needs_a_cancelled_node_is_left_alone(schedule: Any) -> None:
    log = Log()
    names = [str(number) for number in range(20)]  # many, as it is a matter of who is woken first
    flow = [just(log.waits(name)) for name in names]
    all_wait = log.has(*[f"{name} starts" for name in names])
    recorded = await recorded_cancellation(all_wait, flow, schedule=schedule)
    assert recorded.of(cascade.TaskSkipped) == []
    assert finished(recorded).counts["pending"] == 20


async def test_clean_up_that_awaits_under_a_shield_is_waited_for() -> None:
    log = Log()

    @cascade.task
    async def tidy() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await anyio.lowlevel.checkpoint()
            log.lines.append("tidied up")

    await recorded_cancellation(log.has("starts"), tidy())
    assert log.lines == ["starts", "tidied up"]


async def test_resources_are_closed_after_the_nodes_have_cleaned_up(schedule: Any) -> None:
    log = Log()

    @cascade.resource
    async def laboratory() -> AsyncIterator[str]:
        try:
            yield "open"
        finally:
            await anyio.lowlevel.checkpoint()
            log.lines.append("laboratory closed")

    flow = log.waits("a", cascade.inject("laboratory"))
    await recorded_cancellation(log.has("a starts"), flow, providers=[laboratory], schedule=schedule)
    assert log.lines == ["a starts", "a is cancelled", "laboratory closed"]


async def test_the_provider_sees_the_cancellation_that_ends_its_scope() -> None:
    log, seen = Log(), list[BaseException]()

    @cascade.resource
    async def laboratory() -> AsyncIterator[str]:
        try:
            yield "open"
        except BaseException as error:
            seen.append(error)
            raise

    flow = log.waits("a", cascade.inject("laboratory"))
    await recorded_cancellation(log.has("a starts"), flow, providers=[laboratory])
    assert [type(error) for error in seen] == [get_cancelled_exc_class()]


async def test_a_resource_that_is_being_opened_is_cancelled_and_cleaned_up() -> None:
    log = Log()

    @cascade.resource
    async def laboratory() -> AsyncIterator[str]:
        log.lines.append("opening")
        try:
            await anyio.sleep_forever()
            yield "open"
        finally:
            log.lines.append("given up")

    await recorded_cancellation(log.has("opening"), just(cascade.inject("laboratory")), providers=[laboratory])
    assert log.lines == ["opening", "given up"]


@pytest.mark.parametrize("durability", ["stage", "exit"])
async def test_accepted_state_is_written(durability: Any) -> None:
    log, backend = Log(), InMemoryStateBackend("run")
    flow = joined(log.waits("a", just("kept")))
    await recorded_cancellation(log.has("a starts"), flow, state=lambda run_id: backend, durability=durability)
    assert await backend.get_result("just") == "kept"


async def test_a_node_that_waits_for_capacity_takes_none() -> None:
    log = Log()
    async with cascade.Engine(system_resources={"gpu": 1}) as engine:
        flow = [log.waits(name).with_constraints(gpu=1) for name in "ab"]
        assert await cancelled_when(lambda: bool(log.lines), lambda: engine.run(flow))
        assert len(log.lines) == 2
        assert engine.capacity() == {"gpu": (0, 1)}


async def test_sync_tasks_are_joined() -> None:
    started = anyio.Event()
    log: list[str] = []

    @cascade.task
    def works() -> None:
        anyio.from_thread.run_sync(started.set)
        try:
            while True:
                cascade.checkpoint()
        finally:
            log.append("thread ended")

    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, works())
        await started.wait()
        group.cancel_scope.cancel()
    assert log == ["thread ended"]


async def test_a_run_in_a_cancelled_scope_does_not_begin() -> None:
    log, engine = Log(), cascade.Engine()
    with record_events(engine) as recorded, anyio.CancelScope() as scope:
        scope.cancel()
        await engine.run(log.waits("a"))
    assert scope.cancelled_caught
    assert (log.lines, recorded.events) == ([], ())


async def test_a_node_may_cancel_the_scope_around_its_own_run(schedule: Any) -> None:
    log = Log()

    @cascade.task(mode="task")  # in a lane, what follows within the same millisecond would start
    async def cancels() -> None:
        scope.cancel()

    with anyio.CancelScope() as scope:
        await cascade.run([log.waits("a"), log.waits("b", cancels())], schedule=schedule)
    assert scope.cancelled_caught
    assert "b starts" not in log.lines


async def test_a_tail_call_loop_can_be_cancelled() -> None:
    @cascade.task
    async def turn(n: int) -> Any:
        if n == 50:
            scope.cancel()
        return turn(n + 1)

    with anyio.CancelScope() as scope:
        await cascade.run(turn(0))
    assert scope.cancelled_caught


# -- swallowed -------------------------------------------------------------------------------------------------


class Swallowing(Log):
    """With a task that ignores its cancellation."""

    @property
    def swallows(self) -> Any:
        @cascade.task
        async def swallows(result: Any) -> Any:
            self.lines.append("starts")
            try:
                await anyio.sleep_forever()
            except get_cancelled_exc_class():
                pass
            return result() if callable(result) else result

        return swallows


async def test_the_result_of_a_task_that_swallows_cancellation_is_discarded(schedule: Any) -> None:
    log = Swallowing()
    recorded = await recorded_cancellation(log.has("starts"), log.swallows("done"), schedule=schedule)
    assert [event.status for event in recorded.of(cascade.TaskExecutionFinished)] == ["Cancelled"]
    assert finished(recorded).counts["succeeded"] == 0


async def test_nothing_starts_after_a_task_that_swallows_cancellation(schedule: Any) -> None:
    log = Swallowing()
    flow = log.waits("next", log.swallows("done"))
    await recorded_cancellation(log.has("starts"), flow, schedule=schedule)
    assert log.lines == ["starts"]


@pytest.mark.parametrize("wrap", [lambda flow: flow, just], ids=["tail call", "in place"])
async def test_a_flow_returned_in_spite_of_cancellation_is_not_run(wrap: Any, schedule: Any) -> None:
    log = Swallowing()
    flow = log.swallows(lambda: log.waits("inner"))
    await recorded_cancellation(log.has("starts"), wrap(flow), schedule=schedule)
    assert log.lines == ["starts"]


async def test_a_swallowed_result_does_not_end_up_in_the_state() -> None:
    log, backend = Swallowing(), InMemoryStateBackend("run")
    await recorded_cancellation(log.has("starts"), log.swallows("done"), state=lambda run_id: backend)
    assert not await backend.has_result("swallows")


async def test_a_sync_task_that_does_not_look_has_its_result_discarded() -> None:
    started, released = anyio.Event(), threading.Event()

    @cascade.task
    def works() -> str:
        anyio.from_thread.run_sync(started.set)
        released.wait(PATIENCE)
        return "late"

    engine = cascade.Engine()
    with record_events(engine) as recorded:
        async with anyio.create_task_group() as group:
            group.start_soon(engine.run, works())
            await started.wait()
            group.cancel_scope.cancel()
            released.set()
    assert finished(recorded).counts["succeeded"] == 0


# -- failures and cancellation ---------------------------------------------------------------------------------


async def test_a_failure_before_the_cancellation_is_raised_instead_of_it() -> None:
    error, is_waiting = ValueError("bad"), anyio.Event()

    @cascade.task
    async def cancels_in_clean_up() -> None:
        is_waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            scope.cancel()

    @cascade.task
    async def fails() -> None:
        await is_waiting.wait()
        raise error

    with anyio.CancelScope() as scope:
        assert await failure_of([cancels_in_clean_up(), fails()]) is error
        with pytest.raises(get_cancelled_exc_class()):  # the caller's scope stays cancelled
            await anyio.lowlevel.checkpoint()


async def test_a_failure_in_the_clean_up_after_a_cancellation_is_not_lost(schedule: Any) -> None:
    log, error = Log(), ValueError("in clean-up")

    @cascade.task
    async def clumsy() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    with pytest.raises(ValueError, match="in clean-up") as caught:
        await cancelled_when(log.has("starts"), lambda: cascade.run(clumsy(), schedule=schedule))
    assert caught.value is error


async def test_cancelled_parts_are_split_out_of_the_groups_of_failures() -> None:
    log, error = Log(), ValueError("in clean-up")

    async def clumsy() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    @cascade.task
    async def groups() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(clumsy)
            group.start_soon(anyio.sleep_forever)

    engine = cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(ExceptionGroup) as caught:
        await cancelled_when(log.has("starts"), lambda: engine.run(groups()))
    assert caught.value.exceptions == (error,)
    assert finished(recorded).status == "Failed"


async def test_a_group_of_nothing_but_cancellations_is_a_cancellation() -> None:
    log = Log()

    @cascade.task
    async def groups() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        except get_cancelled_exc_class() as error:
            raise BaseExceptionGroup("all cancelled", [error, BaseExceptionGroup("again", [error])]) from None

    assert finished(await recorded_cancellation(log.has("starts"), groups())).status == "Cancelled"


async def test_a_checkpoint_in_a_thread_of_the_tasks_own_is_part_of_the_cancellation() -> None:
    has_started = anyio.Event()

    def look() -> None:
        anyio.from_thread.run_sync(has_started.set)
        while True:
            cascade.checkpoint()

    @cascade.task
    async def looks_in_a_thread() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, look)

    @cascade.task
    async def fails() -> None:
        await has_started.wait()
        raise ValueError("bad")

    engine = cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(ValueError, match="bad"):
        await engine.run([looks_in_a_thread(), fails()])
    assert finished(recorded).failures == ("ValueError: bad",)
