"""Every public await is a checkpoint: it sees a cancellation, and lets others run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from life import just

import cascade
from cascade.cache import Hit

pytestmark = pytest.mark.loop


class Remembering:
    """A cache that has everything."""

    async def check(self, task_id: str, inputs: Any) -> Any:
        return Hit("remembered")

    async def save(self, task_id: str, inputs: Any, result: object) -> None: ...


async def start_and_leave() -> None:
    async with cascade.start(5):
        pass


async def open_and_close() -> None:
    async with cascade.Engine():
        pass


async def subscribe_and_close() -> None:
    async with cascade.Engine().subscribe():
        pass


async def result_of_an_ended_run() -> Any:
    run = ended_run[-1]
    return await run.result()


ended_run: list[cascade.Run] = []

AWAITS: dict[str, Callable[[], Any]] = {
    "run of a value": lambda: cascade.run(5),
    "run of a container": lambda: cascade.run([]),
    "run of a task": lambda: cascade.run(just(1)),
    "run of an inline task": lambda: cascade.run(cascade.task(mode="inline")(lambda: 1)()),
    "run of a cache hit": lambda: cascade.run(just(1).with_cache(Remembering())),
    "run of a flow that cannot run": lambda: cascade.run(just(cascade.Param("missing"))),
    "engine.run": lambda: cascade.Engine().run(5),
    "start": start_and_leave,
    "serve": lambda: cascade.serve(5),
    "engine": open_and_close,
    "subscription": subscribe_and_close,
    "result of an ended run": result_of_an_ended_run,
}


@pytest.fixture
async def _ended_run() -> None:
    async with cascade.start(5) as run:
        await run.result()
    ended_run.append(run)


@pytest.mark.usefixtures("_ended_run")
@pytest.mark.parametrize("make", AWAITS.values(), ids=AWAITS.keys())
async def test_every_public_await_sees_a_cancellation(make: Callable[[], Any]) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await make()
    assert scope.cancelled_caught


@pytest.mark.usefixtures("_ended_run")
@pytest.mark.parametrize("make", [value for key, value in AWAITS.items() if "cannot" not in key])
async def test_every_public_await_lets_others_run(make: Callable[[], Any]) -> None:
    others: list[str] = []

    async def other() -> None:
        others.append("ran")

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(5):  # Trio may let the one who asks go first for some time
            await make()
        assert others == ["ran"]


async def test_a_long_chain_of_inline_tasks_lets_others_run() -> None:
    @cascade.task(mode="inline")
    def step(x: int) -> int:
        return x + 1

    lazy: Any = 0
    for _ in range(5000):
        lazy = step(lazy)
    laps = 0

    async def other() -> None:
        nonlocal laps
        while True:
            laps += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        assert await cascade.run(lazy) == 5000
        group.cancel_scope.cancel()
    assert laps > 10


async def test_a_loop_of_tail_calls_lets_others_run() -> None:
    @cascade.task(mode="inline")
    def turn(left: int) -> Any:
        return turn(left - 1) if left else "done"

    laps = 0

    async def other() -> None:
        nonlocal laps
        while True:
            laps += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        assert await cascade.run(turn(50_000)) == "done"
        group.cancel_scope.cancel()
    assert laps > 10
