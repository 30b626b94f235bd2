"""Random flows of threads, rules and listeners, while the interpreter changes threads at nearly every step.

Whatever may happen between two threads happens here soon. What is asked is little, so that it can be asked often:
each function is called once, on what came before it; the run ends; nothing is held.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import anyio
import pytest
from anyio import sleep
from anyio.lowlevel import checkpoint

import cascade

FLOWS = 25
# Seconds for one flow, which takes milliseconds.
PATIENCE = 30


@pytest.fixture(autouse=True)
def changing_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Ticks:
    """Calls, counted; some on the loop and some in threads."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()

        @cascade.task(name="in_thread")
        def in_thread(number: int, *values: int) -> int:
            self.calls[number] += 1
            return number + sum(values) % 1000

        @cascade.task(name="on_loop")
        async def on_loop(number: int, *values: int) -> int:
            self.calls[number] += 1
            if number % 11 == 0:
                await checkpoint()
            return number + sum(values) % 1000

        self.tasks: list[cascade.Task[..., Any]] = [in_thread, in_thread, in_thread, in_thread, on_loop]

    def flow(self, rng: Random, size: int) -> tuple[list[Any], list[int]]:
        """A flow, and what it gives."""
        nodes: list[Any] = []
        expected: list[int] = []
        for number in range(size):
            count = min(number, rng.choice((0, 1, 1, 1, 2, 3)))
            sources = sorted({rng.randrange(max(0, number - 8), number) for _ in range(count)})
            nodes.append(rng.choice(self.tasks)(number, *[nodes[source] for source in sources]))
            expected.append(number + sum(expected[source] for source in sources) % 1000)
        return nodes, expected


async def meddle(engine: cascade.Engine, run: cascade.Run, rng: Random) -> None:
    """Set and lift rules, and come and go as a listener."""
    while True:
        await sleep(rng.random() / 300)
        match rng.randrange(5):
            case 0:
                await engine.control.pause("task:other")
                await checkpoint()
                await engine.control.resume("task:other")
            case 1:
                await run.pause()
                await checkpoint()
                await run.resume()
            case 2:
                await engine.control.limit("task:in_thread", concurrency=rng.choice((1, 3)))
                await checkpoint()
                await engine.control.clear("task:in_thread")
            case _:
                kind = rng.choice((cascade.TaskExecutionStarted, cascade.LoopProgress))
                async with run.subscribe(kind, policy="drop"):
                    await checkpoint()


@pytest.mark.parametrize("meddled", [False, True])
async def test_threads_that_meet_at_any_step_lose_nothing_and_do_nothing_twice(
    schedule: Any, *, meddled: bool
) -> None:
    rng = Random(f"{schedule} {meddled}")
    for _ in range(FLOWS):
        ticks = Ticks()
        nodes, expected = ticks.flow(rng, rng.choice((5, 60, 200)))
        state = rng.choice((None, "memory:"))
        engine = cascade.Engine(schedule=schedule, max_threads=rng.choice((1, 2, 8)), state=state)
        with anyio.fail_after(PATIENCE):
            async with engine, engine.start(nodes) as run, anyio.create_task_group() as group:
                if meddled:
                    group.start_soon(meddle, engine, run, rng)
                assert await run.result() == expected
                group.cancel_scope.cancel()
        assert ticks.calls == Counter(range(len(expected)))
        assert not any(held for name, (held, _) in engine.capacity().items())
