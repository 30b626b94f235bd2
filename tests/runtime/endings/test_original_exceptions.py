"""A run raises the exception object that a node raised, whatever that is and whatever it refuses."""

from __future__ import annotations

import dataclasses
import traceback
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest
from life import Halt, failure_of, finished, just, raising, stray_cancellation, unfinished
from unshowable import MuteError

import cascade
from cascade.testing import record_events


@dataclasses.dataclass(frozen=True)
class FrozenDataclassError(Exception):
    """Refuses every attribute, those that Python sets included."""

    code: int


@attrs.frozen
class FrozenAttrsError(Exception):
    code: int


@dataclasses.dataclass
class UnhashableError(Exception):
    """Compares by value, so it has no hash."""

    code: int


class NoNotesError(Exception):
    def add_note(self, note: str) -> None:
        raise TypeError("no notes, please")


class BrokenNotesError(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # odd on purpose
        raise RuntimeError("notes are broken")


class OddNotesError(Exception):
    __notes__ = 5  # type: ignore[assignment]  # odd on purpose


class SlottedError(Exception):
    __slots__ = ()


class NeverEqualError(Exception):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("cannot be compared")

    __hash__ = Exception.__hash__


class UnderivableError(ExceptionGroup[Exception]):
    def derive(self, excs: Any, /) -> Any:
        raise RuntimeError("no parts, please")


class TwoArgumentsError(ExceptionGroup[Exception]):
    """Its ``derive`` is the inherited one, which makes a plain group: ``__new__`` takes other arguments."""

    def __new__(cls, errors: Any, code: int) -> Any:
        return super().__new__(cls, "two arguments", errors)

    def __init__(self, errors: Any, code: int) -> None:
        self.code = code


ODD_ERRORS: list[Any] = [
    ValueError("plain"),
    FrozenDataclassError(1),
    FrozenAttrsError(1),
    UnhashableError(1),
    NoNotesError("x"),
    BrokenNotesError("x"),
    OddNotesError("x"),
    SlottedError("x"),
    MuteError("x"),
    NeverEqualError("x"),
    ExceptionGroup("a group of the user's", [ValueError(1), TypeError(2)]),
    UnderivableError("the user's", [ValueError(1)]),
    TwoArgumentsError([ValueError(1)], 2),
    BaseExceptionGroup("with an exit", [SystemExit(1), ValueError(2)]),
    Halt("x"),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    TimeoutError("the user's"),
    cascade.RunFailed("the user's", [ValueError(1)]),
    cascade.RunCancelled("another run"),
]


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_run_raises_the_very_object_that_a_node_raised(error: BaseException, schedule: Any) -> None:
    assert await failure_of(raising(error), schedule=schedule) is error


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_start_raises_the_very_object_that_a_node_raised(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with cascade.start(raising(error)):
            pass
    assert caught.value is error


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_the_block_of_start_raises_the_very_object_that_result_raised(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with cascade.start(raising(error)) as run:
            await run.result()
    assert caught.value is error


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_the_block_of_start_raises_the_very_object_that_was_raised_in_it(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with cascade.start(1):
            raise error
    assert caught.value is error


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_a_failing_node_is_reported_whatever_it_raised(error: BaseException) -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded, pytest.raises(type(error)):
        await engine.run(raising(error))
    assert finished(recorded).status == "Failed"
    assert len(finished(recorded).failures) == 1
    assert unfinished(recorded) == set()


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
async def test_resources_see_what_a_node_raised_and_are_closed(error: BaseException) -> None:
    seen: list[BaseException] = []

    @cascade.resource
    async def laboratory() -> Any:
        try:
            yield "open"
        except BaseException as reason:
            seen.append(reason)
            raise

    @cascade.task
    async def explodes(lab: str = cascade.inject("laboratory")) -> None:
        raise error

    assert await failure_of(explodes(), providers=[laboratory]) is error
    assert seen == [error]


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("mode", ["async", "task", "thread", "inline"])
async def test_cause_and_context_are_the_users(mode: Any, attempts: int) -> None:
    cause, context = KeyError("cause"), OSError("context")
    raised: list[ValueError] = []

    def fail() -> None:
        raised.append(ValueError("bad"))
        try:
            raise context
        except OSError:
            raise raised[-1] from cause

    async def fail_on_loop() -> None:
        await anyio.lowlevel.checkpoint()
        fail()

    if mode in ("async", "task"):
        lazy = cascade.task(mode="task" if mode == "task" else None)(fail_on_loop)()
    else:
        lazy = cascade.task(mode=mode)(fail)()
    error = await failure_of(lazy.with_retry(attempts))
    assert error is raised[-1]
    assert error.__cause__ is cause
    assert error.__context__ is context
    assert context.__context__ is None


async def test_an_exception_that_is_being_handled_by_the_caller_does_not_become_the_context() -> None:
    try:
        raise KeyError("the caller's")
    except KeyError:
        error = await failure_of(raising(ValueError("bad")))
    assert error.__context__ is None


async def test_an_exception_that_is_being_handled_in_a_nested_caller_does_not_become_the_context() -> None:
    error = ValueError("inner")

    @cascade.task
    async def outer() -> None:
        try:
            raise KeyError("the outer task's")
        except KeyError:
            await cascade.run(raising(error))

    assert await failure_of(outer()) is error
    assert error.__context__ is None


@pytest.mark.parametrize("mode", ["thread", "inline"])
async def test_the_traceback_leads_to_the_line_that_raised(mode: Any) -> None:
    @cascade.task(mode=mode)
    def breaks_here() -> None:
        raise ValueError("bad")

    error = await failure_of(breaks_here())
    assert traceback.extract_tb(error.__traceback__)[-1].name == "breaks_here"


async def test_no_group_stands_around_the_failure_of_a_deeply_nested_node() -> None:
    error = ValueError("deep")

    @cascade.task
    async def item(x: int) -> Any:
        return await cascade.run(just(raising(error)))

    @cascade.task
    async def flow() -> Any:
        return item.map(x=[1])

    assert await failure_of(just(flow())) is error


async def test_a_group_of_one_that_the_user_raised_is_not_unwrapped() -> None:
    inner = ValueError("bad")

    @cascade.task
    async def groups() -> None:
        async with anyio.create_task_group():
            raise inner

    error = await failure_of(groups())
    assert isinstance(error, ExceptionGroup)
    assert error.exceptions == (inner,)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_group_with_a_cancellation_that_cannot_be_split_is_raised_whole(attempts: int) -> None:
    class UnderivableBaseError(BaseExceptionGroup[BaseException]):
        def derive(self, excs: Any, /) -> Any:
            raise RuntimeError("no parts, please")

    raised: list[BaseException] = []

    @cascade.task
    async def explodes() -> None:
        raised.append(UnderivableBaseError("the user's", [ValueError(1), await stray_cancellation()]))
        raise raised[-1]

    assert await failure_of(explodes().with_retry(attempts)) is raised[-1]


@pytest.mark.parametrize("on", [UnderivableError, ValueError, (KeyError, Exception)])
async def test_a_group_that_cannot_be_split_is_retried_for_what_is_in_it(on: Any) -> None:
    attempts: list[int] = []

    @cascade.task
    async def explodes() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise UnderivableError("the user's", [ValueError(1)])
        return len(attempts)

    assert await cascade.run(explodes().with_retry(2, on=on)) == 2
