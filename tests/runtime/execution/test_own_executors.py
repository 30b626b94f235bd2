"""Executors of users, who know nothing of attempts: all that is said about a call holds for them, too."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest
from virtual_time import pass_time, virtual_loops

import cascade
from cascade.executors import Executor, LocalExecutor
from cascade.testing import record_events

anyio_backend = virtual_loops


@attrs.define
class Direct:
    """All that the protocol asks for."""

    async def execute(self, task: cascade.Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await task.func(*args, **kwargs)


@attrs.define
class Tracing:
    """Adds an argument to all calls, in the dict that it is given."""

    inner: Executor = attrs.field(factory=Direct)

    async def execute(self, task: cascade.Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kwargs.setdefault("trace", 1)
        return await self.inner.execute(task, args, kwargs)


@cascade.task
async def named(**names: int) -> dict[str, int]:
    return names


@cascade.task
async def echo(x: int) -> int:
    return x


async def test_retries_count_and_are_told_of(schedule: Any) -> None:
    calls: list[int] = []

    @cascade.task
    async def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("flaky")
        return "ok"

    engine = cascade.Engine(executor=Direct(), schedule=schedule)
    with record_events(engine) as recorded:
        assert await engine.run(flaky().with_retry(3)) == "ok"
    assert len(recorded.of(cascade.TaskExecutionStarted)) == 1
    assert [event.attempt for event in recorded.of(cascade.TaskRetrying)] == [1, 2]
    assert [event.attempt for event in recorded.of(cascade.TaskExecutionFinished)] == [3]


async def test_timeouts_begin_before_the_executor_is_asked(schedule: Any) -> None:
    slow = cascade.task(name="slow")(anyio.sleep)
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(slow(3).with_timeout(1), executor=Direct(), schedule=schedule)
    assert anyio.current_time() == 1


async def test_rates_hold(schedule: Any) -> None:
    engine = cascade.Engine(executor=Direct(), schedule=schedule)
    await engine.control.limit("task:echo", rate="1/s", burst=1)
    assert await engine.run([echo(number) for number in range(5)]) == [0, 1, 2, 3, 4]
    assert anyio.current_time() == 4


async def test_nothing_starts_under_a_pause(schedule: Any) -> None:
    started: list[int] = []

    @cascade.resource(name="late", scope="task")
    async def late() -> Any:
        await pass_time(2)
        yield 1

    @cascade.task
    async def use(late: int = cascade.inject("late")) -> None:
        started.append(late)

    async with cascade.start(use(), providers=[late], executor=Direct(), schedule=schedule) as run:
        await pass_time(1)
        await run.pause()
        await pass_time(5)
        assert started == []
        await run.resume()
    assert started == [1]


async def test_what_an_executor_does_to_its_arguments_is_nobody_elses(schedule: Any) -> None:
    for _ in range(2):
        assert await cascade.run(named(), executor=Tracing(), schedule=schedule) == {"trace": 1}
    assert await cascade.run(named(), schedule=schedule) == {}
    assert named().kwargs == {}


async def test_one_that_hands_on_to_the_engines_own_marks_no_start_twice() -> None:
    engine = cascade.Engine(executor=Tracing(LocalExecutor(anyio.CapacityLimiter(1), Direct())))
    with record_events(engine) as recorded:
        assert await engine.run([named(), cascade.task(name="sync")(lambda **names: names["trace"])()]) == [
            {"trace": 1},
            1,
        ]
    assert len(recorded.of(cascade.TaskExecutionStarted)) == 2
