"""When a run returns or raises, nothing of it is alive: no task, thread, claim, resource or stream."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from life import Log, cancelled_when, just, turns, until
from real_time import hold_thread

import cascade
from cascade.testing import record_events

pytestmark = pytest.mark.loop

PATIENCE = 30  # seconds after which a thread that waits gives up, so that a failing test ends


class Zoo(Log):
    """A flow with a bit of everything, which ends as it is told to."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.ending = ending
        self.threads = 0

    def flow(self) -> Any:
        @cascade.task
        def works() -> None:
            self.threads += 1
            try:
                self.lines.append("thread starts")
                while self.ending != "success":
                    cascade.checkpoint()
            finally:
                self.threads -= 1

        @cascade.task
        async def ends() -> None:
            await until(self.has("thread starts", "everything is open"))
            self.lines.append("ends")
            if self.ending == "failure":
                raise ValueError("bad")
            if self.ending == "cancellation":
                await anyio.sleep_forever()

        @cascade.task
        async def more() -> Any:
            return just(just("more"))

        @cascade.task
        async def opens_a_group(x: int) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.lowlevel.checkpoint)

        @cascade.resource
        async def on_loop() -> AsyncIterator[str]:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                yield "on_loop"
                group.cancel_scope.cancel()

        @cascade.resource
        def in_thread() -> Iterator[str]:
            yield "in_thread"

        @cascade.task
        async def uses(a: str = cascade.inject("on_loop"), b: str = cascade.inject("in_thread")) -> None:
            self.lines.append("everything is open")
            if self.ending != "success":
                await anyio.sleep_forever()

        self.providers = [on_loop, in_thread]
        return [
            works().with_constraints(gpu=1),
            uses().with_constraints(gpu=1),
            ends(),
            just(more()),
            opens_a_group.map(x=[1, 2, 3]),
        ]

    async def run(self, engine: cascade.Engine) -> None:
        flow = self.flow()
        for provider in self.providers:
            engine.register(provider)
        with suppress(ValueError):
            if self.ending == "cancellation":
                await cancelled_when(self.has("ends", "thread starts"), lambda: engine.run(flow))
            else:
                await engine.run(flow)


@pytest.fixture(params=["success", "failure", "cancellation"])
def zoo(request: pytest.FixtureRequest) -> Zoo:
    return Zoo(request.param)


def engine_for_zoo(schedule: Any = "stages", **settings: Any) -> cascade.Engine:
    return cascade.Engine(system_resources={"gpu": 2}, schedule=schedule, **settings)


async def test_no_task_is_left(zoo: Zoo, schedule: Any) -> None:
    before = {task.id for task in anyio.get_running_tasks()}
    await zoo.run(engine_for_zoo(schedule, state="memory:"))
    assert {task.id for task in anyio.get_running_tasks()} == before


async def test_no_thread_works_any_more(zoo: Zoo, schedule: Any) -> None:
    await zoo.run(engine_for_zoo(schedule))
    assert "thread starts" in zoo.lines
    assert zoo.threads == 0


async def test_no_capacity_is_held(zoo: Zoo, schedule: Any) -> None:
    async with engine_for_zoo(schedule) as engine:
        await zoo.run(engine)
        assert engine.capacity() == {"gpu": (0, 2)}


async def test_no_resource_is_open(zoo: Zoo, schedule: Any) -> None:
    engine = engine_for_zoo(schedule)
    with record_events(engine) as recorded:
        await zoo.run(engine)
    opened = [event.resource_name for event in recorded.of(cascade.ResourceAcquired)]
    closed = [event.resource_name for event in recorded.of(cascade.ResourceReleased)]
    assert sorted(opened) == sorted(closed)


async def test_every_stream_ends_after_the_last_event(zoo: Zoo) -> None:
    async with engine_for_zoo() as engine:
        seen: list[str] = []
        flow = zoo.flow()
        for provider in zoo.providers:
            engine.register(provider)
        with suppress(ValueError, cascade.RunCancelled):
            async with engine.start(flow) as run, run.subscribe(buffer=10_000) as events:
                if zoo.ending == "cancellation":
                    await until(zoo.has("ends"))
                    run.cancel()
                seen += [type(event).__name__ async for event in events]
        assert seen[-1] == "RunFinished"


async def test_nothing_is_logged(zoo: Zoo, schedule: Any, caplog: pytest.LogCaptureFixture) -> None:
    await zoo.run(engine_for_zoo(schedule))
    gc.collect()
    await turns(3)
    assert caplog.records == []


class Value:
    """Can be referred to weakly."""


@pytest.mark.parametrize("ending", ["success", "failure"])
async def test_no_value_is_kept_by_an_engine_after_its_run(ending: str, schedule: Any) -> None:
    made: list[weakref.ref[Value]] = []

    @cascade.task
    async def makes() -> Value:
        value = Value()
        made.append(weakref.ref(value))
        return value

    @cascade.task
    async def uses(value: Value) -> None:
        if ending == "failure":
            raise ValueError("bad")

    async with cascade.Engine(schedule=schedule) as engine:
        with suppress(ValueError):
            await engine.run(uses(makes()))
        await turns(3)
        gc.collect()
        assert [ref() for ref in made] == [None]


# -- threads ---------------------------------------------------------------------------------------------------


class Worker:
    """A sync task that works, and does not look up, until it is released."""

    def __init__(self) -> None:
        self.has_started = anyio.Event()
        self.released = threading.Event()
        self.has_ended = False

    def __call__(self) -> None:
        anyio.from_thread.run_sync(self.has_started.set)
        self.released.wait(PATIENCE)
        self.has_ended = True

    def call(self) -> cascade.LazyResult[None]:
        return cascade.task(name="worker")(self.__call__)()


async def test_sync_siblings_of_a_failed_node_are_joined(schedule: Any) -> None:
    worker = Worker()
    ended: list[bool] = []

    @cascade.task
    async def fails() -> None:
        await worker.has_started.wait()
        raise ValueError("bad")

    async def run() -> None:
        with pytest.raises(ValueError, match="bad"):
            await cascade.run([worker.call(), fails()], schedule=schedule)
        ended.append(worker.has_ended)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await worker.has_started.wait()
        await anyio.wait_all_tasks_blocked()
        assert ended == []
        worker.released.set()
    assert ended == [True]


async def test_sync_tasks_of_a_cancelled_run_are_joined(schedule: Any) -> None:
    worker = Worker()
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, worker.call())
        await worker.has_started.wait()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await turns(50)
            assert not worker.has_ended
            worker.released.set()
    assert worker.has_ended


async def reports_of(run: cascade.Run, worker: Worker) -> list[str]:
    """What the engine warns of, until the end of the run; the worker may end after the third warning."""
    reports: list[str] = []
    async with run.subscribe(cascade.EngineWarning) as warnings:
        async for warning in warnings:
            assert isinstance(warning, cascade.EngineWarning)
            reports.append(warning.message)
            if len(reports) == 3:
                worker.released.set()
    return reports


async def test_a_thread_that_keeps_a_halted_run_waiting_is_reported_again_and_again() -> None:
    worker = Worker()

    @cascade.task
    async def fails() -> None:
        await worker.has_started.wait()
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        async with cascade.start([worker.call(), fails()], cleanup_timeout=0.001) as run:
            reports = await reports_of(run, worker)
    assert len(reports) >= 3
    assert all("'worker'" in report for report in reports)


async def test_a_thread_that_has_outlived_its_timeout_is_reported_again_and_again() -> None:
    worker = Worker()
    with pytest.raises(cascade.TaskTimeoutError):
        async with cascade.start(worker.call().with_timeout(0.001), cleanup_timeout=0.001) as run:
            reports = await reports_of(run, worker)
    assert all("'worker'" in report for report in reports)


async def test_a_sync_task_that_waits_for_a_thread_when_the_run_fails_never_starts() -> None:
    has_started = anyio.Event()
    started: list[int] = []

    @cascade.task
    def works(x: int) -> None:
        started.append(x)
        anyio.from_thread.run_sync(has_started.set)
        while True:
            cascade.checkpoint()
            hold_thread(0.0001)  # until the abort

    @cascade.task
    async def fails() -> None:
        await has_started.wait()
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await cascade.run([works(1), works(2), works(3), fails()], max_threads=1)
    assert len(started) == 1


# -- waiting for capacity --------------------------------------------------------------------------------------


async def test_who_waits_for_capacity_when_the_run_fails_never_starts_and_leaves_no_claim(schedule: Any) -> None:
    log = Log()

    @cascade.task
    async def fails() -> None:
        await until(lambda: bool(log.lines))
        await turns(5)
        raise ValueError("bad")

    async with cascade.Engine(system_resources={"gpu": 1}, schedule=schedule) as engine:
        with record_events(engine) as recorded, pytest.raises(ValueError, match="bad"):
            await engine.run([fails(), *[log.waits(name).with_constraints(gpu=1) for name in "abc"]])
        assert len(log.lines) == 2
        assert len(recorded.of(cascade.TaskExecutionFinished)) == 2
        assert engine.capacity() == {"gpu": (0, 1)}
        assert await engine.run(just(1).with_constraints(gpu=1)) == 1


async def test_another_run_gets_the_capacity_that_a_failed_one_held() -> None:
    order: list[str] = []
    is_holding = anyio.Event()

    @cascade.task(constraints={"gpu": 1})
    async def holds() -> None:
        is_holding.set()
        await turns(10)
        order.append("fails")
        raise ValueError("bad")

    @cascade.task(constraints={"gpu": 1})
    async def next_in_line() -> None:
        order.append("next")

    async def run_next() -> None:
        await is_holding.wait()
        await engine.run(next_in_line())

    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:
        group.start_soon(run_next)
        with pytest.raises(ValueError, match="bad"):
            await engine.run(holds())
    assert order == ["fails", "next"]
