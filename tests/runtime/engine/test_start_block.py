"""What leaves the block of start: values, errors of the run, errors of the block, and both."""

from __future__ import annotations

import dataclasses
from typing import Any

import anyio
import pytest
from life import Log, forever, joined, just, raising, stray_cancellation, turns, until

import cascade

pytestmark = pytest.mark.loop

CLOSING = cascade.inject("closing")


class BodyError(Exception):
    """Of the block of start."""


async def test_the_result_is_that_of_the_flow(schedule: Any) -> None:
    async with cascade.start(joined(just(1), just(2)), schedule=schedule) as run:
        assert await run.result() == [1, 2]


async def test_the_result_may_be_asked_for_again_and_afterwards() -> None:
    async with cascade.start(just(None)) as run:
        assert [await run.result(), await run.result()] == [None, None]
    assert await run.result() is None


async def test_params_and_settings_are_those_of_run() -> None:
    flow = just(cascade.Param("limit", type=int))
    async with cascade.start(flow, {"limit": "10"}, run_id="nightly", schedule="eager") as run:
        assert run.id == "nightly"
        assert await run.result() == 10


async def test_leaving_the_block_waits_for_the_run() -> None:
    ended: list[str] = []

    @cascade.task
    async def takes_a_while() -> None:
        await turns(20)
        ended.append("task")

    async with cascade.start(takes_a_while()):
        pass
    assert ended == ["task"]


async def test_the_run_goes_on_while_the_block_does_something_else() -> None:
    log = Log()
    async with cascade.start(log.waits("a")) as run:
        await until(log.has("a starts"))
        run.cancel()


async def test_the_error_of_the_run_leaves_the_block_as_itself() -> None:
    error = ValueError("the run's")
    with pytest.raises(ValueError, match="the run's") as caught:
        async with cascade.start(raising(error)):
            pass
    assert caught.value is error
    assert error.__context__ is None


async def test_the_error_that_result_raised_leaves_the_block_as_itself() -> None:
    error = ValueError("the run's")
    with pytest.raises(ValueError, match="the run's") as caught:
        async with cascade.start(raising(error)) as run:
            await run.result()
    assert caught.value is error


@pytest.mark.parametrize("on_error", ["first", "group", "continue"])
async def test_what_result_has_raised_is_not_raised_again(on_error: Any) -> None:
    async with cascade.start(raising(ValueError("the run's")), on_error=on_error) as run:
        with pytest.raises((ValueError, cascade.RunFailed)):
            await run.result()


@pytest.mark.parametrize("on_error", ["first", "group", "continue"])
async def test_what_result_raises_is_the_same_object_each_time(on_error: Any) -> None:
    raised: list[BaseException] = []
    async with cascade.start(raising(ValueError("the run's")), on_error=on_error) as run:
        for _ in range(2):
            try:
                await run.result()
            except Exception as error:
                raised.append(error)
    assert raised[0] is raised[1]


@pytest.mark.parametrize("on_error", ["group", "continue"])
async def test_a_group_that_result_raised_in_the_block_leaves_it_as_itself(on_error: Any) -> None:
    with pytest.raises(cascade.RunFailed):
        async with cascade.start(raising(ValueError("the run's")), on_error=on_error) as run:
            await run.result()


async def test_what_result_raised_in_another_task_is_not_raised_again() -> None:
    caught: list[BaseException] = []

    async def wait_for(run: cascade.Run) -> None:
        try:
            await run.result()
        except ValueError as error:
            caught.append(error)

    error = ValueError("the run's")
    async with anyio.create_task_group() as group, cascade.start(raising(error)) as run:
        group.start_soon(wait_for, run)
    assert caught == [error]


async def test_an_error_of_the_block_cancels_the_run_and_leaves_as_itself() -> None:
    log, error = Log(), BodyError()
    with pytest.raises(BodyError) as caught:
        async with cascade.start(log.waits("a")):
            await until(log.has("a starts"))
            raise error
    assert caught.value is error
    assert log.lines == ["a starts", "a is cancelled"]


async def test_an_error_of_the_block_before_its_first_await_leaves_as_itself() -> None:
    log, error = Log(), BodyError()
    with pytest.raises(BodyError) as caught:
        async with cascade.start(log.waits("a")):
            raise error
    assert caught.value is error
    assert log.lines == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=lambda error: type(error).__name__)
async def test_an_exit_from_the_block_cancels_the_run_and_leaves_as_itself(error: BaseException) -> None:
    log = Log()
    with pytest.raises(type(error)) as caught:
        async with cascade.start(log.waits("a")):
            await until(log.has("a starts"))
            raise error
    assert caught.value is error
    assert log.lines == ["a starts", "a is cancelled"]


async def test_two_different_errors_leave_in_a_group() -> None:
    errors = BodyError(), ValueError("the run's")
    with pytest.raises(ExceptionGroup) as caught:
        async with cascade.start(raising(errors[1])) as run:
            await until(lambda: run.status().state != "Running")
            raise errors[0]
    assert caught.value.exceptions == errors


async def test_an_error_in_the_clean_up_of_the_run_joins_that_of_the_block() -> None:
    log = Log()

    @cascade.task
    async def clumsy() -> None:
        log.lines.append("starts")
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    with pytest.raises(ExceptionGroup) as caught:
        async with cascade.start(clumsy()):
            await until(log.has("starts"))
            raise BodyError
    assert [type(error) for error in caught.value.exceptions] == [BodyError, ValueError]


async def test_two_errors_that_are_equal_are_still_two() -> None:
    @dataclasses.dataclass
    class EqualError(Exception):
        code: int

    with pytest.raises(ExceptionGroup) as caught:
        async with cascade.start(raising(EqualError(1))) as run:
            await until(lambda: run.status().state != "Running")
            raise EqualError(1)
    assert len(caught.value.exceptions) == 2


async def test_the_error_of_the_block_keeps_its_context() -> None:
    error = BodyError()
    with pytest.raises(BodyError):
        async with cascade.start(forever()):
            try:
                raise KeyError("context")
            except KeyError:
                raise error from None
    assert isinstance(error.__context__, KeyError)


async def test_a_flow_that_cannot_run_is_an_error_before_the_block() -> None:
    entered: list[None] = []
    with pytest.raises(cascade.InputError):
        async with cascade.start(just(cascade.Param("missing"))):
            entered.append(None)
    assert entered == []


async def test_a_run_that_fails_while_the_block_waits_for_something_else_does_not_end_the_block() -> None:
    passed: list[str] = []
    with pytest.raises(ValueError, match="bad"):
        async with cascade.start(raising(ValueError("bad"))) as run:
            await until(lambda: run.status().state == "Failed")
            await turns(5)
            passed.append("the block went on")
    assert passed == ["the block went on"]


# -- cancelled while the run ends ------------------------------------------------------------------------------


async def by_run(flow: Any, **settings: Any) -> None:
    await cascade.run(flow, **settings)


async def by_start(flow: Any, **settings: Any) -> None:
    async with cascade.start(flow, **settings):
        pass


async def by_engine_run(flow: Any, **settings: Any) -> None:
    await cascade.Engine(**settings).run(flow)


async def by_engine_start(flow: Any, **settings: Any) -> None:
    async with cascade.Engine(**settings).start(flow) as run:
        await run.result()


async def by_serve(flow: Any, **settings: Any) -> None:
    await cascade.serve(flow, **settings)


ENTRANCES = [by_run, by_start, by_engine_run, by_engine_start, by_serve]


class Closing:
    """A resource in whose clean-up *scope* is cancelled, which then takes a while."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()

    @property
    def provider(self) -> Any:
        @cascade.resource(name="closing")
        async def closing() -> Any:
            try:
                yield
            finally:
                self.scope.cancel()
                await turns(5)

        return closing


@cascade.task
async def raising_beside(error: BaseException, _: Any = CLOSING) -> None:
    raise error


@pytest.mark.parametrize("enter", ENTRANCES)
@pytest.mark.parametrize("on_error", ["first", "group", "continue"])
async def test_a_failure_is_raised_though_the_scope_around_is_cancelled_in_the_clean_up(
    enter: Any, on_error: Any
) -> None:
    error, closing = ValueError("the run's"), Closing()
    raised: list[BaseException] = []
    with closing.scope:
        try:
            await enter(raising_beside(error), providers=[closing.provider], on_error=on_error)
        except Exception as caught:
            raised.append(caught)
        await turns(1)
        raise AssertionError("the scope is not cancelled any more")
    assert closing.scope.cancelled_caught
    (failure,) = raised
    assert failure is error if on_error == "first" else failure.exceptions == (error,)  # type: ignore[attr-defined]


@pytest.mark.parametrize("enter", ENTRANCES)
async def test_a_cancellation_in_the_clean_up_of_a_run_that_succeeds_goes_on(enter: Any) -> None:
    closing = Closing()
    passed: list[str] = []

    @cascade.task
    async def fine(_: Any = CLOSING) -> None: ...

    with closing.scope:
        await enter(fine(), providers=[closing.provider])
        await turns(1)
        passed.append("not cancelled")
    assert closing.scope.cancelled_caught
    assert passed == []


@cascade.task
async def forever_beside(_: Any = CLOSING) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("start", [cascade.start, lambda flow, **settings: cascade.Engine(**settings).start(flow)])
async def test_the_error_of_the_block_is_raised_though_the_scope_around_is_cancelled_in_the_clean_up(
    start: Any,
) -> None:
    error, closing = BodyError(), Closing()
    raised: list[BaseException] = []
    with closing.scope:
        try:
            async with start(forever_beside(), providers=[closing.provider]) as run:
                await until(lambda: run.status().running != ())
                raise error
        except BodyError as caught:
            raised.append(caught)
    assert raised == [error]


async def test_both_errors_are_raised_though_the_scope_around_is_cancelled_in_the_clean_up() -> None:
    errors, closing = (BodyError(), ValueError("the run's")), Closing()
    raised: list[BaseException] = []
    with closing.scope:
        try:
            async with cascade.start(raising_beside(errors[1]), providers=[closing.provider]) as run:
                await until(lambda: run.status().failures != ())
                raise errors[0]
        except BaseException as caught:
            raised.append(caught)
    assert isinstance(raised[0], ExceptionGroup)
    assert raised[0].exceptions == errors


async def test_a_failure_is_raised_though_the_block_was_cancelled_before() -> None:
    error = ValueError("in clean-up")

    @cascade.task
    async def clumsy(scope: anyio.CancelScope) -> None:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    raised: list[BaseException] = []
    with anyio.CancelScope() as scope:
        try:
            async with cascade.start(clumsy(scope)):
                await anyio.sleep_forever()
        except ValueError as caught:
            raised.append(caught)
    assert raised == [error]
    assert error.__context__ is None or isinstance(error.__context__, anyio.get_cancelled_exc_class())


async def test_the_cancellations_in_a_group_of_the_block_are_left_out_beside_another_error() -> None:
    bad, error = KeyError("of the block"), ValueError("the run's")
    with pytest.raises(ExceptionGroup) as caught:
        async with cascade.start(raising(error)) as run:
            await until(lambda: run.status().state != "Running")
            raise BaseExceptionGroup("mixed", [bad, await stray_cancellation()])
    of_block, of_run = caught.value.exceptions
    assert isinstance(of_block, ExceptionGroup)
    assert of_block.exceptions == (bad,)
    assert of_run is error
