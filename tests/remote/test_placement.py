"""Which tasks leave the process, and which stay."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from remote_executors import kept_open
from remote_tasks import add, here_async, place, plain_place

import cascade
from cascade.executors import FuturesExecutor, RemoteExecutor
from cascade.testing import simulate


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteExecutor]:
    """Two threads: what leaves is the same for all kinds."""
    with kept_open(FuturesExecutor(lambda: ThreadPoolExecutor(2, "far"))) as executor:
        yield executor


@pytest.fixture(scope="module")
def taking_all() -> Iterator[RemoteExecutor]:
    """The same, which takes all sync tasks."""
    with kept_open(FuturesExecutor(lambda: ThreadPoolExecutor(2, "far"), tasks="sync")) as executor:
        yield executor


async def test_only_what_is_declared_remote_goes(remote: RemoteExecutor) -> None:
    (_, there), (_, near) = await cascade.run([place(), plain_place()], executor=remote)

    assert there.startswith("far")
    assert not near.startswith("far")


async def test_all_sync_tasks_go_if_told_so(taking_all: RemoteExecutor) -> None:
    @cascade.task(mode="inline")
    def inline() -> str:
        return "here"

    (_, there), (_, too), (pid, _), word = await cascade.run(
        [place(), plain_place(), here_async(0), inline()], executor=taking_all
    )

    assert there.startswith("far")
    assert too.startswith("far")
    assert (pid, word) == (os.getpid(), "here")


async def test_items_go_as_calls_do(taking_all: RemoteExecutor) -> None:
    found = await cascade.run(plain_place.map(_=list(range(5))), executor=taking_all)

    assert all(name.startswith("far") for _, name in found)


@pytest.mark.parametrize("with_retry", [False, True])
async def test_what_injects_a_resource_stays(taking_all: RemoteExecutor, *, with_retry: bool) -> None:
    @cascade.resource
    def lamp() -> Iterator[object]:
        yield object()

    @cascade.task
    def uses(_: object) -> str:
        return threading.current_thread().name

    call = uses(cascade.inject("lamp"))
    call = call.with_retry(2) if with_retry else call
    assert not (await cascade.run(call, executor=taking_all, providers=[lamp])).startswith("far")


async def test_a_remote_task_without_a_remote_executor_is_refused() -> None:
    with pytest.raises(cascade.GraphError, match="'add' is declared with mode=\"remote\", and the run has no"):
        await cascade.run(add(1))


async def test_so_is_one_that_a_task_returns() -> None:
    @cascade.task
    async def grow() -> Any:
        return add(1)

    with pytest.raises(cascade.GraphError, match='mode="remote"'):
        await cascade.run(grow())


def test_an_async_task_cannot_be_remote() -> None:
    with pytest.raises(ValueError, match="is async"):

        @cascade.task(mode="remote")
        async def never() -> None: ...


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("spark://host", "unknown executor URL 'spark://host'; known are: dask:local"),
        ("dask", "unknown executor URL 'dask'"),
    ],
)
def test_an_unknown_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(cascade.InputError, match=words):
        cascade.Engine(executor=url)


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="executor is a URL, a RemoteExecutor, or an object"):
        cascade.Engine(executor=5)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("executor", [None, FuturesExecutor(lambda: ThreadPoolExecutor(1))])
def test_a_simulation_runs_remote_tasks_in_place(executor: Any) -> None:
    done = simulate(place(), seed=1, executor=executor)

    assert done.value == (os.getpid(), "MainThread")


@pytest.mark.parametrize("options", [{"tasks": "all"}, {"keep_above": -1}, {"keep_above": "1"}, {"slots": 0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        FuturesExecutor(lambda: ThreadPoolExecutor(1), **options)


def test_a_pool_is_a_pool() -> None:
    with pytest.raises(TypeError, match=r"pool is a concurrent\.futures\.Executor"):
        FuturesExecutor(5)  # type: ignore[arg-type]  # that is the point
