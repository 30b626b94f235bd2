"""Injected resources: in which order they are opened and closed, in which tasks and threads they live."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from resourceful import async_or_sync, log_of_providers, use
from strategies_runtime import Log

import cascade
from cascade.testing import record_events

DB, A, B, C, ONE, TWO = map(cascade.inject, ("db", "a", "b", "c", "one", "two"))
is_async = async_or_sync
log = log_of_providers


# -- order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["run", "task"])
async def test_resources_are_closed_in_reverse_order(log: Log, scope: str, is_async: bool) -> None:
    @cascade.task
    async def use_three(a: Any = A, b: Any = B, c: Any = C) -> None:
        log.append("work")

    providers = [log.provider(name, scope, is_async=is_async) for name in "abc"]
    await cascade.run(use_three(), providers=providers)
    opened = [word.removeprefix("open ") for word in log[:3]]
    assert sorted(opened) == ["a", "b", "c"]
    assert log[3:] == ["work", *(f"close {name}" for name in reversed(opened))]


@pytest.mark.parametrize("scopes", [("run", "run"), ("run", "task"), ("task", "task")])
async def test_a_resource_is_opened_after_those_it_injects_and_closed_before_them(
    log: Log, scopes: tuple[str, str], is_async: bool
) -> None:
    providers = [log.provider("db", scopes[1], is_async=is_async, needs="pool"), log.provider("pool", scopes[0])]
    assert await cascade.run(use(), providers=providers) == "db 1 of pool 1"
    assert log == ["open pool", "open db", "close db", "close pool"]


async def test_resources_that_several_inject_are_opened_once(log: Log) -> None:
    @cascade.task
    async def use_both(a: Any = A, b: Any = B) -> Any:
        return a, b

    providers = [log.provider("a", needs="base"), log.provider("b", needs="base"), log.provider("base")]
    assert await cascade.run(use_both(), providers=providers) == ("a 1 of base 1", "b 1 of base 1")


async def test_a_task_s_resources_that_inject_a_third_share_it_within_the_node(log: Log) -> None:
    @cascade.task
    async def use_both(a: Any = A, b: Any = B) -> Any:
        return a, b

    providers = [log.provider(name, "task", needs="base") for name in "ab"]
    value = await cascade.run(use_both(), providers=[*providers, log.provider("base", "task")])
    assert value == ("a 1 of base 1", "b 1 of base 1")


async def test_nodes_have_cleaned_up_before_what_they_used_is_closed(log: Log) -> None:
    @cascade.task
    async def linger(db: Any = DB) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
            log.append("cleaned up")

    async with cascade.start(linger(), providers=[log.provider("db")]) as run:
        await anyio.wait_all_tasks_blocked()
        run.cancel()
    assert log == ["open db", "cleaned up", "close db"]


# -- where they live -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["run", "task"])
async def test_one_task_enters_and_exits_an_async_provider_and_it_is_its_own(scope: Any) -> None:
    tasks: list[int] = []

    @cascade.resource(scope=scope)
    async def db() -> AsyncIterator[None]:
        tasks.append(anyio.get_current_task().id)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            yield
            group.cancel_scope.cancel()
        tasks.append(anyio.get_current_task().id)

    @cascade.task(mode="task")
    async def look(db: Any = DB) -> None:
        tasks.append(anyio.get_current_task().id)

    await cascade.run(look(), providers=[db])
    entered, used, left = tasks
    assert entered == left
    assert used not in (entered, anyio.get_current_task().id)


@pytest.mark.parametrize("scope", ["run", "task"])
async def test_a_sync_provider_runs_on_one_thread_of_its_own(scope: Any) -> None:
    threads: list[int] = []

    def provide() -> Iterator[None]:
        threads.append(threading.get_ident())
        yield
        threads.append(threading.get_ident())

    @cascade.task
    def look(one: Any = ONE, two: Any = TWO) -> int:
        return threading.get_ident()

    providers = [cascade.resource(name=name, scope=scope)(provide) for name in ("one", "two")]
    user = await cascade.run(look(), providers=providers)
    first, second, *closing = threads
    assert closing == [second, first]
    assert len({first, second, user, threading.get_ident()}) == 4


async def test_sync_providers_take_no_thread_from_tasks(log: Log) -> None:
    @cascade.task
    def look(a: Any = A, b: Any = B) -> Any:
        return a, b

    providers = [log.provider(name, is_async=False) for name in "ab"]
    with anyio.fail_after(60):
        assert await cascade.run(look(), providers=providers, max_threads=1) == ("a 1", "b 1")


variable: ContextVar[str] = ContextVar("variable", default="nothing")


async def test_a_provider_sees_the_context_variables_of_the_caller(is_async: bool) -> None:
    def in_thread() -> Iterator[str]:
        yield variable.get()

    async def on_loop() -> AsyncIterator[str]:
        yield variable.get()

    variable.set("the caller's")
    provider = cascade.resource(name="db")(on_loop if is_async else in_thread)
    assert await cascade.run(use(), providers=[provider]) == "the caller's"


async def test_events_tell_of_opening_and_closing(log: Log, is_async: bool) -> None:
    engine = cascade.Engine(providers=[log.provider("db", "task", is_async=is_async)])
    with record_events(engine) as recorded:
        await engine.run(use())
    (acquired,) = recorded.of(cascade.ResourceAcquired)
    (released,) = recorded.of(cascade.ResourceReleased)
    assert (acquired.resource_name, acquired.scope) == (released.resource_name, released.scope) == ("db", "task")
    assert acquired.seq < recorded.of(cascade.TaskExecutionStarted)[0].seq
    assert released.seq < recorded.of(cascade.TaskExecutionFinished)[0].seq
