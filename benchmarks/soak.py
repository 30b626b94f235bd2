"""Does anything leak? Random flows for a minute, or longer: ``python benchmarks/soak.py --minutes 30``.

Rounds alternate between asyncio and Trio. In each, one engine runs many random flows at a time, with real threads
and real (short) sleeps, while runs are cancelled, and capacity and rules of control are changed under them. After
each round nothing may be held, every run must have had its last event, and memory and threads must be where they
were.
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from random import Random
from typing import Any

import anyio
import attrs

import cascade
from cascade.testing import record_events

RUNS = 40
# Blocks of memory that may be there more at the end than after the first rounds: caches, and what Python keeps.
SLACK = 20_000
# Seconds for a round, which takes a few: whoever hangs fails the soak, with the seed of its round.
PATIENCE = 120.0


class SoakError(Exception):
    """A fault that the flows themselves make."""


@cascade.task
async def waits(seconds: float, *_: Any) -> float:
    """Waits on the loop."""
    await anyio.sleep(seconds)
    return seconds


@cascade.task
def blocks(seconds: float, *_: Any) -> float:
    """Waits in a thread."""
    time.sleep(seconds)
    return seconds


@cascade.task(mode="inline")
def adds(*values: Any) -> int:
    """Waits for nothing."""
    return len(values)


@cascade.task
async def fails(*_: Any) -> None:
    """Fails."""
    raise SoakError


@cascade.task
async def asks(left: int, *_: Any) -> Any:
    """Returns a flow."""
    return [asks(left - 1), adds(waits(0.001))] if left else adds()


@cascade.task
def turns(left: int) -> Any:
    """A loop."""
    return turns(left - 1) if left else left


def random_call(rng: Random, sources: list[Any]) -> Any:
    """A call that depends on *sources*."""
    match rng.randrange(6):
        case 0:
            return waits(rng.random() / 100, *sources)
        case 1:
            return blocks(rng.random() / 500, *sources)
        case 2:
            return asks(rng.randint(0, 3), *sources)
        case 3:
            return adds(waits.map(seconds=[rng.random() / 200] * rng.randint(0, 5)), *sources)
        case 4:
            return turns(rng.randint(0, 50)).after(*sources)
    return adds(*sources)


def flow(rng: Random) -> Any:
    """A random flow of real waits."""
    made: list[Any] = [adds()]
    for _ in range(rng.randint(3, 20)):
        call = random_call(rng, rng.sample(made, min(len(made), rng.randint(0, 3))))
        if rng.random() < 0.3:
            call = call.with_constraints(gpu=rng.randint(0, 2))
        if rng.random() < 0.2:
            call = call.with_retry(2).with_timeout(rng.choice([0.002, 1.0]))
        made.append(call)
    if rng.random() < 0.2:
        made.append(fails(made[-1]).with_retry(rng.randint(1, 3)))
    return made[-3:]


@attrs.define
class Tally:
    """How runs ended."""

    runs: int = 0
    failed: int = 0
    cancelled: int = 0


async def round_of(seed: int, tally: Tally) -> None:
    """Many runs at a time on one engine, disturbed; then see that nothing is left."""
    rng = Random(seed)
    async with cascade.Engine(system_resources={"gpu": 3}, max_threads=4) as engine:
        with record_events(engine) as recorded, anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as disturbed:
                disturbed.start_soon(disturb, engine, rng)
                async with anyio.create_task_group() as group:
                    for _ in range(RUNS):
                        group.start_soon(one_run, engine, Random(rng.random()), tally)
                disturbed.cancel_scope.cancel()
            started = [event.run_id for event in recorded.of(cascade.RunStarted)]
            finished = [event.run_id for event in recorded.of(cascade.RunFinished)]
            assert sorted(started) == sorted(finished), "a run has no last event"
        held = {name: held for name, (held, _) in engine.capacity().items() if held}
        assert not held, f"still held: {held}"


async def one_run(engine: cascade.Engine, rng: Random, tally: Tally) -> None:
    """A run, which may be cancelled."""
    tally.runs += 1
    patience = rng.random() / 20 if rng.random() < 0.3 else None
    with anyio.move_on_after(patience) as scope:
        try:
            await engine.run(flow(rng))
        except (SoakError, cascade.TaskTimeoutError):
            tally.failed += 1
    tally.cancelled += scope.cancelled_caught


async def disturb(engine: cascade.Engine, rng: Random) -> None:
    """Change the capacity, never below what a single call claims, and say rules that end by themselves."""
    for _ in iter(int, 1):
        await anyio.sleep(rng.random() / 100)
        scope = rng.choice(["global", "task:waits", "task:b*"])
        match rng.randrange(5):
            case 0:
                await engine.control.pause(scope, ttl=rng.random() / 50)
            case 1:
                await engine.control.limit(scope, concurrency=rng.randint(1, 8), ttl=rng.random() / 20)
            case 2:
                await engine.control.limit(scope, rate="400/s", burst=rng.randint(1, 20), ttl=rng.random() / 20)
            case 3:
                await engine.control.clear(scope)
            case _:
                engine.set_capacity({"gpu": rng.randint(2, 5)})


def settled_memory() -> int:
    """Blocks of memory in use, garbage apart."""
    gc.collect()
    return sys.getallocatedblocks()


def soak(seconds: float) -> int:
    """Rounds until the time is over; returns what is wrong, as a status."""
    tally, seed, until = Tally(), 0, time.monotonic() + seconds
    base: int | None = None
    most = 0
    while time.monotonic() < until:
        for backend in ("asyncio", "trio"):
            try:
                anyio.run(round_of, seed, tally, backend=backend)
            except BaseException:
                print(f"round {seed} on {backend} failed")
                raise
        seed += 1
        memory = settled_memory()
        most = max(most, memory)
        if seed == 3:
            base = memory
        alive = [thread.name for thread in threading.enumerate() if not thread.daemon]
        assert len(alive) == 1, f"threads are left: {alive}"
    growth = 0 if base is None else settled_memory() - base
    print(
        f"{tally.runs} runs in {seed} rounds on both loops: {tally.failed} failed, {tally.cancelled} cancelled;\n"
        f"{most} blocks of memory at most, grown by {growth} since the third round"
    )
    if growth > SLACK:
        print(f"memory is not flat: more than {SLACK} blocks")
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    sys.exit(soak(parser.parse_args().minutes * 60))
