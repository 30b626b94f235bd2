"""Observers: they see everything, are waited for, and never fail a run."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest
from life import forever
from plain_tasks import fail, step
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.runtime.observation.bus import EventStream
from cascade.testing import record_events

anyio_backend = virtual_loops


OPENED = cascade.inject("opened")


@attrs.define(eq=False)
class Collecting:
    """An observer that keeps what it sees."""

    names: list[str] = attrs.field(factory=list)
    has_ended: bool = False

    async def __call__(self, events: EventStream) -> None:
        async for event in events:
            self.names.append(type(event).__name__)
        self.has_ended = True


async def raises(events: EventStream) -> None:
    await events.receive()
    raise RuntimeError("observer trouble")


async def raises_at_once(events: EventStream) -> None:
    raise RuntimeError("observer trouble")


async def returns_early(events: EventStream) -> None:
    await events.receive()


async def hangs(events: EventStream) -> None:
    await anyio.sleep_forever()


async def raises_a_group(events: EventStream) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(raises, events)


async def times_out(events: EventStream) -> None:
    with anyio.fail_after(0):
        await anyio.sleep_forever()


@pytest.mark.parametrize("ending", ["RunFinished Succeeded", "RunFinished Failed", "RunFinished Cancelled"])
async def test_an_observer_sees_a_run_from_its_first_event_to_its_last(ending: str, schedule: Any) -> None:
    seen: list[Any] = []

    async def observer(events: EventStream) -> None:
        seen.extend([event async for event in events])

    flow = {"Succeeded": step(), "Failed": fail(), "Cancelled": forever()}[ending.split()[1]]
    with anyio.move_on_after(5):
        if "Failed" in ending:
            with pytest.raises(ValueError, match="no luck"):
                await cascade.run(flow, observers=[observer], schedule=schedule)
        else:
            await cascade.run(flow, observers=[observer], schedule=schedule)
    assert isinstance(seen[0], cascade.RunStarted)
    assert f"{type(seen[-1]).__name__} {seen[-1].status}" == ending


async def test_a_run_waits_for_its_observers() -> None:
    written: list[str] = []

    async def slow(events: EventStream) -> None:
        async for event in events:
            await pass_time(0.5)
            written.append(type(event).__name__)

    await cascade.run(step(), observers=[slow])
    assert written[-1] == "RunFinished"


async def test_several_observers_see_the_same() -> None:
    observers = [Collecting(), Collecting()]
    await cascade.run(step(step()), observers=observers)
    assert observers[0].names == observers[1].names
    assert all(observer.has_ended for observer in observers)


def exits_with(error: BaseException) -> Any:
    async def exits(events: EventStream) -> None:
        await events.receive()
        raise error

    return exits


EXITS = [
    exits_with(SystemExit(3)),
    exits_with(GeneratorExit()),
    exits_with(BaseExceptionGroup("both", [SystemExit(3), ValueError()])),
]


@pytest.mark.parametrize("bad", [raises, raises_at_once, raises_a_group, times_out, *EXITS])
async def test_an_observer_that_raises_never_fails_the_run(bad: Any, schedule: Any) -> None:
    assert await cascade.run(step(step("fine")), observers=[bad], schedule=schedule) == "fine"


@pytest.mark.parametrize("bad", [raises, raises_at_once, raises_a_group, *EXITS])
async def test_an_observer_that_raises_is_reported(bad: Any) -> None:
    async with cascade.Engine(observers=[bad]) as engine:
        with record_events(engine) as recorded:
            await engine.run(step(step()))
    (warning,) = recorded.of(cascade.EngineWarning)
    assert warning.code == "observer-failed"
    assert bad.__name__ in warning.message


async def test_an_observer_that_raises_at_the_last_event_is_reported_before_the_engine_is_done() -> None:
    async def raises_at_the_end(events: EventStream) -> None:
        async for event in events:
            assert not isinstance(event, cascade.RunFinished)

    async with cascade.Engine(observers=[raises_at_the_end]) as engine:
        with record_events(engine) as recorded:
            await engine.run(step())
    assert [warning.code for warning in recorded.of(cascade.EngineWarning)] == ["observer-failed"]


@pytest.mark.parametrize("bad", [raises, returns_early])
async def test_an_observer_that_is_gone_holds_nothing_up(bad: Any) -> None:
    with anyio.fail_after(100):
        assert await cascade.run(step.map(value=range(1500)), observers=[bad]) == [*range(1500)]


@pytest.mark.parametrize("bad", [raises, returns_early, hangs])
async def test_other_observers_see_everything_whatever_one_of_them_does(bad: Any) -> None:
    good = Collecting()
    await cascade.run(step(step()), observers=[bad, good], cleanup_timeout=1)
    assert good.names[-1] == "RunFinished"
    assert good.names.count("TaskExecutionFinished") == 2


async def test_an_observer_that_hangs_is_waited_for_as_long_as_cleanup_may_take() -> None:
    began = anyio.current_time()
    assert await cascade.run(step("fine"), observers=[hangs], cleanup_timeout=7) == "fine"
    assert anyio.current_time() - began == pytest.approx(7)


async def test_an_observer_that_is_cancelled_for_hanging_is_reported() -> None:
    async with cascade.Engine(observers=[hangs], cleanup_timeout=1) as engine:
        with record_events(engine) as recorded:
            async with engine.start(step()) as run:
                await run.result()
    reports = [*run.status().failures, *(warning.message for warning in recorded.of(cascade.EngineWarning))]
    assert [report for report in reports if "hangs" in report]


async def test_observers_that_hang_are_waited_for_together() -> None:
    async def hangs_too(events: EventStream) -> None:
        await anyio.sleep_forever()

    began = anyio.current_time()
    await cascade.run(step(), observers=[hangs, hangs_too], cleanup_timeout=7)
    assert anyio.current_time() - began == pytest.approx(7)


async def test_an_observer_that_hangs_is_cancelled() -> None:
    seen: list[str] = []

    async def hangs_politely(events: EventStream) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cleaned up")

    await cascade.run(step(), observers=[hangs_politely], cleanup_timeout=1)
    assert seen == ["cleaned up"]


async def test_a_cancelled_run_waits_for_its_observers_too() -> None:
    written: list[str] = []

    async def slow(events: EventStream) -> None:
        async for event in events:
            await pass_time(0.5)
            written.append(type(event).__name__)

    with anyio.move_on_after(3) as scope:
        await cascade.run(forever(), observers=[slow])
    assert scope.cancelled_caught
    assert written[-1] == "RunFinished"


async def test_streams_that_users_hold_are_not_waited_for() -> None:
    began = anyio.current_time()
    async with cascade.start(step()) as run, run.subscribe():
        await run.result()
    assert anyio.current_time() == began


async def test_one_observer_may_be_given_twice() -> None:
    observer = Collecting()
    assert await cascade.run(step("fine"), observers=[observer, observer]) == "fine"
    assert observer.names.count("RunFinished") == 2


async def test_an_observer_may_be_an_object_without_hash() -> None:
    @attrs.define
    class Unhashable:
        names: list[str] = attrs.field(factory=list)

        async def __call__(self, events: EventStream) -> None:
            async for event in events:
                self.names.append(type(event).__name__)

    observer = Unhashable()
    assert await cascade.run(step("fine"), observers=[observer]) == "fine"
    assert observer.names[-1] == "RunFinished"


async def test_every_run_of_an_engine_has_its_observers() -> None:
    observer = Collecting()
    async with cascade.Engine(observers=[observer]) as engine:
        await engine.run(step())
        await engine.run(step())
    assert observer.names.count("RunFinished") == 2


async def test_an_observer_may_say_which_events_it_wants() -> None:
    class Choosy(Collecting):
        kinds = (cascade.TaskExecutionFinished, cascade.RunFinished)

    observer = Choosy()
    await cascade.run(step(step()), observers=[observer])
    assert observer.names == ["TaskExecutionFinished", "TaskExecutionFinished", "RunFinished"]


async def test_an_observer_may_run_a_flow_of_its_own() -> None:
    found: list[Any] = []

    async def curious(events: EventStream) -> None:
        await events.receive()
        found.append(await cascade.run(step("from an observer")))

    await cascade.run(step(), observers=[curious])
    assert found == ["from an observer"]


@pytest.mark.parametrize("observer", ["not callable", None, 3])
async def test_an_observer_that_cannot_be_called_is_refused(observer: Any) -> None:
    with pytest.raises(TypeError, match="observer"):
        await cascade.run(step(), observers=[observer])


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])
async def test_an_observer_that_raises_a_cancellation_of_its_own_never_fails_the_run() -> None:
    async def raises_a_cancellation(events: EventStream) -> None:
        raise anyio.get_cancelled_exc_class()

    assert await cascade.run(step(step("fine")), observers=[raises_a_cancellation]) == "fine"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt()])], ids=["", "in a group"]
)
async def test_an_interrupt_that_strikes_an_observer_ends_the_run_after_its_clean_up(error: BaseException) -> None:
    closed: list[str] = []

    @cascade.resource
    async def opened() -> Any:
        try:
            yield
        finally:
            closed.append("closed")

    @cascade.task
    async def waits(_: Any = OPENED) -> None:
        await anyio.sleep_forever()

    async def is_interrupted(events: EventStream) -> None:
        async for event in events:
            if isinstance(event, cascade.TaskExecutionStarted):
                raise error

    with pytest.raises(KeyboardInterrupt):
        await cascade.run(waits(), observers=[is_interrupted], providers=[opened])
    assert closed == ["closed"]
