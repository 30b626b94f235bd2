"""Tracebacks that users see: their own frames, and hardly any of the library."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from life import just

import cascade

HOME = str(Path(cascade.__file__).parent) + os.sep


@cascade.task
async def fails(error: BaseException) -> None:
    deeper(error)


@cascade.task
def fails_in_thread(error: BaseException) -> None:
    deeper(error)


@cascade.task(mode="inline")
def fails_inline(error: BaseException) -> None:
    deeper(error)


@cascade.task
async def fails_in_nested_run(error: BaseException) -> None:
    await cascade.run(fails(error))


def deeper(error: BaseException) -> None:
    raise error


def frames(error: BaseException) -> list[tuple[str, str]]:
    """File and function of each frame of the traceback."""
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]


def ours(error: BaseException) -> list[str]:
    return [name for file, name in frames(error) if file.startswith(HOME)]


def of_this_file(error: BaseException) -> list[str]:
    return [name for file, name in frames(error) if file == __file__]


async def by_run(flow: Any, **settings: Any) -> None:
    await cascade.run(flow, **settings)


async def by_start(flow: Any, **settings: Any) -> None:
    async with cascade.start(flow, **settings):
        pass


async def by_result(flow: Any, **settings: Any) -> None:
    async with cascade.start(flow, **settings) as run:
        await run.result()


async def by_engine_run(flow: Any, **settings: Any) -> None:
    await cascade.Engine(**settings).run(flow)


async def by_engine_start(flow: Any, **settings: Any) -> None:
    async with cascade.Engine(**settings).start(flow):
        pass


async def by_serve(flow: Any, **settings: Any) -> None:
    await cascade.serve(flow, **settings)


ENTRANCES: list[Callable[..., Awaitable[None]]] = [
    by_run, by_start, by_result, by_engine_run, by_engine_start, by_serve,
]  # fmt: skip
FLOWS: list[tuple[Callable[[BaseException], Any], list[str]]] = [
    (fails, ["fails"]),
    (fails_in_thread, ["fails_in_thread"]),
    (fails_inline, ["fails_inline"]),
    (lambda error: fails(error).with_retry(2), ["fails", "deeper", "fails"]),  # as it is raised twice
    (lambda error: fails_in_thread(error).with_timeout(60), ["fails_in_thread"]),
    (lambda error: just(fails.map(error=[error])), ["fails"]),
    (fails_in_nested_run, ["fails_in_nested_run", "fails"]),
]


async def raised_by(enter: Callable[..., Awaitable[None]], flow: Any, **settings: Any) -> BaseException:
    try:
        await enter(flow, **settings)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("enter", ENTRANCES)
@pytest.mark.parametrize(("flow", "tasks"), FLOWS)
async def test_a_failure_shows_the_frames_of_the_task_and_of_the_caller(enter: Any, flow: Any, tasks: Any) -> None:
    error = await raised_by(enter, flow(ValueError("no luck")))
    assert ours(error) == []
    assert of_this_file(error) == ["raised_by", enter.__name__, *tasks, "deeper"]


@pytest.mark.parametrize("flow", [fails, fails_in_thread])
def test_a_failure_in_a_script_shows_the_frames_of_the_task_and_of_the_script(
    flow: Any, backend_name: str
) -> None:
    with pytest.raises(ValueError, match="no luck") as caught:
        cascade.run_sync(flow(ValueError("no luck")), backend=backend_name)
    assert ours(caught.value) == []
    assert of_this_file(caught.value)[1:] == [flow.name, "deeper"]


async def test_failures_that_are_raised_together_show_the_frames_of_their_tasks() -> None:
    flow = [fails(ValueError("one")), fails_in_thread(KeyError("two"))]
    error = await raised_by(by_run, flow, on_error="continue")
    assert isinstance(error, cascade.RunFailed)
    assert [of_this_file(part) for part in error.exceptions] == [
        ["fails", "deeper"],
        ["fails_in_thread", "deeper"],
    ]
    assert [ours(part) for part in error.exceptions] == [[], []]
    assert len(ours(error)) <= 1


async def test_causes_and_contexts_show_no_frames_of_the_library_either() -> None:
    @cascade.task
    async def translates() -> None:
        try:
            await cascade.run(fails(ValueError("inner")))
        except ValueError as error:
            raise KeyError("outer") from error

    error = await raised_by(by_run, translates())
    assert error.__cause__ is not None
    assert [ours(error), ours(error.__cause__)] == [[], []]


@pytest.mark.parametrize(
    ("flow", "kind"),
    [
        (just(cascade.Param("missing")), cascade.InputError),
        (just, TypeError),
        (just(1).with_constraints(gpu=2), cascade.CapacityError),
        (just(1).run_if(just(False)), cascade.DependencyMissingError),
        (cascade.task(anyio.sleep_forever)().with_timeout(0.001), cascade.TaskTimeoutError),
    ],
)
@pytest.mark.parametrize("enter", ENTRANCES)
async def test_an_error_of_the_library_shows_the_frame_that_raised_it(enter: Any, flow: Any, kind: Any) -> None:
    error = await raised_by(enter, flow, system_resources={"gpu": 1})
    assert isinstance(error, kind)
    assert len(ours(error)) <= 1
    assert of_this_file(error)[:2] == ["raised_by", enter.__name__]


def test_a_flow_that_cannot_be_planned_shows_the_frame_that_raised_it() -> None:
    members: list[Any] = [just(1)]
    members.append(members)
    for look in (cascade.plan, cascade.visualize, cascade.dry_run):
        with pytest.raises(cascade.GraphError) as caught:
            look(just(members))
        assert len(ours(caught.value)) <= 3


async def test_a_frozen_exception_is_trimmed_too() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise TypeError("frozen")

    error = await raised_by(by_run, fails(Frozen()))
    assert isinstance(error, Frozen)
    assert ours(error) == []


@pytest.mark.parametrize("value", ["1", "yes"])
async def test_all_frames_are_shown_where_that_is_asked_for(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_FULL_TRACEBACK", value)
    error = await raised_by(by_run, fails(ValueError("no luck")))
    assert "raise_unchanged" in ours(error)


@pytest.mark.parametrize("value", ["", "0"])
async def test_frames_are_trimmed_where_the_variable_says_no(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_FULL_TRACEBACK", value)
    assert ours(await raised_by(by_run, fails(ValueError("no luck")))) == []


async def test_an_exception_that_is_raised_again_and_again_keeps_a_short_traceback() -> None:
    error = ValueError("always the same")
    for _ in range(5):
        assert await raised_by(by_run, fails(error)) is error
    assert ours(error) == []


def test_what_is_asked_for_with_partial_is_trimmed_as_well(backend_name: str) -> None:
    call = functools.partial(cascade.run, fails(ValueError("no luck")))
    with pytest.raises(ValueError, match="no luck") as caught:
        anyio.run(call, backend=backend_name)
    assert ours(caught.value) == []


def nowhere() -> None:
    raise KeyboardInterrupt


# As where an interrupt strikes at code of the interpreter's own, such as the end of a ``with`` block.
nowhere.__code__ = nowhere.__code__.replace(co_linetable=b"")


def test_a_frame_that_is_at_no_line_stays() -> None:
    @cascade.task(mode="inline")
    def interrupted() -> None:
        nowhere()

    with pytest.raises(KeyboardInterrupt) as caught:
        cascade.run_sync(interrupted())

    assert caught.value.__traceback__ is not None
    lines = [line for _, line in traceback.walk_tb(caught.value.__traceback__)]
    assert not lines[-1]  # None, or 0 where lines are traced
