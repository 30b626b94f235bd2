"""Cancellation by asyncio's own means, which know neither levels nor shields."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import pytest
from life import Log, finished, give_way_always, just, raising, unfinished, until

import cascade
from cascade.adapters.state.memory import InMemoryStateBackend
from cascade.testing import record_events

pytestmark = pytest.mark.loop


@pytest.fixture(params=[False, True], ids=["asyncio", "asyncio+uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    if request.param:
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param}


async def test_cancelling_the_task_cancels_the_run(schedule: Any) -> None:
    log, engine = Log(), cascade.Engine(schedule=schedule)
    with record_events(engine) as recorded:
        task = asyncio.ensure_future(engine.run([log.waits("a"), log.waits("b")]))
        await until(log.has("a starts", "b starts"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert task.cancelled()
    assert sorted(log.lines[2:]) == ["a is cancelled", "b is cancelled"]
    assert finished(recorded).status == "Cancelled"
    assert unfinished(recorded) == set()


async def test_the_message_of_a_cancellation_is_kept() -> None:
    log = Log()
    task = asyncio.ensure_future(cascade.run(log.waits("a")))
    await until(log.has("a starts"))
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task


async def test_the_caller_can_take_its_cancellation_back() -> None:
    log = Log()

    async def caller() -> int:
        try:
            await cascade.run(log.waits("a"))
        except asyncio.CancelledError:
            current = asyncio.current_task()
            assert current is not None
            requests = current.cancelling()
            current.uncancel()
            await cascade.run(raising_nothing())
            return requests
        raise AssertionError("the run was not cancelled")

    task = asyncio.ensure_future(caller())
    await until(log.has("a starts"))
    task.cancel()
    assert await task == 1


@cascade.task
async def raising_nothing() -> None:
    await asyncio.sleep(0)


async def test_a_timeout_of_asyncio_around_a_run_raises_its_own_error() -> None:
    log = Log()

    async def expire(timeout: asyncio.Timeout) -> None:
        await until(log.has("a starts"))
        timeout.reschedule(0)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            expiring = asyncio.ensure_future(expire(timeout))
            await cascade.run(log.waits("a"))
    await expiring
    assert log.lines == ["a starts", "a is cancelled"]


async def test_wait_for_around_a_run_raises_its_own_error() -> None:
    log = Log()
    with pytest.raises(TimeoutError):
        # Long enough for the task to start, however busy the machine is.
        await asyncio.wait_for(cascade.run(log.waits("a")), 0.5)
    assert log.lines == ["a starts", "a is cancelled"]


async def test_a_failing_neighbour_in_a_task_group_of_asyncio_cancels_the_run() -> None:
    log = Log()

    async def fail() -> None:
        await until(log.has("a starts"))
        raise ValueError("the neighbour's")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(cascade.run(log.waits("a")))
            group.create_task(fail())
    assert [str(error) for error in caught.value.exceptions] == ["the neighbour's"]
    assert log.lines == ["a starts", "a is cancelled"]


async def test_a_failing_run_in_a_task_group_of_asyncio_cancels_its_neighbours() -> None:
    error = ValueError("the run's")
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1e6))
            group.create_task(cascade.run(raising(error)))
    assert caught.value.exceptions == (error,)


async def test_a_failure_goes_before_a_cancellation_that_came_later() -> None:
    log, error = Log(), ValueError("bad")

    @cascade.task
    async def lingers() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.lines.append("lingers")
            with anyio.CancelScope(shield=True):
                await until(log.has("cancelled"))

    @cascade.task
    async def fails() -> None:
        raise error

    task = asyncio.ensure_future(cascade.run([lingers(), fails()]))
    await until(log.has("lingers"))
    task.cancel()
    log.lines.append("cancelled")
    with pytest.raises(ValueError, match="bad") as caught:
        await task
    assert caught.value is error


async def test_cancelling_the_body_of_start_cancels_the_run() -> None:
    log = Log()

    async def caller() -> None:
        async with cascade.start(log.waits("a")):
            await anyio.sleep_forever()

    task = asyncio.ensure_future(caller())
    await until(log.has("a starts"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.lines == ["a starts", "a is cancelled"]


async def test_a_node_whose_task_is_cancelled_by_another_has_failed(schedule: Any) -> None:
    victims: list[Any] = []

    @cascade.task(mode="task")
    async def victim() -> None:
        victims.append(asyncio.current_task())
        await anyio.sleep_forever()

    @cascade.task
    async def culprit() -> None:
        await until(lambda: bool(victims))
        victims[0].cancel()

    with pytest.raises(cascade.TaskCancelledError, match="'victim'"):
        await cascade.run([victim(), culprit()], schedule=schedule)


async def test_a_task_that_awaits_a_cancelled_future_has_failed() -> None:
    @cascade.task
    async def awaits() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(cascade.TaskCancelledError, match="'awaits'"):
        await cascade.run(awaits())


async def test_a_task_that_cancels_itself_on_its_way_out_does_not_end_the_run_in_silence() -> None:
    @cascade.task(mode="task")
    async def odd() -> str:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        return "done"

    # It may count as done or as failed; but a run that nobody cancelled is not cancelled.
    with contextlib.suppress(cascade.TaskCancelledError):
        assert await cascade.run(odd()) == "done"


async def test_a_node_that_cancels_the_lane_that_it_runs_in_has_failed(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_way_always(monkeypatch)

    @cascade.task
    async def odd() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()

    with pytest.raises(cascade.TaskCancelledError, match="'odd'"):
        await cascade.run([odd(), *[just(number) for number in range(3)]], schedule=schedule)


async def test_a_loop_that_cancels_every_task_there_is_cancels_the_run() -> None:
    """As ``asyncio.run`` does when its main task has ended."""
    log = Log()
    before = asyncio.all_tasks()
    run = asyncio.ensure_future(cascade.run(log.waits("a")))
    await until(log.has("a starts"))
    others = asyncio.all_tasks() - before - {run}
    assert others
    for task in [run, *others]:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert log.lines == ["a starts", "a is cancelled"]


# -- a second cancellation, which reaches through every shield -------------------------------------------------


class Cleaning(Log):
    """Clean-up in several places, one of which takes its time."""

    def __init__(self, slow: str) -> None:
        super().__init__()
        self.slow = slow
        self.may_end = False

    async def clean_up(self, name: str) -> None:
        self.lines.append(f"{name} is closing")
        if name == self.slow:
            await until(lambda: self.may_end)
        self.lines.append(f"{name} is closed")

    def resource(self, name: str) -> cascade.Resource:
        async def provider() -> AsyncIterator[str]:
            try:
                yield name
            finally:
                await self.clean_up(name)

        return cascade.resource(name=name)(provider)

    def store(self, run_id: str) -> InMemoryStateBackend:
        cleaning = self

        class Store(InMemoryStateBackend):
            async def put_results(self, results: Mapping[str, Any]) -> None:
                await cleaning.clean_up("store")

        return Store(run_id)


@pytest.mark.parametrize("place", ["node", "second", "first", "store"])
async def test_a_second_cancellation_does_not_keep_anything_from_being_closed(place: str) -> None:
    cleaning = Cleaning(slow=place)

    @cascade.task
    async def tidies(_: Any) -> None:
        cleaning.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await cleaning.clean_up("node")

    flow = [tidies([cascade.inject("first"), cascade.inject("second")]), raising_nothing()]
    providers = [cleaning.resource("first"), cleaning.resource("second")]
    run = cascade.run(flow, providers=providers, state=cleaning.store, durability="exit")
    task = asyncio.ensure_future(run)
    await until(cleaning.has("starts"))
    task.cancel()
    await until(cleaning.has(f"{place} is closing"))
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    cleaning.may_end = True
    await until(task.done)
    assert task.cancelled()
    assert cleaning.has("node is closed", "first is closed", "second is closed", "store is closed")()
