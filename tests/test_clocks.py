"""Virtual time: it moves only when everything waits, and lands exactly on every deadline."""

from __future__ import annotations

import asyncio
import math
import platform
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from anyio import CancelScope, current_time, from_thread, move_on_after, sleep, sleep_until, to_thread
from anyio.lowlevel import EventLoopToken, checkpoint, current_token
from virtual_time import virtual_loops

import cascade
from cascade.testing import virtual_backends

anyio_backend = virtual_loops


@pytest.mark.parametrize("late", [0.0, 1.0])
async def test_a_deadline_that_is_set_when_it_has_passed_already_takes_no_time(late: float) -> None:
    await sleep(5)
    before = current_time()
    with CancelScope() as scope:
        scope.deadline = before - late
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert current_time() == before


# Sums and differences of these are not what they look like in binary.
AWKWARD = [0.1, 0.2, 0.1 + 0.2, 1 / 3, 0.7, 1e-9, 1e-6, 1.1, 2.675, 1e5 / 7, 1e6 + 0.1]


# -- deadlines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", AWKWARD)
async def test_a_scope_ends_exactly_at_its_deadline(delay: float) -> None:
    deadline = current_time() + delay
    with CancelScope(deadline=deadline) as scope:
        await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert current_time() == deadline


@pytest.mark.parametrize("delay", AWKWARD)
async def test_a_sleep_ends_exactly_when_it_should(delay: float) -> None:
    expected = current_time() + delay
    await sleep(delay)

    assert current_time() == expected


async def test_deadlines_are_met_exactly_and_in_order_whatever_the_order_they_were_set_in() -> None:
    begin = current_time()
    met: list[tuple[float, float]] = []

    async def wait_until(deadline: float) -> None:
        with CancelScope(deadline=deadline):
            await anyio.sleep_forever()
        met.append((deadline, current_time()))

    deadlines = [begin + delay for delay in AWKWARD]
    async with anyio.create_task_group() as group:
        for deadline in [*deadlines[::2], *deadlines[1::2]]:
            group.start_soon(wait_until, deadline)

    assert met == [(deadline, deadline) for deadline in sorted(deadlines)]


async def test_what_is_due_at_one_moment_happens_at_one_moment() -> None:
    begin = current_time()
    moments: list[float] = []

    async def wait() -> None:
        await sleep_until(begin + 0.3)
        moments.append(current_time())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(wait)

    assert moments == [moments[0]] * 10


async def test_many_small_steps_do_not_drift_from_what_they_add_up_to() -> None:
    expected = current_time()
    for _ in range(1_000):
        expected += 0.1
        await sleep(0.1)

    assert current_time() == expected


async def test_a_deadline_that_has_passed_is_met_now() -> None:
    begin = current_time()
    with CancelScope(deadline=begin - 1) as scope:
        await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert current_time() == begin


@pytest.mark.timeout(10, method="signal")
@pytest.mark.parametrize("days", [1, 30, 365, 36_500])
async def test_a_long_sleep_takes_no_real_time(days: int) -> None:
    expected = current_time() + days * 24 * 3600.0
    await sleep(days * 24 * 3600.0)

    assert current_time() == expected


# -- standing still ----------------------------------------------------------------------------------------------


async def test_time_stands_still_while_a_task_is_busy() -> None:
    begin = current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep, 5)
        for _ in range(1_000):
            await checkpoint()
        assert current_time() == begin

    assert current_time() == begin + 5


async def test_a_timeout_that_is_not_needed_costs_no_time() -> None:
    begin = current_time()
    for _ in range(10):
        with move_on_after(1_000):
            await checkpoint()
    await sleep(1)

    assert current_time() == begin + 1


async def test_a_deadline_that_is_moved_counts_where_it_was_moved_to() -> None:
    begin = current_time()
    with CancelScope(deadline=begin + 5) as scope:
        scope.deadline = begin + 7
        await anyio.sleep_forever()

    assert current_time() == begin + 7


async def test_a_task_that_is_woken_goes_on_before_time_does() -> None:
    begin, bell = current_time(), anyio.Event()
    heard: list[float] = []

    async def listen() -> None:
        await bell.wait()
        heard.append(current_time())

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        group.start_soon(sleep, 9)
        await sleep(3)
        bell.set()

    assert heard == [begin + 3]


# -- threads of the engine ---------------------------------------------------------------------------------------


def look_at_the_clock(token: EventLoopToken) -> float:
    """Give the loop many occasions to move the time, and see what it shows in the end."""
    for _ in range(30):
        shown = from_thread.run_sync(current_time, token=token)
    return shown


@cascade.task
def in_thread(token: EventLoopToken, _: int = 0) -> float:
    return look_at_the_clock(token)


@cascade.task(abandon_on_cancel=True)
def in_daemon_thread(token: EventLoopToken, _: int = 0) -> float:
    return look_at_the_clock(token)


@cascade.task
async def sleeper(seconds: float) -> float:
    await sleep(seconds)
    return current_time()


@pytest.mark.parametrize("kind", [in_thread, in_daemon_thread], ids=lambda kind: kind.name)
async def test_time_stands_still_while_a_thread_of_the_engine_works(
    kind: cascade.Task[[EventLoopToken, int], float], schedule: Any
) -> None:
    begin, token = current_time(), current_token()

    seen, woken = await cascade.run([kind(token), sleeper(5)], schedule=schedule)

    assert (seen, woken) == (begin, begin + 5)


@pytest.mark.parametrize("kind", [in_thread, in_daemon_thread], ids=lambda kind: kind.name)
async def test_time_stands_still_while_any_thread_of_a_map_works(
    kind: cascade.Task[[EventLoopToken, int], float],
) -> None:
    begin, token = current_time(), current_token()
    items = kind.partial(token=token).map(_=range(5))

    seen, woken = await cascade.run([items, sleeper(5)])

    assert (seen, woken) == ([begin] * 5, begin + 5)


async def test_time_stands_still_while_a_resource_is_opened_and_closed_in_its_thread() -> None:
    token, looks = current_token(), []

    @cascade.resource
    def slow() -> Iterator[str]:
        looks.append(look_at_the_clock(token))
        yield "it"
        looks.append(look_at_the_clock(token))

    @cascade.task
    async def uses(it: str = cascade.inject("slow")) -> str:
        return it

    begin = current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(sleep, 5)
        assert await cascade.run(uses(), providers=[slow]) == "it"

    assert looks == [begin, begin]


async def test_time_moves_while_a_resource_waits_in_its_thread() -> None:
    @cascade.resource
    def parked() -> Iterator[str]:
        yield "it"

    @cascade.task
    async def uses(it: str = cascade.inject("parked")) -> float:
        await sleep(5)
        return current_time()

    begin = current_time()

    assert await cascade.run(uses(), providers=[parked]) == begin + 5


async def test_time_moves_again_after_threads_have_failed() -> None:
    @cascade.task
    def fails() -> None:
        raise ValueError("trouble")

    begin = current_time()
    with pytest.raises(ValueError, match="trouble"):
        await cascade.run([fails(), fails(), sleeper(1)])
    await sleep(5)

    assert current_time() == begin + 5


async def test_time_moves_again_after_a_run_was_cancelled_while_a_thread_worked() -> None:
    begun, token = anyio.Event(), current_token()

    @cascade.task
    def works_until_cancelled() -> None:
        from_thread.run_sync(begun.set, token=token)
        while True:
            cascade.checkpoint()

    begin = current_time()
    async with cascade.start(works_until_cancelled()) as run:
        await begun.wait()
        run.cancel()
    await sleep(5)

    assert current_time() == begin + 5


async def test_time_moves_while_a_thread_that_was_left_behind_lives_on() -> None:
    begun, release, token = anyio.Event(), threading.Event(), current_token()

    @cascade.task(abandon_on_cancel=True)
    def lives_on() -> None:
        from_thread.run_sync(begun.set, token=token)
        release.wait(60)

    begin = current_time()
    try:
        async with cascade.start(lives_on()) as run:
            await begun.wait()
            run.cancel()
        await sleep(5)
        assert current_time() == begin + 5
    finally:
        release.set()


# -- what the engine times ---------------------------------------------------------------------------------------


async def test_a_timeout_of_a_task_ends_exactly_in_time() -> None:
    begin = current_time()
    with pytest.raises(cascade.TaskTimeoutError):
        await cascade.run(sleeper(10).with_timeout(0.3))

    assert current_time() == begin + 0.3


async def test_pauses_between_attempts_take_exactly_as_long_as_they_should() -> None:
    begin, moments = current_time(), []

    @cascade.task
    async def fails() -> None:
        moments.append(current_time())
        raise ValueError("trouble")

    with pytest.raises(ValueError, match="trouble"):
        await cascade.run(fails().with_retry(max_attempts=4, delay=0.1, backoff=2.0))

    assert moments == [begin, begin + 0.1, begin + 0.1 + 0.2, begin + 0.1 + 0.2 + 0.4]


async def test_durations_in_events_are_virtual() -> None:
    async with cascade.start(sleeper(1_000)) as run, run.subscribe(cascade.TaskExecutionFinished) as events:
        durations = [event.duration async for event in events if isinstance(event, cascade.TaskExecutionFinished)]

    assert durations == [pytest.approx(1_000)]


async def test_resources_may_sleep_in_virtual_time() -> None:
    @cascade.resource
    async def warming_up() -> AsyncIterator[str]:
        await sleep(60)
        yield "warm"
        await sleep(5)

    @cascade.task
    async def uses(it: str = cascade.inject("warming_up")) -> str:
        return it

    begin = current_time()

    assert await cascade.run(uses(), providers=[warming_up]) == "warm"
    assert current_time() == begin + 65


async def test_threads_of_others_still_answer() -> None:
    begin = current_time()

    assert await to_thread.run_sync(lambda: "answer") == "answer"
    assert current_time() == begin


# -- virtual_backends --------------------------------------------------------------------------------------------


def test_there_is_one_for_each_backend() -> None:
    pytest.importorskip("trio")
    assert [name for name, _ in virtual_backends()] == ["asyncio", "trio"]


def test_each_run_begins_at_the_same_virtual_time(backend_name: str) -> None:
    options = dict(virtual_backends())[backend_name]

    async def main() -> float:
        begin = current_time()
        await sleep(10)
        return begin

    first, second = (anyio.run(main, backend=backend_name, backend_options=dict(options)) for _ in range(2))

    assert first == second


def test_run_sync_takes_them(backend_name: str) -> None:
    options = dict(virtual_backends())[backend_name]

    woken = cascade.run_sync(sleeper(1e6), backend=backend_name, backend_options=dict(options))

    assert math.isclose(woken, 1e6)


# -- private names -----------------------------------------------------------------------------------------------


def test_the_loops_have_the_private_names_that_virtual_time_needs() -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        late, soon, sooner = (loop.call_later(seconds, print) for seconds in (3, 2, 1))
        sooner.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
        message = f"broken by Python {platform.python_version()}: VirtualLoop needs BaseEventLoop.%s"
        timers = getattr(loop, "_scheduled", None)
        assert timers is not None, message % "_scheduled"
        assert timers[0] is soon, message % "_scheduled, whose first timer is due next, and not cancelled"
        assert hasattr(loop, "_clock_resolution"), message % "_clock_resolution"
        assert late.when() > timers[0].when()
    finally:
        loop.close()


async def test_the_clock_is_asked_whenever_nothing_can_go_on_and_goes_where_it_says() -> None:
    assert current_time() == 0, f"broken by {backend_version()}: virtual time begins at 0"
    await sleep(10)
    assert current_time() == 10, f"broken by {backend_version()}: a sleep ends exactly when it should"


async def test_what_is_never_due_can_be_waited_for_and_cancelled() -> None:
    with move_on_after(5) as scope:
        await sleep(math.inf)

    assert scope.cancelled_caught
    assert current_time() == 5


def backend_version() -> str:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return f"trio {trio.__version__}"
    return f"asyncio of Python {platform.python_version()}"
