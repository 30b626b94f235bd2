"""A run makes no more than it needs: tasks are counted, which does not depend on the machine."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

import cascade
from cascade.runtime.context.run_tasks import RunTasks

pytestmark = pytest.mark.loop


@cascade.task
async def answer(given: Any = None) -> int:
    """A task on the loop."""
    del given
    return 42


@cascade.task
async def fails() -> None:
    """A task that has no value."""
    raise LookupError("nothing there")


@cascade.resource
async def store() -> AsyncGenerator[str, None]:
    """A resource of the run."""
    yield "open"


async def read(events: Any) -> None:
    """An observer."""
    async for _ in events:
        pass


@contextmanager
def counted() -> Iterator[list[str]]:
    """The tasks that runs start in the block, each by the name of what it runs."""
    started: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code is RunTasks.spawn.__code__:
            started.append(frame.f_locals["func"].__name__)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield started
    finally:
        sys.setprofile(before)


async def test_a_run_of_one_node_starts_the_task_in_which_the_node_runs_and_no_other() -> None:
    with counted() as started:
        assert await cascade.run(answer()) == 42

    assert len(started) == 1


async def test_a_run_in_which_nothing_runs_starts_no_task() -> None:
    with counted() as started:
        assert await cascade.run([1, 2]) == [1, 2]

    assert started == []


async def test_a_run_that_fails_starts_no_task_for_that() -> None:
    with counted() as started, pytest.raises(LookupError, match="nothing there"):
        await cascade.run(fails())

    assert len(started) == 1


@pytest.mark.parametrize(
    ("flow", "settings"),
    [
        (answer(cascade.inject("store")), {"providers": [store]}),
        (answer(), {"observers": [read]}),
        (answer(), {"state": "memory:"}),
    ],
    ids=["a resource", "an observer", "a store"],
)
async def test_what_takes_time_to_end_is_ended_in_a_task_of_its_own(
    flow: cascade.LazyResult[int], settings: dict[str, Any]
) -> None:
    with counted() as started:
        assert await cascade.run(flow, **settings) == 42

    assert len(started) == 3  # the node's, that of the service, and one in which the service is ended
