"""Timeouts of sync tasks, which nothing can kill; and of those that may be left behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from anyio import to_thread

import cascade
from cascade.testing import record_events

pytestmark = pytest.mark.loop

PATIENCE = 30  # seconds after which a thread that waits gives up, so that a failing test ends


def wait_until_late() -> None:
    """Keep the thread busy until the attempt that runs in it has used up its time."""
    while cascade.current().remaining() >= 0:
        pass


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_late_result_of_a_sync_task_is_discarded(mode: Any, schedule: Any) -> None:
    @cascade.task(mode=mode, timeout=0.001)
    def late() -> str:
        wait_until_late()
        return "late"

    with pytest.raises(cascade.TaskTimeoutError, match="'late'"):
        await cascade.run(late(), schedule=schedule)


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_late_error_of_a_sync_task_is_the_cause_of_the_timeout(mode: Any) -> None:
    mishap = ValueError("late")

    @cascade.task(mode=mode, timeout=0.001)
    def late() -> None:
        wait_until_late()
        raise mishap

    with pytest.raises(cascade.TaskTimeoutError) as caught:
        await cascade.run(late())
    assert caught.value.__cause__ is mishap


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_sync_task_learns_at_a_checkpoint_that_it_is_late(mode: Any) -> None:
    raised: list[type[BaseException]] = []

    @cascade.task(mode=mode, timeout=0.001)
    def cooperates() -> None:
        try:
            while True:
                cascade.checkpoint()
        except BaseException as error:
            raised.append(type(error))
            raise

    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(cooperates())
    assert raised == [cascade.TaskTimeoutError]


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_sync_task_that_ends_in_time_is_not_disturbed(mode: Any) -> None:
    @cascade.task(mode=mode, timeout=1000)
    def quick() -> str:
        cascade.checkpoint()
        return "done"

    assert await cascade.run(quick()) == "done"


async def test_waiting_for_a_thread_does_not_count() -> None:
    released, is_occupied = threading.Event(), anyio.Event()
    freed_at: list[float] = []

    @cascade.task
    def occupies() -> None:
        anyio.from_thread.run_sync(is_occupied.set)
        released.wait(PATIENCE)
        freed_at.append(time.monotonic())

    @cascade.task(timeout=1000)
    def started_at() -> float:
        elapsed = 1000 - cascade.current().remaining()
        return time.monotonic() - elapsed

    @cascade.task
    async def occupied() -> None:
        await is_occupied.wait()

    async def release() -> None:
        await is_occupied.wait()
        await anyio.wait_all_tasks_blocked()
        released.set()

    async with anyio.create_task_group() as group:
        group.start_soon(release)
        flow = cascade.gather(occupies(), started_at().after(occupied()))
        _, started = await cascade.run(flow, max_threads=1, schedule="eager")
    assert started >= freed_at[0]


async def test_the_next_attempt_begins_when_the_thread_of_the_last_has_ended() -> None:
    alive = threading.Semaphore(1)
    overlaps: list[int] = []
    attempts: list[int] = []

    @cascade.task(timeout=0.001, retry=cascade.Retry(max_attempts=3))
    def late_twice() -> int:
        if not alive.acquire(blocking=False):
            overlaps.append(cascade.current().attempt)
        attempts.append(cascade.current().attempt)
        if len(attempts) < 3:
            wait_until_late()
        alive.release()
        return len(attempts)

    # The last attempt is as quick as can be, but a loaded machine may make it late as well.
    with contextlib.suppress(cascade.TaskTimeoutError):
        await cascade.run(late_twice())
    assert attempts == [1, 2, 3]
    assert overlaps == []


# -- left behind -----------------------------------------------------------------------------------------------


class Straggler:
    """A sync task that may be left behind, and stays until it is released."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.released = threading.Event()
        self.thread: threading.Thread | None = None
        self.calls = 0
        self.last_words: Callable[[], object] = bool

    def __call__(self) -> str:
        self.thread = threading.current_thread()
        self.calls += 1
        self.started.set()
        self.released.wait(PATIENCE)
        self.last_words()
        return "late"

    def call(self) -> cascade.LazyResult[str]:
        return cascade.task(name="straggler", abandon_on_cancel=True)(self.__call__)()

    async def end(self) -> None:
        """Let the thread end, and the loop hear of it."""
        self.released.set()
        await to_thread.run_sync(self.started.wait, PATIENCE)  # its time may be up before its first line has run
        assert self.thread is not None
        await to_thread.run_sync(self.thread.join, PATIENCE)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()


async def test_a_run_does_not_wait_for_a_thread_that_may_be_left_behind() -> None:
    straggler = Straggler()
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(straggler.call().with_timeout(0.001))
    await to_thread.run_sync(straggler.started.wait, PATIENCE)
    assert straggler.thread is not None
    assert straggler.thread.is_alive()
    await straggler.end()


async def test_cancelling_does_not_wait_for_a_thread_that_may_be_left_behind() -> None:
    straggler = Straggler()
    async with anyio.create_task_group() as group:
        group.start_soon(cascade.run, straggler.call())
        await to_thread.run_sync(straggler.started.wait, PATIENCE)
        group.cancel_scope.cancel()
    assert straggler.thread is not None
    assert straggler.thread.is_alive()
    await straggler.end()


async def test_a_thread_that_may_be_left_behind_cannot_hold_up_the_process() -> None:
    straggler = Straggler()
    straggler.released.set()
    await cascade.run(straggler.call())
    assert straggler.thread is not None
    assert straggler.thread.daemon


async def test_a_thread_that_may_be_left_behind_gives_its_result_like_any_other() -> None:
    straggler = Straggler()
    straggler.released.set()
    assert await cascade.run(straggler.call().with_timeout(1000)) == "late"


async def test_leaving_a_thread_behind_is_reported() -> None:
    straggler, engine = Straggler(), cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(cascade.TaskTimeoutError):
        await engine.run(straggler.call().with_timeout(0.001))
    (warning,) = recorded.of(cascade.EngineWarning)
    assert "straggler" in warning.message
    await straggler.end()


async def test_a_timeout_that_leaves_a_thread_behind_is_final() -> None:
    straggler = Straggler()
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(straggler.call().with_timeout(0.001).with_retry(5))
    await straggler.end()
    assert straggler.calls == 1


async def test_an_error_of_a_thread_that_ended_by_itself_is_retried() -> None:
    straggler = Straggler()
    straggler.released.set()

    def fail_once() -> None:
        if straggler.calls == 1:
            raise ValueError

    straggler.last_words = fail_once
    assert await cascade.run(straggler.call().with_retry(2)) == "late"


async def test_a_thread_left_behind_keeps_its_capacity_until_it_ends() -> None:
    straggler = Straggler()
    async with cascade.Engine(system_resources={"gpu": 1}) as engine:
        with pytest.raises(cascade.TaskTimeoutError):
            await engine.run(straggler.call().with_timeout(0.001).with_constraints(gpu=1))
        assert engine.capacity() == {"gpu": (1, 1)}
        await straggler.end()
        assert engine.capacity() == {"gpu": (0, 1)}


async def test_who_needs_what_a_thread_left_behind_holds_waits_for_its_end() -> None:
    straggler = Straggler()
    results: list[int] = []

    @cascade.task(constraints={"gpu": 1})
    async def next_in_line() -> int:
        return 7

    async def run_next() -> None:
        results.append(await engine.run(next_in_line()))

    async with cascade.Engine(system_resources={"gpu": 1}) as engine, anyio.create_task_group() as group:
        with pytest.raises(cascade.TaskTimeoutError):
            await engine.run(straggler.call().with_timeout(0.001).with_constraints(gpu=1))
        group.start_soon(run_next)
        await anyio.wait_all_tasks_blocked()
        assert results == []
        await straggler.end()
    assert results == [7]


@pytest.mark.parametrize("claim", ["gpu", "thread"])
def test_what_a_thread_left_behind_held_is_free_again_on_the_next_loop(backend_name: str, claim: str) -> None:
    straggler = Straggler()
    engine = cascade.Engine(system_resources={"gpu": 1}, max_threads=1)
    results: list[str] = []

    @cascade.task
    def next_in_line() -> str:
        return "had its turn"

    def claiming(lazy: cascade.LazyResult[str]) -> cascade.LazyResult[str]:
        return lazy.with_constraints(gpu=1) if claim == "gpu" else lazy

    async def first() -> None:
        with pytest.raises(cascade.TaskTimeoutError):
            await engine.run(claiming(straggler.call().with_timeout(0.001)))

    async def second() -> None:
        with anyio.move_on_after(PATIENCE):
            results.append(await engine.run(claiming(next_in_line())))

    anyio.run(first, backend=backend_name)
    straggler.released.set()
    assert straggler.started.wait(PATIENCE)
    assert straggler.thread is not None
    straggler.thread.join(PATIENCE)
    anyio.run(second, backend=backend_name)
    assert results == ["had its turn"]


async def test_a_thread_left_behind_learns_at_a_checkpoint_that_it_is_late() -> None:
    straggler = Straggler()
    raised: list[type[BaseException]] = []

    def ask() -> None:
        try:
            cascade.checkpoint()
        except BaseException as error:
            raised.append(type(error))
            raise

    straggler.last_words = ask
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(straggler.call().with_timeout(0.001))
    await straggler.end()
    assert raised == [cascade.TaskTimeoutError]


async def test_what_a_thread_left_behind_raises_is_nobodys_failure() -> None:
    straggler, engine = Straggler(), cascade.Engine()

    def fail() -> None:
        raise ValueError("too late to matter")

    straggler.last_words = fail
    async with engine:
        with record_events(engine) as recorded:
            with pytest.raises(cascade.TaskTimeoutError):
                await engine.run(straggler.call().with_timeout(0.001))
            await straggler.end()
    assert len(recorded.of(cascade.RunFinished)[0].failures) == 1
