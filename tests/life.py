"""Helpers of the tests about the life and death of nodes."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import current_time, get_cancelled_exc_class

import cascade
from cascade.testing import Recorded


class Halt(BaseException):
    """Ends a program, as ``SystemExit`` does."""


class Flaky:
    """Raises the given errors, one per call, and then returns how often it has been called."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.times: list[float] = []

    async def __call__(self) -> int:
        self.times.append(current_time())
        if self.errors:
            raise self.errors.pop(0)
        return len(self.times)

    @property
    def pauses(self) -> list[float]:
        return [round(later - earlier, 6) for earlier, later in zip(self.times, self.times[1:], strict=False)]

    def call(self) -> cascade.LazyResult[int]:
        return cascade.task(name="flaky")(self.__call__)()


def errors(count: int) -> list[ValueError]:
    return [ValueError(f"attempt {number}") for number in range(1, count + 1)]


@cascade.task
async def raising(error: BaseException) -> Any:
    """Raises the very object that it is given."""
    raise error


@cascade.task
async def forever(*_: Any) -> Any:
    await anyio.sleep_forever()


@cascade.task
async def just(value: Any) -> Any:
    return value


@cascade.task
async def joined(*values: Any) -> list[Any]:
    return list(values)


async def stray_cancellation() -> BaseException:
    """A cancellation of this event loop that no scope is waiting for any more."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except get_cancelled_exc_class() as error:
            return error
    raise AssertionError("a cancelled scope did not raise")


async def until(condition: Callable[[], bool], patience: int = 300_000) -> None:
    """Give way until *condition* holds; fails after *patience* turns of the loop."""
    for _ in range(patience):
        if condition():
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("what was waited for has not come about")


class Log:
    """What has happened, line by line; and tasks that wait for good and write down how they end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def has(self, *lines: str) -> Callable[[], bool]:
        """A condition: all *lines* are there."""
        return lambda: set(lines) <= set(self.lines)

    @property
    def waits(self) -> Any:
        """A task that takes its name, and anything else."""

        @cascade.task
        async def waits(name: str, *_: Any) -> None:
            self.lines.append(f"{name} starts")
            try:
                await anyio.sleep_forever()
            except get_cancelled_exc_class():
                self.lines.append(f"{name} is cancelled")
                raise

        return waits


async def cancelled_by(cancel: Callable[[], Awaitable[object]], func: Callable[[], Awaitable[object]]) -> bool:
    """Call *func* in a scope that is cancelled when *cancel* has returned; whether that ended it."""
    error: BaseException | None = None

    async def cancel_scope() -> None:
        await cancel()
        scope.cancel()

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(cancel_scope)
            try:
                await func()
            except get_cancelled_exc_class():
                raise
            except BaseException as raised:
                error = raised
        group.cancel_scope.cancel()
    if error is not None:
        raise error  # by itself, not in a group of this helper's making
    return scope.cancelled_caught


async def cancelled_when(condition: Callable[[], bool], func: Callable[[], Awaitable[object]]) -> bool:
    """Call *func* in a scope that is cancelled when *condition* holds; whether that ended it."""

    async def cancel() -> None:
        await until(condition)
        await turns(5)

    return await cancelled_by(cancel, func)


async def cancelled_at(turn: int, func: Callable[[], Awaitable[object]]) -> bool:
    """Call *func* in a scope that is cancelled after *turn* turns of the loop; whether that ended it."""
    return await cancelled_by(partial(turns, turn), func)


async def turns(count: int) -> None:
    """Give way *count* times."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def turns_beside(func: Callable[[], Awaitable[object]]) -> int:
    """How often another task has its turn while *func* is called."""
    count = 0

    async def take_turns() -> None:
        nonlocal count
        while True:
            count += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(take_turns)
        await func()
        group.cancel_scope.cancel()
    return count


def give_way_always(patch: pytest.MonkeyPatch) -> None:
    """As on a machine so slow that each step takes a slice: others have their turn after every one."""
    _set_slices(patch, -1.0)


def give_way_never(patch: pytest.MonkeyPatch) -> None:
    """As on a machine so quick that no number of steps takes a slice."""
    _set_slices(patch, math.inf)


def _set_slices(patch: pytest.MonkeyPatch, seconds: float) -> None:
    modules = [(name, module) for name, module in sys.modules.items() if name.startswith("cascade.")]
    found = [name for name, module in modules if hasattr(module, "SLICE")]
    assert len(found) > 3
    for name in found:
        patch.setattr(f"{name}.SLICE", seconds)


def unfinished(recorded: Recorded) -> set[str]:
    """Ids of nodes that, according to their events, have not ended as often as they have started."""
    started = Counter(event.task_id for event in recorded.of(cascade.TaskExecutionStarted))
    ends = recorded.of(cascade.TaskExecutionFinished)
    ended = Counter(
        event.task_id for event in ends if event.attempt
    )  # without those that failed before they began
    return set((started - ended) + (ended - started))


def finished(recorded: Recorded) -> cascade.RunFinished:
    """The last event of the only run there was."""
    (event,) = recorded.of(cascade.RunFinished)
    assert recorded.events[-1] is event
    return event


def tasks_named(names: Iterable[str]) -> list[str]:
    """Names of the running tasks in which one of *names* occurs."""
    return [
        str(task.name) for task in anyio.get_running_tasks() if any(name in (task.name or "") for name in names)
    ]


async def failure_of(flow: Any, **settings: Any) -> BaseException:
    """What running *flow* raises."""
    try:
        await cascade.run(flow, **settings)
    except get_cancelled_exc_class():
        raise
    except BaseException as error:
        return error
    raise AssertionError("the run did not fail")
