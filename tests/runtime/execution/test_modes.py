"""Where functions run: on the loop and in threads; processes are in test_process_tasks.py."""

from __future__ import annotations

import collections
import functools
import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from anyio import to_thread
from labels import label
from life import Log, joined, just, until

import cascade
from cascade.adapters.state.memory import InMemoryStateBackend
from cascade.testing import record_events

pytestmark = pytest.mark.loop

PATIENCE = 30  # seconds after which a thread that waits gives up, so that a failing test ends


# -- async -----------------------------------------------------------------------------------------------------


async def test_async_tasks_run_on_the_loop() -> None:
    @cascade.task
    async def where() -> int:
        return threading.get_ident()

    assert await cascade.run(where()) == threading.get_ident()


async def test_mode_task_gives_a_call_a_task_of_its_own(schedule: Any) -> None:
    here: list[None] = []

    @cascade.task(mode="task")
    async def who() -> int:
        here.append(None)
        await until(lambda: len(here) == 3)  # the id of a task that has ended may be given to another
        return anyio.get_current_task().id

    ids = await cascade.run(cascade.gather(who(), who(), who()), schedule=schedule)
    assert len({*ids, anyio.get_current_task().id}) == 4


async def test_mode_task_lets_two_calls_of_one_chain_use_the_same_lock() -> None:
    lock = anyio.Lock()

    @cascade.task(mode="task")
    async def takes(_: Any) -> None:
        await lock.acquire()

    @cascade.task(mode="task")
    async def others_lock(_: Any) -> bool:
        try:
            lock.release()
        except RuntimeError:
            return False
        return True

    assert await cascade.run(others_lock(takes(None))) is False


@pytest.mark.parametrize("mode", ["thread", "inline", "process", "loop"])
def test_an_async_task_takes_no_mode_of_sync_ones(mode: Any) -> None:
    async def function() -> None: ...

    with pytest.raises(ValueError, match="async"):
        cascade.task(mode=mode)(function)


@pytest.mark.parametrize("mode", ["task", "loop"])
def test_a_sync_task_takes_no_mode_of_async_ones(mode: Any) -> None:
    def function() -> None: ...

    with pytest.raises(ValueError, match="mode"):
        cascade.task(mode=mode)(function)


async def test_an_object_with_an_async_call_is_an_async_task() -> None:
    class Where:
        async def __call__(self) -> int:
            return threading.get_ident()

    assert await cascade.run(cascade.task(Where())()) == threading.get_ident()


# -- sync functions that give a coroutine ----------------------------------------------------------------------


def logged(func: Any) -> Any:
    """A decorator that knows nothing of async functions."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return wrapper


async def look_around(value: Any = None) -> tuple[Any, int, str]:
    await anyio.lowlevel.checkpoint()
    return value, threading.get_ident(), cascade.current().node_id


@pytest.mark.parametrize("mode", ["thread", "inline"])
@pytest.mark.parametrize("settings", [{}, {"timeout": 10}], ids=["plain", "with a timeout"])
async def test_what_a_sync_function_gives_is_awaited_on_the_loop_if_it_is_a_coroutine(
    mode: Any, settings: Any, schedule: Any
) -> None:
    look = cascade.task(mode=mode, **settings)(logged(look_around))
    here = threading.get_ident()
    expected = (1, here, "look_around")
    assert await cascade.run(look(1), schedule=schedule) == expected
    (middle,) = await cascade.run(cascade.task(joined.func)(look(1)), schedule=schedule)
    assert middle == expected
    mapped = await cascade.run(look.map(value=[1, 2]), schedule=schedule)
    assert mapped == [(1, here, "look_around[0]"), (2, here, "look_around[1]")]


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_what_goes_on_from_a_coroutine_of_a_sync_function_gets_its_value(mode: Any, schedule: Any) -> None:
    look = cascade.task(mode=mode)(logged(look_around))
    after = cascade.task(mode=mode)(lambda found: found[0])
    assert await cascade.run(after(look(after(look(1)))), schedule=schedule) == 1


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_coroutine_of_a_sync_function_may_give_a_flow(mode: Any, schedule: Any) -> None:
    async def count(n: int) -> Any:
        await anyio.lowlevel.checkpoint()
        return counting(n - 1) if n else "end"

    counting = cascade.task(mode=mode)(logged(count))
    assert await cascade.run(counting(3), schedule=schedule) == "end"
    assert await cascade.run(joined(counting(3)), schedule=schedule) == ["end"]


@pytest.mark.parametrize("mode", ["thread", "inline"])
@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_coroutine_of_a_sync_function_fails_and_is_attempted_again(
    mode: Any, attempts: int, schedule: Any
) -> None:
    failed: list[int] = []

    async def flaky() -> str:
        await anyio.lowlevel.checkpoint()
        if not failed:
            failed.append(1)
            raise ValueError("no luck")
        return "fine"

    flow = cascade.task(mode=mode)(logged(flaky))().with_retry(attempts)
    if attempts == 1:
        with pytest.raises(ValueError, match="no luck"):
            await cascade.run(flow, schedule=schedule)
    else:
        assert await cascade.run(flow, schedule=schedule) == "fine"


@pytest.mark.parametrize("mode", ["thread", "inline"])
@pytest.mark.parametrize("timeout", [None, 10], ids=["plain", "with a timeout"])
async def test_a_coroutine_of_a_sync_function_is_cancelled_with_the_run(
    mode: Any, timeout: Any, schedule: Any
) -> None:
    log = Log()
    waits = cascade.task(mode=mode, timeout=timeout)(logged(log.waits.func))
    async with cascade.start([waits("a"), just(1)], schedule=schedule) as run:
        await until(log.has("a starts"))
        run.cancel()
    assert log.lines == ["a starts", "a is cancelled"]


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_coroutine_of_a_sync_function_is_late_like_any_other(mode: Any) -> None:
    sleeps = cascade.task(mode=mode)(logged(anyio.sleep_forever))
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(sleeps().with_timeout(0.01))


# -- inline ----------------------------------------------------------------------------------------------------


async def test_inline_tasks_run_on_the_loop() -> None:
    @cascade.task(mode="inline")
    def where() -> int:
        return threading.get_ident()

    assert await cascade.run(where()) == threading.get_ident()


@pytest.mark.parametrize("mode", ["thread", "inline"])
@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()], ids=label)
async def test_what_a_sync_task_raises_is_raised_as_it_is(mode: Any, error: BaseException, schedule: Any) -> None:
    @cascade.task(mode=mode)
    def raises() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await cascade.run(raises(), schedule=schedule)
    assert caught.value is error


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_a_stop_iteration_is_the_cause_of_the_error_that_python_makes_of_it(mode: Any) -> None:
    @cascade.task(mode=mode)
    def first(values: list[int]) -> int:
        return next(iter(values))

    with pytest.raises(RuntimeError) as caught:
        await cascade.run(first([]))
    assert isinstance(caught.value.__cause__, StopIteration)


# -- threads ---------------------------------------------------------------------------------------------------


async def test_sync_tasks_run_in_worker_threads(schedule: Any) -> None:
    @cascade.task
    def where() -> int:
        return threading.get_ident()

    assert await cascade.run(where(), schedule=schedule) != threading.get_ident()


@pytest.mark.parametrize("threads", [1, 3])
async def test_no_more_threads_work_than_allowed(threads: int, schedule: Any) -> None:
    counts: list[int] = []
    alive = collections.Counter[str]()
    lock = threading.Lock()

    @cascade.task
    def works(x: int) -> None:
        with lock:
            alive["now"] += 1
            counts.append(alive["now"])
        anyio.from_thread.run(anyio.lowlevel.checkpoint)
        with lock:
            alive["now"] -= 1

    await cascade.run(works.map(x=list(range(12))), max_threads=threads, schedule=schedule)
    assert max(counts) <= threads


async def test_as_many_threads_work_as_are_allowed(schedule: Any) -> None:
    all_are_there = threading.Barrier(40, timeout=PATIENCE)

    @cascade.task
    def meets(x: int) -> None:
        all_are_there.wait()

    await cascade.run(meets.map(x=list(range(40))), schedule=schedule)


async def test_runs_of_one_engine_share_its_threads() -> None:
    alive, counts = collections.Counter[str](), list[int]()

    @cascade.task
    def works() -> None:
        alive["now"] += 1
        counts.append(alive["now"])
        anyio.from_thread.run(anyio.lowlevel.checkpoint)
        alive["now"] -= 1

    async with cascade.Engine(max_threads=1) as engine, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(engine.run, works())
    assert counts == [1] * 5


async def test_sync_tasks_do_not_need_the_threads_of_the_process_wide_limiter() -> None:
    @cascade.task
    def works() -> str:
        return "done"

    limiter = to_thread.current_default_thread_limiter()
    borrowers = [object() for _ in range(int(limiter.total_tokens))]
    for borrower in borrowers:
        limiter.acquire_on_behalf_of_nowait(borrower)
    try:
        assert await cascade.run(works()) == "done"
    finally:
        for borrower in borrowers:
            limiter.release_on_behalf_of(borrower)


async def test_busy_threads_do_not_keep_the_state_store_from_working() -> None:
    backends: list[InMemoryStateBackend] = []
    occupied, released = anyio.Event(), threading.Event()

    def make(run_id: str) -> InMemoryStateBackend:
        backends.append(InMemoryStateBackend(run_id))
        return backends[0]

    @cascade.task
    def occupies() -> None:
        anyio.from_thread.run_sync(occupied.set)
        released.wait(PATIENCE)

    @cascade.task
    async def stores() -> Any:
        await occupied.wait()
        await backends[0].put_result("mine", 5)
        released.set()
        return await backends[0].get_result("mine")

    assert await cascade.run(cascade.gather(occupies(), stores()), state=make, max_threads=1) == (None, 5)


async def test_the_loop_goes_on_while_threads_work(schedule: Any) -> None:
    gate = threading.Event()

    @cascade.task
    def waits() -> bool:
        return gate.wait(PATIENCE)

    @cascade.task
    async def opens() -> None:
        gate.set()

    value, _ = await cascade.run(cascade.gather(waits(), opens()), schedule=schedule)
    assert value is True


async def test_a_worker_thread_reaches_the_loop() -> None:
    @cascade.task
    def asks() -> tuple[int, int]:
        return threading.get_ident(), anyio.from_thread.run_sync(threading.get_ident)

    mine, the_loops = await cascade.run(asks())
    assert the_loops == threading.get_ident() != mine


async def test_a_worker_thread_that_waits_for_the_loop_is_cancelled_with_the_run() -> None:
    is_waiting = anyio.Event()
    ended: list[str] = []

    async def wait() -> None:
        is_waiting.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("waiting")

    @cascade.task
    def asks() -> None:
        try:
            anyio.from_thread.run(wait)
        finally:
            ended.append("thread")

    engine = cascade.Engine()
    with record_events(engine) as recorded:
        async with anyio.create_task_group() as group:
            group.start_soon(engine.run, asks())
            await is_waiting.wait()
            group.cancel_scope.cancel()
    assert ended == ["waiting", "thread"]
    assert recorded.of(cascade.RunFinished)[0].status == "Cancelled"


def test_abandon_on_cancel_is_refused_where_there_is_no_thread() -> None:
    def function() -> None: ...

    with pytest.raises(ValueError, match="abandon_on_cancel"):
        cascade.task(mode="inline", abandon_on_cancel=True)(function)
