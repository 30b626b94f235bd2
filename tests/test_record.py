"""``cascade.testing.record_events``: what it records, of what, and for how long."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import pytest
from life import forever
from plain_tasks import double, fails, one

import cascade
from cascade.testing import record_events


async def test_it_records_the_events_of_an_engine_in_order() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(double(one()))

    assert recorded.names() == [
        "RunStarted",
        "StageStarted",
        "TaskExecutionStarted",
        "TaskExecutionFinished",
        "StageFinished",
        "StageStarted",
        "TaskExecutionStarted",
        "TaskExecutionFinished",
        "StageFinished",
        "RunFinished",
    ]
    assert [event.seq for event in recorded.events] == list(range(1, 11))


async def test_it_records_the_events_of_a_run_from_the_first_to_the_last() -> None:
    async with cascade.start(one(), schedule="eager") as run:
        with record_events(run) as recorded:
            await run.result()

    assert recorded.names() == ["RunStarted", "TaskExecutionStarted", "TaskExecutionFinished", "RunFinished"]


async def test_a_run_may_be_recorded_past_its_end() -> None:
    async with cascade.start(one()) as run:
        recording = record_events(run)
        recorded = recording.__enter__()
    recording.__exit__(None, None, None)

    assert recorded.names()[-1] == "RunFinished"


def test_it_records_the_events_of_a_bus() -> None:
    bus = cascade.EventBus()
    dropped = cascade.EventsDropped(seq=1, timestamp=0.0, run_id="r1", count=3)
    with record_events(bus) as recorded:
        bus.publish(dropped)

    assert recorded.events == (dropped,)


def test_it_records_the_events_of_a_plain_script(backend_name: str) -> None:
    bus = cascade.EventBus()
    with record_events(bus) as recorded:
        cascade.run_sync(one(), backend=backend_name, bus=bus)

    assert recorded.names()[-1] == "RunFinished"


async def test_the_record_of_one_run_has_nothing_of_another() -> None:
    engine = cascade.Engine()
    async with engine, engine.start(one()) as first:
        with record_events(first) as recorded:
            async with engine.start(one()) as second:
                await first.result()
                await second.result()

    assert {event.run_id for event in recorded.events} == {first.id}


async def test_the_record_of_an_engine_has_all_of_its_runs() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        async with engine:
            await engine.run(one(), run_id="first")
            await engine.run(one(), run_id="second")

    assert [event.run_id for event in recorded.of(cascade.RunStarted)] == ["first", "second"]


async def test_two_records_of_one_engine_are_alike() -> None:
    engine = cascade.Engine()
    with record_events(engine) as outer, record_events(engine) as inner:
        await engine.run(double(one()))

    assert outer.events == inner.events


async def test_it_can_be_read_while_the_run_goes_on() -> None:
    async with cascade.start(forever()) as run:
        with record_events(run) as recorded:
            while "TaskExecutionStarted" not in recorded.names():
                await anyio.lowlevel.checkpoint()
            meanwhile = recorded.names()
            run.cancel()

    assert meanwhile == ["RunStarted", "StageStarted", "TaskExecutionStarted"]


async def test_reading_it_twice_gives_the_same() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(one())
        assert recorded.events == recorded.events

    assert recorded.names() == recorded.names()


async def test_nothing_is_recorded_after_the_block() -> None:
    engine = cascade.Engine()
    async with engine:
        with record_events(engine) as recorded:
            await engine.run(one(), run_id="first")
        await engine.run(one(), run_id="second")

    assert {event.run_id for event in recorded.events} == {"first"}


async def test_nothing_is_recorded_that_came_before_the_block() -> None:
    engine = cascade.Engine()
    async with engine:
        await engine.run(one(), run_id="first")
        with record_events(engine) as recorded:
            await engine.run(one(), run_id="second")

    assert {event.run_id for event in recorded.events} == {"second"}


async def test_it_holds_nothing_up() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(double.map(x=range(1_000)))

    assert len(recorded.of(cascade.TaskExecutionFinished)) >= 1_000


async def test_the_record_of_a_failing_run_is_complete() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(ValueError, match="trouble"):
        await engine.run(fails())

    assert recorded.names()[-1] == "RunFinished"


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("how", ["cancelled", "raises in the block"])
async def test_the_record_of_a_run_that_is_ended_is_complete(how: str, when: str) -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded, suppress(KeyError):
        async with engine.start(forever()) as run:
            if when == "later":
                await anyio.wait_all_tasks_blocked()
            if how == "cancelled":
                run.cancel()
            else:
                raise KeyError("in the block")

    assert recorded.names()[0] == "RunStarted"
    assert recorded.names()[-1] == "RunFinished"


async def test_the_record_survives_an_error_in_its_block() -> None:
    engine = cascade.Engine()
    with pytest.raises(KeyError), record_events(engine) as recorded:
        await engine.run(one())
        raise KeyError("in the block")

    assert recorded.names()[-1] == "RunFinished"


async def test_events_are_found_by_class_subclasses_included() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(double(one()))

    assert [type(event).__name__ for event in recorded.of(cascade.TaskExecutionStarted)] == [
        "TaskExecutionStarted",
        "TaskExecutionStarted",
    ]
    assert len(recorded.of(cascade.NodeEvent)) == 4
    assert len(recorded.of(cascade.Event)) == len(recorded.events)
    assert recorded.of(cascade.TaskSkipped) == []


async def test_events_are_found_by_node() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run(double(double(one())))

    assert [(type(event).__name__, event.task_id) for event in recorded.about("double#2")] == [
        ("TaskExecutionStarted", "double#2"),
        ("TaskExecutionFinished", "double#2"),
    ]
    assert recorded.about("triple") == []


@pytest.mark.parametrize("source", [None, 5, one()])
def test_what_has_no_events_cannot_be_recorded(source: Any) -> None:
    with pytest.raises((TypeError, AttributeError)), record_events(source):
        pass
