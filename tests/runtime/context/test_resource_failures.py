"""Resources when something goes wrong: what providers see, what they cannot do, what becomes of their errors."""

from __future__ import annotations

import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from life import stray_cancellation
from resourceful import async_or_sync, each_scope, log_of_providers, use, use_forever
from strategies_runtime import Log, failures, raised_by

import cascade

DB, A, C = map(cascade.inject, ("db", "a", "c"))
is_async = async_or_sync
scope = each_scope
log = log_of_providers


@cascade.task
async def use_and_fail(error: Exception, db: Any = DB) -> None:
    raise error


def watcher(scope: Any, is_async: bool, seen: list[Any], *, swallows: bool = False, fails: Any = None) -> Any:
    """A provider of "db" that notes what ends its scope, and then raises it on, swallows it or fails."""

    def end(error: BaseException | None) -> None:
        seen.append(error)
        if fails is not None:
            raise fails
        if error is not None and not swallows:
            raise error

    async def on_loop() -> AsyncIterator[str]:
        try:
            yield "db"
        except BaseException as error:  # the point of it
            end(error)
        else:
            end(None)

    def in_thread() -> Iterator[str]:
        try:
            yield "db"
        except BaseException as error:  # the point of it
            end(error)
        else:
            end(None)

    return cascade.resource(name="db", scope=scope)(on_loop if is_async else in_thread)


# -- what a provider sees --------------------------------------------------------------------------------------


async def test_a_provider_sees_nothing_when_all_went_well(scope: Any, is_async: bool) -> None:
    seen: list[Any] = []
    await cascade.run(use(), providers=[watcher(scope, is_async, seen)])
    assert seen == [None]


async def test_a_provider_sees_the_exception_that_ends_its_scope(
    scope: Any, is_async: bool, schedule: Any
) -> None:
    seen: list[Any] = []
    trouble = ValueError("no luck")
    error, _ = await raised_by(use_and_fail(trouble), watcher(scope, is_async, seen), schedule=schedule)
    assert seen == [trouble]
    assert error is trouble


async def test_a_provider_sees_a_cancellation(scope: Any, is_async: bool) -> None:
    seen: list[Any] = []
    async with cascade.start(use_forever(), providers=[watcher(scope, is_async, seen)]) as run:
        async with run.subscribe(cascade.TaskExecutionStarted) as events:
            await events.receive()
        run.cancel()
    assert isinstance(seen[0], anyio.get_cancelled_exc_class())


async def test_a_provider_sees_no_attempt_that_is_followed_by_another(scope: Any, is_async: bool) -> None:
    seen: list[Any] = []
    attempts: list[int] = []

    @cascade.task
    async def fragile(db: Any = DB) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError

    await cascade.run(fragile().with_retry(2), providers=[watcher(scope, is_async, seen)])
    assert seen == [None]


async def test_a_provider_cannot_swallow_what_it_sees(scope: Any, is_async: bool) -> None:
    trouble = ValueError("no luck")
    error, recorded = await raised_by(use_and_fail(trouble), watcher(scope, is_async, [], swallows=True))
    assert error is trouble
    assert failures(recorded) == ("ValueError: no luck",)


async def test_a_provider_cannot_swallow_a_cancellation(scope: Any, is_async: bool) -> None:
    started = anyio.Event()

    @cascade.task
    async def begin(db: Any = DB) -> None:
        started.set()
        await anyio.sleep_forever()

    async def start() -> None:
        await cascade.run(begin(), providers=[watcher(scope, is_async, [], swallows=True)])
        pytest.fail("the cancellation was swallowed")

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        await started.wait()
        group.cancel_scope.cancel()


async def test_passing_through_a_provider_leaves_an_exception_as_it_was(scope: Any, is_async: bool) -> None:
    cause, trouble = KeyError("cause"), ValueError("no luck")

    @cascade.task
    async def fail(db: Any = DB) -> None:
        raise trouble from cause

    error, _ = await raised_by(fail(), watcher(scope, is_async, []))
    assert error is trouble
    assert error.__cause__ is cause
    assert error.__context__ is None


async def test_a_failure_that_passed_through_a_provider_is_still_the_node_s(scope: Any, is_async: bool) -> None:
    trouble = ValueError("no luck")
    await raised_by(use_and_fail(trouble), watcher(scope, is_async, []))
    assert any("'use_and_fail'" in note for note in trouble.__notes__)
    frames = traceback.extract_tb(trouble.__traceback__)
    assert not {"on_loop", "in_thread"} & {frame.name for frame in frames}


async def test_a_failure_that_passed_through_a_provider_stops_no_others_if_the_run_goes_on(is_async: bool) -> None:
    ran: list[int] = []

    @cascade.task
    async def other(_: Any) -> None:
        ran.append(1)

    @cascade.task
    async def wait() -> None:
        await anyio.wait_all_tasks_blocked()

    flow = [use_and_fail(ValueError("no luck")), other(wait())]
    error, _ = await raised_by(flow, watcher("task", is_async, []), on_error="continue")
    assert isinstance(error, cascade.RunFailed)
    assert ran == [1]


# -- errors of tear-down ---------------------------------------------------------------------------------------


async def test_a_tear_down_error_fails_a_successful_run(scope: Any, is_async: bool, schedule: Any) -> None:
    trouble = OSError("cannot close")
    error, recorded = await raised_by(use(), watcher(scope, is_async, [], fails=trouble), schedule=schedule)
    assert error is trouble
    assert recorded.of(cascade.RunFinished)[0].status == "Failed"


async def test_a_tear_down_error_joins_the_failures_of_a_run_that_failed(
    scope: Any, is_async: bool, schedule: Any
) -> None:
    trouble = ValueError("no luck")
    provider = watcher(scope, is_async, [], fails=OSError("cannot close"))
    error, recorded = await raised_by(use_and_fail(trouble), provider, schedule=schedule)
    assert error is trouble
    assert failures(recorded) == ("ValueError: no luck", "OSError: cannot close")


async def test_a_tear_down_error_keeps_no_other_resource_from_closing(log: Log, scope: Any) -> None:
    @cascade.task
    async def use_three(a: Any = A, db: Any = DB, c: Any = C) -> None: ...

    providers = [log.provider("a", scope), watcher(scope, True, [], fails=OSError("x")), log.provider("c", scope)]
    error, _ = await raised_by(use_three(), *providers)
    assert isinstance(error, OSError)
    assert sorted(log) == ["close a", "close c", "open a", "open c"]


async def test_a_cancellation_that_a_tear_down_raises_fails_a_successful_run(scope: Any, is_async: bool) -> None:
    cancellation = await stray_cancellation()
    error, recorded = await raised_by(use(), watcher(scope, is_async, [], fails=cancellation))
    assert isinstance(error, RuntimeError)
    assert "provider of the resource 'db' raised a cancellation" in str(error)
    assert error.__cause__ is cancellation
    assert recorded.of(cascade.RunFinished)[0].status == "Failed"


async def test_a_cancellation_that_a_tear_down_raises_joins_the_failures(scope: Any, is_async: bool) -> None:
    provider = watcher(scope, is_async, [], fails=await stray_cancellation())
    error, recorded = await raised_by(use_and_fail(ValueError("no luck")), provider)
    assert isinstance(error, ValueError)
    assert failures(recorded)[1].startswith(
        "TaskCancelledError: the provider of the resource 'db' raised a cancellation"
    )


async def test_a_cancellation_that_a_tear_down_raises_beside_errors_leaves_these(
    scope: Any, is_async: bool
) -> None:
    trouble = OSError("cannot close")
    group = BaseExceptionGroup("both", [trouble, await stray_cancellation()])
    error, _ = await raised_by(use(), watcher(scope, is_async, [], fails=group))
    assert isinstance(error, ExceptionGroup)
    assert error.exceptions == (trouble,)


async def test_a_cancellation_that_an_opening_raises_fails_the_run(scope: Any, is_async: bool) -> None:
    error, _ = await raised_by(use(), broken(scope, is_async, await stray_cancellation()))
    assert "provider of the resource 'db' raised a cancellation" in str(error)


async def test_a_provider_may_raise_another_cancellation_than_it_sees(scope: Any, is_async: bool) -> None:
    other = await stray_cancellation()
    provider = watcher(scope, is_async, [], fails=other)
    with anyio.CancelScope() as around:

        @cascade.task
        async def cancels(db: Any = DB) -> None:
            around.cancel()
            await anyio.sleep_forever()

        with pytest.raises(anyio.get_cancelled_exc_class()):
            await cascade.run(cancels(), providers=[provider])


# -- errors of opening -----------------------------------------------------------------------------------------


def broken(scope: Any, is_async: bool, error: BaseException, opened: list[int] | None = None) -> Any:
    """A provider of "db" that cannot be opened."""

    async def on_loop() -> AsyncIterator[None]:
        if opened is not None:
            opened.append(1)
        raise error
        yield

    def in_thread() -> Iterator[None]:
        if opened is not None:
            opened.append(1)
        raise error
        yield

    return cascade.resource(name="db", scope=scope)(on_loop if is_async else in_thread)


async def test_an_opening_that_fails_fails_the_run(scope: Any, is_async: bool, schedule: Any) -> None:
    trouble = OSError("no connection")
    error, recorded = await raised_by(use(), broken(scope, is_async, trouble), schedule=schedule)
    assert error is trouble
    assert failures(recorded) == ("OSError: no connection",)
    assert recorded.of(cascade.TaskExecutionStarted) == []


async def test_an_opening_that_fails_closes_what_was_opened(log: Log, scope: Any) -> None:
    @cascade.task
    async def use_both(a: Any = A, db: Any = DB) -> None:
        log.append("work")

    await raised_by(use_both(), log.provider("a", scope), broken(scope, True, OSError()))
    assert log == ["open a", "close a"]


async def test_an_opening_that_fails_is_not_a_failed_attempt(scope: Any, is_async: bool) -> None:
    opened: list[int] = []
    await raised_by(use().with_retry(5), broken(scope, is_async, OSError(), opened))
    assert len(opened) == 1


async def test_an_opening_that_fails_for_several_nodes_is_one_failure(schedule: Any) -> None:
    opened: list[int] = []
    provider = broken("run", True, OSError("no connection"), opened)
    error, recorded = await raised_by([use(), use(), use()], provider, schedule=schedule, on_error="continue")
    assert isinstance(error, cascade.RunFailed)
    assert failures(recorded) == ("OSError: no connection",)
    assert len(opened) == 1


async def test_a_sync_provider_that_opens_while_the_run_is_cancelled_is_closed(log: Log, scope: Any) -> None:
    opening, may_open = threading.Event(), threading.Event()

    @cascade.resource(scope=scope)
    def db() -> Iterator[None]:
        opening.set()
        may_open.wait(10)
        log.append("opened")
        try:
            yield
        finally:
            log.append("closed")

    async with cascade.start(use(), providers=[db]) as run:
        while not opening.is_set():
            await anyio.lowlevel.checkpoint()
        run.cancel()
        await anyio.lowlevel.checkpoint()
        may_open.set()
    assert log == ["opened", "closed"]


async def test_an_injected_resource_that_cannot_be_opened_fails_the_run_with_its_error(scope: Any) -> None:
    trouble = OSError("no connection")

    @cascade.resource(scope=scope)
    async def a(db: Any = DB) -> AsyncIterator[Any]:
        yield db

    @cascade.task
    async def use_a(a: Any = A) -> None: ...

    error, _ = await raised_by(use_a(), a, broken(scope, True, trouble))
    assert error is trouble


@pytest.mark.parametrize("times", [0, 2])
async def test_a_provider_that_does_not_yield_once_is_an_error_that_says_so(
    times: int, scope: Any, is_async: bool
) -> None:
    async def on_loop() -> AsyncIterator[None]:
        for _ in range(times):
            yield

    def in_thread() -> Iterator[None]:
        for _ in range(times):
            yield

    provider = cascade.resource(name="db", scope=scope)(on_loop if is_async else in_thread)
    error, _ = await raised_by(use(), provider)
    assert isinstance(error, RuntimeError)
    assert "'db'" in str(error)
    assert "yield" in str(error)


async def test_where_the_run_goes_on_a_tear_down_of_one_item_keeps_the_others(schedule: Any) -> None:
    @cascade.resource(scope="task")
    async def db() -> Any:
        yield object()
        raise OSError("cannot close")

    @cascade.task
    async def load(n: int, db: object) -> int:
        return n

    with pytest.raises(cascade.RunFailed) as caught:
        await cascade.run(
            load.partial(db=cascade.inject("db")).map(n=[1, 2, 3]),
            providers=[db],
            on_error="continue",
            schedule=schedule,
        )
    assert len(caught.value.exceptions) == 3
    assert str(caught.value).startswith("run ")
    assert "has 3 failures outside its tasks" in str(caught.value)


async def test_what_a_provider_raises_while_its_opening_is_cancelled_joins_the_failures(schedule: Any) -> None:
    opening = anyio.Event()

    @cascade.resource
    async def db() -> Any:
        try:
            opening.set()
            await anyio.sleep_forever()
            yield object()
        finally:
            raise ValueError("could not clean up")

    @cascade.task
    async def use(db: object) -> None: ...

    @cascade.task
    async def fails() -> None:
        await opening.wait()
        raise KeyError("first")

    flow = [use(db=cascade.inject("db")), fails()]
    with pytest.raises(KeyError) as caught:
        await cascade.run(flow, providers=[db], schedule=schedule)
    assert any("could not clean up" in note for note in caught.value.__notes__)


async def test_failures_of_tasks_and_others_are_counted_apart() -> None:
    @cascade.resource(scope="task")
    async def db() -> Any:
        yield object()
        raise OSError("cannot close")

    @cascade.task
    async def use(db: object) -> None: ...

    @cascade.task
    async def fails() -> None:
        raise KeyError("bad")

    with pytest.raises(
        cascade.RunFailed, match=r"1 of the tasks of run .* failed, and there is 1 failure outside"
    ):
        await cascade.run([use(db=cascade.inject("db")), fails()], providers=[db], on_error="continue")
