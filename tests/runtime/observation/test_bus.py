"""The bus by itself and in runs: who gets what, when streams end, what happens when a buffer is full."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint
from life import forever
from plain_tasks import fail, step
from strategies_runtime import event, rest, skipped

import cascade
from cascade.runtime.admission.admission import Admission
from cascade.testing import record_events

Policy = Literal["block", "drop"]


# -- who gets what ---------------------------------------------------------------------------------------------


async def test_subscribing_registers_at_once() -> None:
    bus = cascade.EventBus()
    stream = bus.subscribe()
    bus.publish(event())
    bus.close()
    async with stream:
        assert await rest(stream) == [event()]


async def test_every_subscriber_gets_every_event_in_order() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe() as one, bus.subscribe() as two:
        for seq in range(1, 6):
            bus.publish(event(seq))
        bus.close()
        assert [e.seq for e in await rest(one)] == [e.seq for e in await rest(two)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((), ["StateRecorded", "TaskSkipped"]),
        ((cascade.TaskSkipped,), ["TaskSkipped"]),
        ((cascade.NodeEvent,), ["TaskSkipped"]),
        ((cascade.Event,), ["StateRecorded", "TaskSkipped"]),
        ((cascade.TaskBlocked, cascade.StateRecorded), ["StateRecorded"]),
        ((cascade.TaskBlocked,), []),
        ((cascade.AttemptStarted,), ["AttemptStarted"]),
        ((cascade.Event, cascade.AttemptStarted), ["StateRecorded", "TaskSkipped", "AttemptStarted"]),
    ],
)
async def test_a_subscriber_gets_the_kinds_it_asked_for(kinds: Any, expected: list[str]) -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(*kinds) as stream:
        bus.publish(event())
        bus.publish(skipped())
        when: dict[str, Any] = {"seq": 2, "timestamp": 0.0, "run_id": "run"}
        bus.publish(cascade.AttemptStarted(**when, task_id="a", task_name="a", attempt=2))
        bus.close()
        assert [type(e).__name__ for e in await rest(stream)] == expected
        assert bus.wants(cascade.AttemptStarted) is False  # nobody is left


@pytest.mark.parametrize("kinds", [(), (cascade.Event,), (cascade.NodeEvent,)])
async def test_an_event_that_has_to_be_named_is_not_wanted_by_who_does_not(kinds: Any) -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(*kinds):
        assert bus.wants(cascade.TaskSkipped)
        assert not bus.wants(cascade.AttemptStarted)
        async with bus.subscribe(cascade.AttemptStarted):
            assert bus.wants(cascade.AttemptStarted)


async def test_what_is_published_on_a_child_is_published_on_its_parent() -> None:
    parent = cascade.EventBus()
    child = cascade.EventBus(parent)
    async with parent.subscribe() as stream:
        child.publish(event())
        assert stream.receive_nowait() == event()


async def test_who_has_left_gets_nothing_more() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe() as stream:
        pass
    bus.publish(event())
    assert stream.statistics().unread == 0


async def test_who_subscribes_to_a_closed_bus_finds_the_end() -> None:
    bus = cascade.EventBus()
    bus.close()
    async with bus.subscribe() as stream:
        assert await rest(stream) == []


@pytest.mark.parametrize("kind", [int, "TaskSkipped", skipped()])
async def test_only_classes_of_events_can_be_subscribed_to(kind: Any) -> None:
    with pytest.raises(TypeError, match="classes of events"):
        cascade.EventBus().subscribe(kind)


@pytest.mark.parametrize(
    "settings", [{"buffer": 0}, {"buffer": 1.5}, {"buffer": True}, {"policy": "lossy"}, {"policy": None}]
)
async def test_buffer_and_policy_must_mean_something(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        cascade.EventBus().subscribe(**settings)


@contextmanager
def made_events() -> Iterator[list[str]]:
    """The functions of the module of events that are called meanwhile, as the interpreter sees them."""
    called: list[str] = []

    def look(frame: Any, what: str, _: object) -> None:
        if what == "call" and "cascade.model.events." in frame.f_code.co_filename:
            called.append(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield called
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("is_listening", [False, True])
async def test_without_a_subscriber_no_event_is_made(is_listening: bool, schedule: Any) -> None:
    flow = step.map(value=step([1, 2]).with_retry(2).with_constraints(gpu=1))
    async with cascade.Engine(schedule=schedule) as engine, engine.subscribe() as stream:
        if not is_listening:
            stream.close()
        with made_events() as made:
            await engine.run([flow, cascade.Router(step("a"), {"a": step(), "b": step()})])
    assert bool(made) is is_listening


async def test_a_subscriber_has_only_those_events_made_that_it_asked_for() -> None:
    async with cascade.Engine() as engine, engine.subscribe(cascade.TaskSkipped):
        with made_events() as made:
            await engine.run(cascade.Router(step("a"), {"a": step(), "b": step()}))
    assert len(made) == 1


# -- the end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["block", "drop"])
@pytest.mark.parametrize("ending", ["Succeeded", "Failed", "Cancelled"])
async def test_a_stream_ends_after_the_run_s_last_event_however_it_ends(
    ending: str, policy: Policy, schedule: Any
) -> None:
    flow = {"Succeeded": step(), "Failed": fail(), "Cancelled": forever()}[ending]
    async with cascade.start(flow, schedule=schedule) as run:
        stream = run.subscribe(policy=policy)
        if ending == "Cancelled":
            await anyio.wait_all_tasks_blocked()
            run.cancel()
        with suppress(ValueError, cascade.RunCancelled):
            await run.result()
    final = (await rest(stream))[-1]
    assert isinstance(final, cascade.RunFinished)
    assert final.status == ending
    stream.close()


@pytest.mark.parametrize("policy", ["block", "drop"])
@pytest.mark.parametrize("status", ["Succeeded", "Failed", "Cancelled"])
async def test_the_last_event_fits_into_a_full_buffer(status: str, policy: Policy, schedule: Any) -> None:
    flow = {"Succeeded": step(), "Failed": fail(), "Cancelled": forever()}[status]
    async with cascade.start(flow, schedule=schedule) as run:
        stream = run.subscribe(cascade.TaskExecutionStarted, cascade.RunFinished, buffer=1, policy=policy)
        if status == "Cancelled":
            await anyio.wait_all_tasks_blocked()
            run.cancel()
        with suppress(ValueError, cascade.RunCancelled):
            await run.result()
    names = [type(e).__name__ for e in await rest(stream)]
    assert names == ["TaskExecutionStarted", "RunFinished"]
    stream.close()


async def test_who_subscribes_before_the_first_await_sees_the_first_event() -> None:
    async with cascade.start(step()) as run, run.subscribe() as events:
        assert isinstance(await events.receive(), cascade.RunStarted)


async def test_who_subscribes_to_a_run_that_has_ended_finds_the_end() -> None:
    async with cascade.start(step()) as run:
        await run.result()
        async with run.subscribe() as stream:
            assert await rest(stream) == []


# -- an engine's bus -------------------------------------------------------------------------------------------


async def test_an_engine_s_bus_spans_its_runs() -> None:
    engine = cascade.Engine()
    async with engine.subscribe(cascade.RunFinished) as stream:
        async with engine:
            await engine.run(step(), run_id="one")
            await engine.run(step(), run_id="two")
        assert [e.run_id for e in await rest(stream)] == ["one", "two"]


async def test_runs_beside_each_other_number_their_events_each_by_itself() -> None:
    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(engine.run, step.map(value=[1, 2, 3]))
    ids = {e.run_id for e in recorded.events}
    assert len(ids) == 3
    for run_id in ids:
        numbers = [e.seq for e in recorded.events if e.run_id == run_id]
        assert numbers == [*range(1, len(numbers) + 1)]


async def test_an_ended_stream_that_nobody_read_holds_up_no_later_run() -> None:
    engine = cascade.Engine()
    async with engine.subscribe(buffer=5):
        await engine.run(step())
        with anyio.fail_after(60):
            await engine.run(step())


async def test_a_bus_that_engines_share_goes_on_when_one_of_them_is_done() -> None:
    bus = cascade.EventBus()
    async with bus.subscribe(cascade.RunFinished) as stream:
        async with cascade.Engine(bus=bus) as long:
            async with cascade.Engine(bus=bus) as short:
                await short.run(step(), run_id="short")
            await long.run(step(), run_id="long")
        assert [e.run_id for e in await rest(stream)] == ["short", "long"]


async def test_a_recording_holds_nothing_up() -> None:
    async with cascade.start(step.map(value=range(1000))) as run:
        with record_events(run) as recorded:
            await run.result()
    assert len(recorded.of(cascade.TaskExecutionFinished)) == 1001


async def test_a_subscriber_may_leave_between_two_events() -> None:
    async with cascade.start(step.map(value=range(20))) as run:
        async with run.subscribe(buffer=2) as events:
            await events.receive()
        assert await run.result() == list(range(20))


async def test_a_stream_can_be_read_by_several_tasks() -> None:
    bus = cascade.EventBus()
    seen: list[int] = []

    async def read(stream: Any) -> None:
        async for got in stream:
            seen.append(got.seq)
            await checkpoint()

    async with bus.subscribe() as stream, anyio.create_task_group() as group:
        group.start_soon(read, stream)
        group.start_soon(read, stream)
        for seq in range(10):
            bus.publish(event(seq))
        bus.close()
    assert sorted(seen) == [*range(10)]


async def test_a_bus_that_outlives_engines_keeps_nothing_of_them() -> None:
    def how_many() -> int:
        gc.collect()
        return sum(isinstance(thing, Admission) for thing in gc.get_objects())

    bus = cascade.EventBus()
    before = how_many()
    for _ in range(5):
        await cascade.run(step(), bus=bus)
    assert how_many() <= before + 1
