"""How long resources may take to open and to close, and what happens when they crash; in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from anyio import sleep
from resourceful import each_scope, log_of_providers, use, use_forever
from strategies_runtime import Log, failures, leaves, raised_by
from virtual_time import virtual_loops

import cascade

DB, A, B, C = map(cascade.inject, ("db", "a", "b", "c"))
scope = each_scope
log = log_of_providers


anyio_backend = virtual_loops


async def test_closing_may_await_although_the_run_was_cancelled(log: Log, scope: Any) -> None:
    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await sleep(3)
            log.append("closed")

    with anyio.move_on_after(5):
        await cascade.run(use_forever(), providers=[db])
    assert log == ["closed"]


async def test_closing_that_takes_too_long_is_cancelled_and_listed(scope: Any) -> None:
    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    began = anyio.current_time()
    error, recorded = await raised_by(use(), db, cleanup_timeout=3)
    assert anyio.current_time() - began == pytest.approx(3)
    assert isinstance(error, TimeoutError)
    assert "'db'" in failures(recorded)[0]


async def test_each_closing_has_the_whole_of_cleanup_timeout(scope: Any) -> None:
    async def slow() -> AsyncIterator[None]:
        yield
        await sleep(2)

    @cascade.task
    async def use_three(a: Any = A, b: Any = B, c: Any = C) -> str:
        return "fine"

    providers = [cascade.resource(name=name, scope=scope)(slow) for name in "abc"]
    assert await cascade.run(use_three(), providers=providers, cleanup_timeout=3) == "fine"


async def test_opening_counts_to_no_timeout(scope: Any) -> None:
    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[str]:
        await sleep(100)
        yield "slow"

    assert await cascade.run(use().with_timeout(1), providers=[db]) == "slow"


async def test_an_opening_is_cancelled_with_the_run(log: Log, scope: Any) -> None:
    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[None]:
        try:
            await anyio.sleep_forever()
            yield
        finally:
            log.append("given up")

    began = anyio.current_time()
    with anyio.move_on_after(5):
        await cascade.run(use(), providers=[db])
    assert anyio.current_time() - began == pytest.approx(5)
    assert log == ["given up"]


async def test_an_opening_that_has_just_begun_is_cancelled_when_another_node_fails(scope: Any) -> None:
    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[None]:
        await anyio.sleep_forever()
        yield

    @cascade.task
    async def fail() -> None:
        raise ValueError("no luck")

    # Again and again, and in either order of the two, as Trio throws dice for who goes first.
    for _ in range(10):
        began = anyio.current_time()
        error, recorded = await raised_by([fail(), use(), fail()], db)
        assert isinstance(error, ValueError)
        assert anyio.current_time() == began
        assert set(failures(recorded)) == {"ValueError: no luck"}


async def test_what_is_opened_while_the_run_is_cancelled_is_closed(log: Log, scope: Any) -> None:
    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[None]:
        with anyio.CancelScope(shield=True):
            await sleep(3)
        log.append("opened")
        try:
            yield
        finally:
            log.append("closed")

    async with cascade.start(use(), providers=[db]) as run:
        await sleep(1)
        run.cancel()
    assert log == ["opened", "closed"]


async def test_a_provider_that_crashes_ends_the_run_with_its_own_error(scope: Any, schedule: Any) -> None:
    trouble = OSError("connection lost")

    async def lose_connection() -> None:
        await sleep(3)
        raise trouble

    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(lose_connection)
            yield

    began = anyio.current_time()
    error, recorded = await raised_by(use_forever(), db, schedule=schedule)
    assert anyio.current_time() - began == pytest.approx(3)
    assert leaves(error) == [trouble]
    assert recorded.of(cascade.RunFinished)[0].status == "Failed"
    assert [event.status for event in recorded.of(cascade.TaskExecutionFinished)] == ["Cancelled"]


async def test_a_crash_closes_the_other_resources(log: Log) -> None:
    async def crash() -> None:
        await sleep(1)
        raise OSError

    @cascade.resource
    async def db(a: Any = A) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(crash)
            yield

    await raised_by(use_forever(), db, log.provider("a"))
    assert log == ["open a", "close a"]


async def test_time_stands_still_while_a_sync_provider_opens_and_closes(scope: Any) -> None:
    @cascade.resource(scope=scope)
    def db() -> Iterator[str]:
        sum(range(200_000))  # a few milliseconds of work
        yield "db"
        sum(range(200_000))

    began = anyio.current_time()
    with anyio.fail_after(60):
        assert await cascade.run(use(), providers=[db]) == "db"
    assert anyio.current_time() == began
